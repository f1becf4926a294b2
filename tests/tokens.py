"""A small token server in front of docker-registry: it signs what it grants.

Source: distribution, "Token Authentication Specification" and "Token Authentication
Implementation"; RFC 7515 (JWS), 4.1.6 "x5c".
"""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests import certificates

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from tests.certificates import Authority


class Tokens:
    """Whoever is ann with secret, or brings her refresh token, may do all; others only pull
    below ``open/``. ``asked`` holds (user or "", scopes) of each request."""

    def __init__(self, authority: Authority) -> None:
        self._certificate, self._key = authority.sign("tokens")
        self._authority = authority
        self.asked: list[tuple[str, list[str]]] = []
        self.lifetime = 300
        tokens = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
                self._grant(query, self.headers.get("Authorization", ""))

            def do_POST(self) -> None:
                length = int(self.headers["Content-Length"])
                form = urllib.parse.parse_qs(self.rfile.read(length).decode())
                good = form.get("refresh_token") == ["refresh-of-ann"]
                self._grant(form, _basic("ann", "secret") if good else "bad")

            def _grant(self, query: dict[str, list[str]], authorization: str) -> None:
                if authorization not in ("", _basic("ann", "secret")):
                    self.send_response(401)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                user = "ann" if authorization else ""
                tokens.asked.append((user, query.get("scope", [])))
                said: dict[str, Any] = {"token": tokens.token(user, query.get("scope", []))}
                if "offline_token" in query:
                    said["refresh_token"] = "refresh-of-ann"
                content = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_words: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def settings(self) -> dict[str, str]:
        """What a registry must know to believe the tokens."""
        return {
            "realm": f"http://127.0.0.1:{self._server.server_port}/token",
            "service": "test-registry",
            "issuer": "test-issuer",
            "rootcertbundle": self._authority.certificate,
        }

    def token(self, user: str, scopes: list[str]) -> str:
        """A signed token for as much of the scopes as the user may have."""
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            granted = [a for a in actions.split(",") if user or (name.startswith("open/")
                                                                 and a == "pull")]  # fmt: skip
            access.append({"type": kind, "name": name, "actions": granted})
        der = certificates.run("x509", "-in", self._certificate, "-outform", "DER")
        now = int(time.time())
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        payload = {
            "iss": "test-issuer", "sub": user, "aud": "test-registry", "exp": now + self.lifetime,
            "nbf": now - 10, "iat": now, "jti": str(time.time_ns()), "access": access,
        }  # fmt: skip
        signed = f"{_encoded(json.dumps(header).encode())}.{_encoded(json.dumps(payload).encode())}"
        made = certificates.run("dgst", "-sha256", "-sign", self._key, stdin=signed.encode())
        return f"{signed}.{_encoded(made)}"

    def end(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()


def _encoded(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def _basic(user: str, password: str) -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"
