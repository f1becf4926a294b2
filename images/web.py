"""Requests to one registry: authenticated, redirected, tried again.

Authentication is what the registry asks for: nothing, basic, or a bearer token for a scope. A
redirect is followed without the credentials when it leads to another host, and never from https to
plain http. What may work in a moment (a broken connection, 5xx, 429) is tried again with growing
pauses, or after the pause that the registry names.

Whatever a registry says is read up to a limit only.

Source: OCI distribution specification 1.1; distribution, "Token Authentication Specification" and
"OAuth2 Token Authentication"; RFC 9110, 15.4 (redirects), 11 (challenges) and 10.2.3 (Retry-After).
"""

from __future__ import annotations

import base64
import json
import ssl
import time
import urllib.parse

import urllib3

from images import trust
from images.credentials import HUB, Credentials
from images.errors import ImageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    Response = urllib3.BaseHTTPResponse

TRIES = 5
_HUB_HOST = "registry-1.docker.io"
_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_REDIRECTS = (301, 302, 303, 307, 308)
_PATIENCE = 60.0  # seconds that a registry may ask to wait
_SAID_MAX = 64 << 10  # bytes of an answer that is of no interest, or an error
_TOKEN_MAX = 1 << 20
_WORDS_MAX = 300  # of what a registry says about an error


class RegistryError(ImageError):
    """The registry refused, or could not be reached. ``status`` is that of HTTP, 0 if none."""

    def __init__(self, *words: Any, status: int = 0) -> None:
        super().__init__(*words)
        self.status = status


class Denied(RegistryError):
    """Not logged in, or not allowed."""


class Broken(RegistryError):
    """A connection broke or a server failed: the same may work in a moment."""


def pause(attempt: int) -> None:
    """Waits before the next attempt, longer from one to the next; the first is 0."""
    time.sleep(0.2 * 2**attempt)


class Web:
    """The requests to a registry. May be used by several threads."""

    def __init__(self, host: str, credentials: Credentials | None, *, insecure: bool) -> None:
        self.host = host
        self.identity_token = ""  # one that came with a token, for the next login
        self._credentials = credentials
        self._insecure = insecure
        self._pool = urllib3.PoolManager(
            ssl_context=trust.context(host, insecure=insecure), retries=False, timeout=_TIMEOUT,
            maxsize=8, headers={"User-Agent": "pyctr"},
        )  # fmt: skip
        self._base = ""
        self._tokens: dict[str, str] = {}
        self._basic = False

    def request(
        self,
        method: str,
        place: str,
        *,
        scope: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        accepted: Iterable[int] = (200,),
        tries: int = TRIES,
    ) -> Response:
        """A response with one of the accepted states; its content is still to be read.

        ``place`` is a path of the registry, or a whole URL that it gave; ``scope`` what a token is
        asked for. RegistryError, Denied, Broken.
        """
        for attempt in range(tries):
            last = attempt == tries - 1
            try:
                response = self._authenticated(method, place, scope, dict(headers or {}), body)
            except Broken:
                if last:
                    raise
                pause(attempt)
                continue
            if response.status in accepted:
                return response
            wanted = _retry_after(response)
            again = response.status == 429 or response.status >= 500
            if not again or last or wanted > _PATIENCE:
                raise self._error(response)
            discard(response)
            time.sleep(wanted) if wanted else pause(attempt)
        raise AssertionError("unreachable")

    def whole(
        self, place: str, *, scope: str, most: int, headers: dict[str, str] | None = None
    ) -> tuple[Response, bytes]:
        """A small answer (200) with its content, or one that says that there is none (404).

        It is asked for again if the connection breaks while it is read. Errors as :meth:`request`.
        """
        for attempt in range(TRIES):
            response = self.request("GET", place, scope=scope, headers=headers, accepted=(200, 404))
            if response.status == 404:
                discard(response)
                return response, b""
            try:
                return response, self.read(response, most)
            except Broken:
                if attempt == TRIES - 1:
                    raise
                pause(attempt)
        raise AssertionError("unreachable")

    def absolute(self, place: str) -> str:
        """A whole URL of what a registry calls a place."""
        return urllib.parse.urljoin(self._found_base() + "/", place)

    # -- one attempt -----------------------------------------------------------------------

    def _authenticated(
        self, method: str, place: str, scope: str, headers: dict[str, str], body: bytes | None
    ) -> Response:
        url = place if place.startswith(("http:", "https:")) else self._found_base() + place
        own = url.startswith(self._found_base() + "/")
        if not own:
            self._refuse_plain(self._found_base(), url)
        if own and scope in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        elif own and self._basic and self._credentials is not None:
            headers["Authorization"] = _basic(self._credentials)
        response = self._followed(method, url, headers, body)
        if response.status != 401 or not own:
            return response
        kind, _, rest = response.headers.get("WWW-Authenticate", "").partition(" ")
        if kind.lower() == "bearer":
            discard(response)
            self._tokens[scope] = self._token(dict(_parameters(rest)), scope)
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        elif kind.lower() == "basic" and self._credentials is not None and not self._basic:
            discard(response)
            self._basic = True
            headers["Authorization"] = _basic(self._credentials)
        else:
            return response
        return self._followed(method, url, headers, body)

    def _followed(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> Response:
        """Follows redirects; the credentials stay with the host that they were meant for."""
        for _ in range(6):
            response = self._once(method, url, headers, body)
            place = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not place:
                return response
            discard(response)
            following = urllib.parse.urljoin(url, place)
            if _origin(following) != _origin(url):
                headers = {key: own for key, own in headers.items() if key != "Authorization"}
            self._refuse_plain(url, following)
            url = following
        raise RegistryError(f"the registry {self.host} leads in a circle", "too many redirects")

    def _refuse_plain(self, url: str, following: str) -> None:
        """Plain HTTP is never gone to from TLS, and else only where a registry may speak it."""
        before, after = (urllib.parse.urlsplit(one).scheme for one in (url, following))
        if after == "https":
            return
        why = ""
        if before == "https":
            why = "it leads from https to plain http"
        elif after != "http" or not self._may_be_plain(following):
            why = f"it leads to {following[:_WORDS_MAX]!r}"
        if why:
            raise RegistryError(f"the registry {self.host} is not trusted", why)

    def _may_be_plain(self, url: str) -> bool:
        """Whether plain HTTP with a host is no risk, or one that was asked for."""
        return self._insecure or trust.is_loopback(_origin(url)[1].rpartition("@")[2])

    def _once(self, method: str, url: str, headers: dict[str, str], body: bytes | None) -> Response:
        try:
            return self._pool.request(
                method, url, headers={"User-Agent": "pyctr", **headers}, body=body,
                redirect=False, preload_content=False, decode_content=False,
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None

    def _found_base(self) -> str:
        """``https://host`` or, where that is allowed and nobody speaks TLS, ``http://host``."""
        if self._base:
            return self._base
        host = _HUB_HOST if self.host == HUB else self.host
        if self._insecure or trust.is_loopback(host):
            try:
                probe = self._pool.request(
                    "GET", f"https://{host}/v2/", redirect=False, preload_content=False
                )
                probe.close()
            except urllib3.exceptions.HTTPError as error:
                if _speaks_tls(_reason(error)):
                    raise self._unreachable(error) from None
                self._base = f"http://{host}"
                return self._base
        self._base = f"https://{host}"
        return self._base

    def _token(self, challenge: dict[str, str], scope: str) -> str:
        """A bearer token for a scope, as the challenge says where to get it."""
        realm = challenge.get("realm", "")
        if not realm.startswith(("https://", "http://")):
            raise RegistryError(f"the registry {self.host} asks for a token from {realm!r}")
        self._refuse_plain(self._base, realm)
        asked = [("service", challenge["service"])] if "service" in challenge else []
        asked += [("scope", own) for own in (scope or challenge.get("scope", "")).split()]
        credentials = self._credentials
        if credentials is not None and credentials.identity_token:
            form = [*asked, ("grant_type", "refresh_token"), ("client_id", "pyctr"),
                    ("refresh_token", credentials.identity_token)]  # fmt: skip
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            response = self._once("POST", realm, headers, urllib.parse.urlencode(form).encode())
        else:
            headers = {}
            if credentials is not None:
                headers["Authorization"] = _basic(credentials)
                asked += [("account", credentials.user), ("client_id", "pyctr")]
                asked += [] if scope else [("offline_token", "true")]  # a login
            query = urllib.parse.urlencode(asked)
            mark = "&" if "?" in realm else "?"
            response = self._followed("GET", f"{realm}{mark}{query}", headers, None)
        if response.status in (400, 401, 403):
            discard(response)
            raise Denied(
                f"access to {self.host} is denied", "the credentials are refused",
                f"pyctr login {self.host}", status=response.status,
            )  # fmt: skip
        if response.status != 200:
            raise self._error(response)
        try:
            said = json.loads(self.read(response, _TOKEN_MAX))
            if said.get("refresh_token"):
                self.identity_token = str(said["refresh_token"])
            return str(said.get("token") or said["access_token"])
        except (ValueError, LookupError, AttributeError, TypeError):
            raise RegistryError(f"{realm} gave no token", "its answer is not understood") from None

    # -- what comes back -------------------------------------------------------------------

    def read(self, response: Response, most: int) -> bytes:
        """The content of a response, which is small: RegistryError if it has more bytes, Broken if
        it is less than was promised.
        """
        content = b""
        try:
            while len(content) <= most and (chunk := response.read(most + 1 - len(content))):
                content += chunk  # what is missing is noticed by the read after the last chunk
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Broken(f"the connection to {self.host} broke", str(error)) from None
        if len(content) > most:
            response.close()
            raise RegistryError(
                f"the registry {self.host} is not understood", f"it sent more than {most} bytes"
            )
        discard(response)
        return content

    def _error(self, response: Response) -> RegistryError:
        wanted = _retry_after(response)
        said = _said(response)
        status = response.status
        if status in (401, 403):
            what = "access is denied" if self._credentials else "access is denied without a login"
            return Denied(f"{what}: {self.host}", said, f"pyctr login {self.host}", status=status)
        if status == 404:
            return RegistryError(f"the registry {self.host} does not have it", said, status=404)
        if status == 429:
            when = f"in {wanted:.0f} seconds" if wanted else "later"
            return RegistryError(
                f"the registry {self.host} asks to wait", said or "too many requests",
                f"try again {when}; a login may allow more (pyctr login)", status=429,
            )  # fmt: skip
        kind = Broken if status >= 500 else RegistryError
        return kind(f"the registry {self.host} refused", f"{status} {said}".strip(), status=status)

    def _unreachable(self, error: Exception) -> RegistryError:
        reason = _reason(error)
        what = f"the registry {self.host} cannot be reached"
        if isinstance(error, urllib3.exceptions.NameResolutionError):
            return RegistryError(what, "its name is not known: is there a network?")
        if isinstance(reason, ssl.SSLCertVerificationError):
            return RegistryError(
                f"the registry {self.host} is not trusted", reason.verify_message,
                f"put its CA into {trust.FOLDERS[0]}/{self.host}/ca.crt",
            )  # fmt: skip
        if isinstance(reason, ssl.SSLError) and _speaks_tls(reason):
            return RegistryError(
                f"the registry {self.host} refused", reason.reason.lower().replace("_", " "),
                f"a certificate for it belongs into {trust.FOLDERS[0]}/{self.host}/client.cert,"
                " its key into client.key",
            )  # fmt: skip
        if isinstance(reason, ssl.SSLError) and "WRONG_VERSION" in str(reason):
            return RegistryError(
                f"the registry {self.host} speaks no TLS", "only plain HTTP",
                f"if that may be, name it in the configuration: registry.insecure = ["
                f"\"{self.host}\"]",
            )  # fmt: skip
        if isinstance(error.__cause__, OSError) and error.__cause__.strerror:
            return Broken(what, error.__cause__.strerror.lower())
        if isinstance(error, urllib3.exceptions.TimeoutError):
            return Broken(what, "it does not answer in time")
        return Broken(what, str(reason).rpartition(": ")[2] or "the connection broke")


def discard(response: Response) -> None:
    """Makes the connection free for the next request; a long answer costs it."""
    try:
        more = len(response.read(_SAID_MAX)) == _SAID_MAX
    except (urllib3.exceptions.HTTPError, OSError):
        more = True
    if more:
        response.close()
    else:
        response.release_conn()


def _reason(error: Exception) -> Exception:
    """What is behind an error of urllib3."""
    seen = error
    while True:
        inner = getattr(seen, "reason", None)
        if not isinstance(inner, Exception):
            inner = next((own for own in seen.args if isinstance(own, Exception)), None)
        if inner is None:
            return seen
        seen = inner


def _speaks_tls(reason: Exception) -> bool:
    """Whether an error came out of a conversation in TLS: of its certificate, or an alert."""
    if isinstance(reason, ssl.SSLCertVerificationError):
        return True
    return isinstance(reason, ssl.SSLError) and "ALERT" in (reason.reason or "")


def _retry_after(response: Response) -> float:
    """The seconds that a registry asks to wait, 0 if it does not say."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text[:9])
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return 0.0


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.user}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _parameters(text: str) -> Iterator[tuple[str, str]]:
    """``key="value",key=value`` of a challenge (RFC 9110, 11.2); keys in lower case."""
    rest = text.strip()
    while rest:
        key, sign, rest = rest.partition("=")
        if not sign:
            return
        rest = rest.lstrip()
        if rest.startswith('"'):
            value, _, rest = rest[1:].partition('"')
            rest = rest.lstrip().removeprefix(",")
        else:
            value, _, rest = rest.partition(",")
        yield key.strip().lower(), value.strip()
        rest = rest.lstrip()


def _said(response: Response) -> str:
    """What a registry says about an error: its messages, or the state in words."""
    try:
        content = response.read(_SAID_MAX)
        errors = json.loads(content)["errors"]
        words = "; ".join(str(own.get("message") or own.get("code")) for own in errors)
    except (ValueError, LookupError, TypeError, AttributeError, OSError):
        words = response.reason or ""
    except urllib3.exceptions.HTTPError:
        words = response.reason or ""
    discard(response)
    return "".join(char if char.isprintable() else " " for char in words)[:_WORDS_MAX]
