"""One registry over HTTP: manifests and blobs, in and out.

Authentication is what the registry asks for: nothing, basic, or a bearer token for a scope. A
redirect is followed without the credentials when it leads to another host. Plain HTTP is spoken
only with loopback addresses, or with hosts that a person named as insecure. What may be tried
again (a broken connection, 5xx, 429) is tried again with growing pauses.

Source: OCI distribution specification 1.1; distribution, "Token Authentication Specification" and
"OAuth2 Token Authentication"; RFC 9110, 15.4 (redirects) and 14 (ranges).
"""

from __future__ import annotations

import base64
import json
import os
import ssl
import time
import urllib.parse

import urllib3

from images import manifests
from images.credentials import HUB, Credentials
from images.errors import ImageError, ImageNotFound
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO, Any

_HUB_HOST = "registry-1.docker.io"
_CERTIFICATES = ("/etc/pyctr/certs.d", "/etc/docker/certs.d")
_TRIES = 5
_TIMEOUT = urllib3.Timeout(connect=15, read=60)
_REDIRECTS = (301, 302, 303, 307, 308)
_CHUNK = 1 << 20
_PART = 16 << 20  # bytes of one request of an upload
_WORDS_MAX = 300  # of what a registry says about an error


class RegistryError(ImageError):
    """The registry refused, or could not be reached. ``status`` is that of HTTP, 0 if none."""

    exit_code = 1

    def __init__(self, *words: Any, status: int = 0) -> None:
        super().__init__(*words)
        self.status = status


class Denied(RegistryError):
    """Not logged in, or not allowed."""


class Broken(RegistryError):
    """A connection broke or a server failed: the same may work in a moment."""


class Fetched(Record):
    """A manifest as it came: its bytes, media type and digest (hex digits)."""

    content: bytes
    media_type: str
    digest: str


class Registry:
    """A registry by its host name and port. Its methods may be called by several threads."""

    def __init__(
        self, host: str, credentials: Credentials | None = None, *, insecure: bool = False
    ) -> None:
        self.host = host
        self._credentials = credentials
        self._insecure = insecure
        self._pool = urllib3.PoolManager(
            ssl_context=_tls(host, insecure), retries=False, timeout=_TIMEOUT, maxsize=8,
            headers={"User-Agent": "pyctr"},
        )  # fmt: skip
        self._base = ""
        self._tokens: dict[str, str] = {}
        self._basic = False

    # -- what is there ---------------------------------------------------------------------

    def check(self) -> str:
        """Whether the registry lets us in; an identity token if it gave one. Denied otherwise."""
        response = self._request("GET", "/v2/", scope="", accepted=(200, 401))
        if response.status == 401:
            raise Denied(
                f"login at {self.host} failed", "user name or password are wrong", status=401
            )
        return self._tokens.get("identity", "")

    def manifest(self, repository: str, reference: str) -> Fetched:
        """The manifest or index of a tag or digest (``sha256:...``). ImageNotFound, Denied."""
        response = self._request(
            "GET",
            f"/v2/{repository}/manifests/{reference}",
            scope=f"repository:{repository}:pull",
            headers={"Accept": ", ".join(manifests.ACCEPTED)},
            accepted=(200, 404),
        )
        if response.status == 404:
            separator = "@" if reference.startswith("sha256:") else ":"
            raise ImageNotFound(
                f"no such image: {self._shown(repository)}{separator}{reference}",
                f"the registry {self.host} does not have it",
                "check name and tag; a private image needs pyctr login",
            )
        content = response.read(manifests.CONTENT_MAX + 1)
        response.close() if len(content) > manifests.CONTENT_MAX else response.drain_conn()
        digest = _digest(content)
        if reference.startswith("sha256:") and reference != f"sha256:{digest}":
            raise RegistryError(
                f"the registry {self.host} sent another manifest",
                f"sha256:{digest} instead of {reference}",
            )
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip()
        return Fetched(content, kind, digest)

    def tags(self, repository: str) -> list[str]:
        """All tags of a repository. ImageNotFound, Denied."""
        found: list[str] = []
        place = f"/v2/{repository}/tags/list?n=1000"
        while place:
            response = self._request(
                "GET", place, scope=f"repository:{repository}:pull", accepted=(200, 404)
            )
            content = response.read(manifests.CONTENT_MAX)
            if response.status == 404:
                raise ImageNotFound(
                    f"no such repository: {self._shown(repository)}",
                    f"the registry {self.host} does not have it",
                )
            try:
                found += map(str, json.loads(content)["tags"] or [])
            except (ValueError, LookupError, TypeError):
                raise RegistryError(f"the registry {self.host} is not understood") from None
            following = response.headers.get("Link", "").partition(">")[0].partition("<")[2]
            place = urllib.parse.urljoin(self._base + "/", following) if following else ""
        return found

    def blob(self, repository: str, digest: str, offset: int = 0) -> IO[bytes]:
        """A reader of a blob from ``offset`` on. Broken when the connection breaks."""
        response = self._request(
            "GET",
            f"/v2/{repository}/blobs/sha256:{digest}",
            scope=f"repository:{repository}:pull",
            headers={"Range": f"bytes={offset}-"} if offset else {},
            accepted=(200, 206),
        )
        reader = _Body(response, self.host)
        if offset and response.status == 200:  # it does not do ranges
            reader.skip(offset)
        return reader  # type: ignore[return-value]

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        response = self._request(
            "HEAD",
            f"/v2/{repository}/blobs/sha256:{digest}",
            scope=f"repository:{repository}:pull,push",
            accepted=(200, 404),
        )
        response.drain_conn()
        return response.status == 200

    # -- bringing something ----------------------------------------------------------------

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Asks the registry to take a blob from another repository of its own."""
        query = urllib.parse.urlencode({"mount": f"sha256:{digest}", "from": source})
        response = self._request(
            "POST",
            f"/v2/{repository}/blobs/uploads/?{query}",
            scope=f"repository:{repository}:pull,push repository:{source}:pull",
            accepted=(201, 202),
        )
        response.drain_conn()
        if response.status == 202:  # it opened an upload instead, which is not needed
            self._cancel(repository, response)
        return response.status == 201

    def push_blob(
        self, repository: str, digest: str, path: str, size: int, told: Any = None
    ) -> None:
        """Uploads a file in parts; after a broken connection it goes on where the registry is."""
        scope = f"repository:{repository}:pull,push"
        place = self._open_upload(repository, scope)
        with open(path, "rb") as file:
            sent = 0
            failures = 0
            while sent < size:
                file.seek(sent)
                part = file.read(min(_PART, size - sent))
                try:
                    place = self._push_part(place, scope, part, sent)
                    sent += len(part)
                    failures = 0
                except Broken:
                    failures += 1
                    if failures >= _TRIES:
                        raise
                    time.sleep(0.2 * 2**failures)
                    place, sent = self._progress_of(repository, place, scope)
                if told is not None:
                    told(sent)
        separator = "&" if "?" in place else "?"
        query = urllib.parse.urlencode({"digest": f"sha256:{digest}"})
        done = self._request("PUT", f"{place}{separator}{query}", scope=scope, accepted=(201, 204))
        done.drain_conn()

    def _push_part(self, place: str, scope: str, part: bytes, offset: int) -> str:
        response = self._request(
            "PATCH",
            place,
            scope=scope,
            body=part,
            headers={
                "Content-Type": "application/octet-stream",
                "Content-Range": f"{offset}-{offset + len(part) - 1}",
            },
            accepted=(202, 204),
            tries=1,
        )
        response.drain_conn()
        return self._location(response)

    def _open_upload(self, repository: str, scope: str) -> str:
        path = f"/v2/{repository}/blobs/uploads/"
        opened = self._request("POST", path, scope=scope, accepted=(202,))
        opened.drain_conn()
        return self._location(opened)

    def _progress_of(self, repository: str, place: str, scope: str) -> tuple[str, int]:
        """(where an upload goes on, how much of it has arrived)."""
        try:
            response = self._request("GET", place, scope=scope, accepted=(202, 204))
        except RegistryError as error:
            if error.status not in (404, 416):
                raise
            return self._open_upload(repository, scope), 0  # the registry lost track of it
        response.drain_conn()
        last = response.headers.get("Range", "").rpartition("-")[2]
        arrived = int(last) + 1 if last.isdigit() and last != "0" else 0
        return self._location(response) if "Location" in response.headers else place, arrived

    def _cancel(self, repository: str, response: urllib3.BaseHTTPResponse) -> None:
        try:
            scope = f"repository:{repository}:pull,push"
            place = self._location(response)
            self._request("DELETE", place, scope=scope, accepted=(202, 204, 404, 405)).close()
        except RegistryError:  # an upload that nobody goes on with ends by itself
            return

    def push_manifest(self, repository: str, reference: str, content: bytes, kind: str) -> str:
        """Names what was uploaded; returns the manifest's digest."""
        response = self._request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            scope=f"repository:{repository}:pull,push",
            body=content,
            headers={"Content-Type": kind},
            accepted=(201, 200),
        )
        response.drain_conn()
        return _digest(content)

    def _location(self, response: urllib3.BaseHTTPResponse) -> str:
        place = response.headers.get("Location", "")
        if not place:
            raise RegistryError(f"the registry {self.host} names no place for the upload")
        return urllib.parse.urljoin(self._base + "/", place)

    # -- HTTP ------------------------------------------------------------------------------

    def _request(
        self,
        method: str,
        path: str,
        *,
        scope: str,
        headers: dict[str, str] | None = None,
        body: bytes | None = None,
        accepted: Iterable[int] = (200,),
        tries: int = _TRIES,
    ) -> urllib3.BaseHTTPResponse:
        """A response with one of the accepted states, authenticated, redirected, tried again."""
        for attempt in range(tries):
            try:
                response = self._authenticated(method, path, scope, dict(headers or {}), body)
            except Broken:
                if attempt == tries - 1:
                    raise
                time.sleep(0.2 * 2**attempt)
                continue
            if response.status in accepted:
                return response
            again = response.status == 429 or response.status >= 500
            if not again or attempt == tries - 1:
                raise self._error(response, path)
            pause = response.headers.get("Retry-After", "")
            response.drain_conn()
            time.sleep(min(float(pause), 30.0) if pause.isdigit() else 0.2 * 2**attempt)
        raise AssertionError("unreachable")

    def _authenticated(
        self, method: str, path: str, scope: str, headers: dict[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        url = path if path.startswith("http") else self._found_base() + path
        own = url.startswith(self._found_base() + "/")
        if own and scope in self._tokens:
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        elif own and self._basic and self._credentials is not None:
            headers["Authorization"] = _basic(self._credentials)
        response = self._followed(method, url, headers, body)
        if response.status != 401 or not own:
            return response
        challenge = response.headers.get("WWW-Authenticate", "")
        response.drain_conn()
        kind, _, rest = challenge.partition(" ")
        if kind.lower() == "bearer":
            self._tokens[scope] = self._token(_parameters(rest), scope)
            headers["Authorization"] = f"Bearer {self._tokens[scope]}"
        elif kind.lower() == "basic" and self._credentials is not None and not self._basic:
            self._basic = True
            headers["Authorization"] = _basic(self._credentials)
        else:
            return response
        return self._followed(method, url, headers, body)

    def _followed(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        """Follows redirects; the credentials stay with the host that they were meant for."""
        for _ in range(6):
            response = self._once(method, url, headers, body)
            place = response.headers.get("Location", "")
            if response.status not in _REDIRECTS or not place:
                return response
            response.drain_conn()
            following = urllib.parse.urljoin(url, place)
            if _origin(following) != _origin(url):
                headers = {key: own for key, own in headers.items() if key != "Authorization"}
            if url.startswith("https:") and not following.startswith("https:"):
                raise RegistryError(
                    f"the registry {self.host} is not trusted", "it leads from https to plain http"
                )
            url = following
        raise RegistryError(f"the registry {self.host} leads in a circle", "too many redirects")

    def _once(
        self, method: str, url: str, headers: dict[str, str], body: bytes | None
    ) -> urllib3.BaseHTTPResponse:
        try:
            return self._pool.request(
                method, url, headers={"User-Agent": "pyctr", **headers}, body=body,
                redirect=False, preload_content=False, decode_content=False,
            )  # fmt: skip
        except urllib3.exceptions.HTTPError as error:
            raise self._unreachable(error) from None

    def _found_base(self) -> str:
        """``https://host`` or, where that is allowed and nothing else answers, ``http://host``."""
        if self._base:
            return self._base
        host = _HUB_HOST if self.host == HUB else self.host
        if self._insecure or _is_loopback(host):
            try:
                probe = self._pool.request(
                    "GET", f"https://{host}/v2/", redirect=False, preload_content=False
                )
                probe.close()
            except urllib3.exceptions.HTTPError:
                self._base = f"http://{host}"
                return self._base
        self._base = f"https://{host}"
        return self._base

    def _token(self, challenge: dict[str, str], scope: str) -> str:
        """A bearer token for a scope, as the challenge says where to get it."""
        realm = challenge.get("realm", "")
        secure = realm.startswith("https://")
        if not secure and not (realm.startswith("http://") and self._base.startswith("http://")):
            raise RegistryError(f"the registry {self.host} asks for a token from {realm!r}")
        asked = [("service", challenge["service"])] if "service" in challenge else []
        asked += [("scope", own) for own in (scope or challenge.get("scope", "")).split()]
        credentials = self._credentials
        headers = {}
        if credentials is not None and credentials.identity_token:
            form = [*asked, ("grant_type", "refresh_token"), ("client_id", "pyctr"),
                    ("refresh_token", credentials.identity_token)]  # fmt: skip
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            response = self._once("POST", realm, headers, urllib.parse.urlencode(form).encode())
        else:
            if credentials is not None:
                headers["Authorization"] = _basic(credentials)
                asked += [("account", credentials.user), ("offline_token", "true")]
                asked += [("client_id", "pyctr")]
            query = urllib.parse.urlencode(asked)
            mark = "&" if "?" in realm else "?"
            response = self._followed("GET", f"{realm}{mark}{query}", headers, None)
        content = response.read(1 << 20)
        response.drain_conn()
        if response.status in (400, 401, 403):
            raise Denied(
                f"access to {self.host} is denied", "the credentials are refused",
                f"pyctr login {self.host}", status=response.status,
            )  # fmt: skip
        if response.status != 200:
            raise self._error(response, realm)
        try:
            said = json.loads(content)
            if said.get("refresh_token"):
                self._tokens["identity"] = str(said["refresh_token"])
            return str(said.get("token") or said["access_token"])
        except (ValueError, LookupError, AttributeError):
            raise RegistryError(f"{realm} gave no token", "its answer is not understood") from None

    # -- errors ----------------------------------------------------------------------------

    def _shown(self, repository: str) -> str:
        if self.host != HUB:
            return f"{self.host}/{repository}"
        return repository.removeprefix("library/")

    def _error(self, response: urllib3.BaseHTTPResponse, path: str) -> RegistryError:
        said = _said(response)
        status = response.status
        if status in (401, 403):
            what = "access is denied" if self._credentials else "access is denied without a login"
            return Denied(f"{what}: {self.host}", said, f"pyctr login {self.host}", status=status)
        if status == 404:
            return RegistryError(f"the registry {self.host} does not have it", said, status=404)
        if status == 429:
            return RegistryError(
                f"the registry {self.host} asks to wait", said or "too many requests",
                "log in (pyctr login), or try again later", status=429,
            )  # fmt: skip
        kind = Broken if status >= 500 else RegistryError
        return kind(f"the registry {self.host} refused", f"{status} {said}".strip(), status=status)

    def _unreachable(self, error: Exception) -> RegistryError:
        reason = getattr(error, "reason", None) or error
        if isinstance(error, urllib3.exceptions.NameResolutionError):
            return RegistryError(
                f"the registry {self.host} cannot be reached",
                "its name is not known: is there a network?",
            )
        if isinstance(reason, ssl.SSLError) or isinstance(error, urllib3.exceptions.SSLError):
            why = getattr(reason, "verify_message", "") or str(reason)
            return RegistryError(
                f"the registry {self.host} is not trusted", why,
                f"put its CA into {_CERTIFICATES[0]}/{self.host}/ca.crt",
            )  # fmt: skip
        if isinstance(error, urllib3.exceptions.TimeoutError):
            why = "it does not answer in time"
        else:
            why = str(reason).rpartition(": ")[2] or "the connection broke"
        return Broken(f"the registry {self.host} cannot be reached", why)


class _Body:
    """The content of a response as a binary file; errors of the connection are :class:`Broken`."""

    def __init__(self, response: urllib3.BaseHTTPResponse, host: str) -> None:
        self._response = response
        self._host = host

    def __enter__(self) -> _Body:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._response.close()

    def read(self, size: int = -1) -> bytes:
        try:
            return self._response.read(None if size < 0 else size)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Broken(f"the connection to {self._host} broke", str(error)) from None

    def skip(self, size: int) -> None:
        while size > 0:
            chunk = self.read(min(size, _CHUNK))
            if not chunk:
                return
            size -= len(chunk)


def _tls(host: str, insecure: bool) -> ssl.SSLContext:
    """The system's authorities, and those that were put aside for this registry."""
    context = ssl.create_default_context()
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    for folder in (f"{top}/{host}" for top in _CERTIFICATES):
        for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
            own = f"{folder}/{name}"
            try:
                if name.endswith(".crt"):
                    context.load_verify_locations(own)
                elif name.endswith(".cert"):
                    context.load_cert_chain(own, own.removesuffix(".cert") + ".key")
            except (OSError, ssl.SSLError) as error:
                raise ImageError("a certificate cannot be used", str(error), path=own) from None
    return context


def _is_loopback(host: str) -> bool:
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    name = name.strip("[]")
    if name == "localhost" or name == "::1":
        return True
    words = name.split(".")
    return len(words) == 4 and words[0] == "127" and all(word.isdigit() for word in words)


def _origin(url: str) -> tuple[str, str]:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme, parts.netloc


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.user}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _parameters(text: str) -> dict[str, str]:
    """``key="value",key=value`` of a challenge (RFC 9110, 11.2)."""
    return {key.lower(): value for key, value in _pairs(text)}


def _pairs(text: str) -> Iterator[tuple[str, str]]:
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
        yield key.strip(), value.strip()
        rest = rest.lstrip()


def _said(response: urllib3.BaseHTTPResponse) -> str:
    """What a registry says about an error: its messages, or the state in words."""
    try:
        content = response.read(64 << 10)
        errors = json.loads(content)["errors"]
        words = "; ".join(str(own.get("message") or own.get("code")) for own in errors)
    except (ValueError, LookupError, TypeError, AttributeError, urllib3.exceptions.HTTPError):
        words = response.reason or ""
    finally:
        response.drain_conn()
    return "".join(char if char.isprintable() else " " for char in words)[:_WORDS_MAX]


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
