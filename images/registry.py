"""One registry: manifests and blobs, in and out. How it is asked is :mod:`images.web`.

Source: OCI distribution specification 1.1; RFC 9110, 14 (ranges).
"""

from __future__ import annotations

import json
import urllib.parse

import urllib3

from images import manifests, references
from images.credentials import HUB, Credentials
from images.errors import ImageNotFound
from images.web import TRIES, Broken, Denied, RegistryError, Web, discard, pause
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from images.web import Response

_CHUNK = 1 << 20
_PART = 16 << 20  # bytes of one request of an upload
_TAGS_MAX = 100_000


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
        self._web = Web(host, credentials, insecure=insecure)

    # -- what is there ---------------------------------------------------------------------

    def check(self) -> str:
        """Whether the registry lets us in; an identity token if it gave one. Denied otherwise."""
        response = self._web.request("GET", "/v2/", scope="", accepted=(200, 401))
        discard(response)
        if response.status == 401:
            raise Denied(
                f"login at {self.host} failed", "user name or password are wrong", status=401
            )
        return self._web.identity_token

    def manifest(self, repository: str, reference: str) -> Fetched:
        """The manifest or index of a tag or digest (``sha256:...``). ImageNotFound, Denied."""
        response, content = self._web.whole(
            f"/v2/{repository}/manifests/{reference}",
            scope=f"repository:{repository}:pull",
            most=manifests.CONTENT_MAX,
            headers={"Accept": ", ".join(manifests.ACCEPTED)},
        )
        if response.status == 404:
            separator = "@" if reference.startswith("sha256:") else ":"
            raise ImageNotFound(
                f"no such image: {self._shown(repository)}{separator}{reference}",
                f"the registry {self.host} does not have it",
                "check name and tag; a private image needs pyctr login",
            )
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
            response, content = self._web.whole(
                place, scope=f"repository:{repository}:pull", most=manifests.CONTENT_MAX
            )
            if response.status == 404:
                raise ImageNotFound(
                    f"no such repository: {self._shown(repository)}",
                    f"the registry {self.host} does not have it",
                )
            try:
                more = [str(tag) for tag in json.loads(content)["tags"] or []]
            except (ValueError, LookupError, TypeError):
                raise RegistryError(f"the registry {self.host} is not understood") from None
            if not all(map(references.is_tag, more)) or len(found) + len(more) > _TAGS_MAX:
                raise RegistryError(
                    f"the registry {self.host} is not understood", "it names what is no tag"
                )
            found += more
            following = response.headers.get("Link", "").partition(">")[0].partition("<")[2]
            place = self._web.absolute(following) if following and more else ""
        return found

    def blob(self, repository: str, digest: str, offset: int = 0) -> IO[bytes]:
        """A reader of a blob from ``offset`` on. Broken when the connection breaks."""
        response = self._web.request(
            "GET",
            f"/v2/{repository}/blobs/sha256:{digest}",
            scope=f"repository:{repository}:pull",
            headers={"Range": f"bytes={offset}-"} if offset else {},
            accepted=(200, 206),
        )
        reader = _Body(response, self.host)
        if offset and response.status == 200:  # it does not do ranges
            reader.skip(offset)
        elif offset and not _begins_at(response.headers.get("Content-Range", ""), offset):
            response.close()
            raise RegistryError(
                f"the registry {self.host} is not understood", "it sent another part than asked for"
            )
        return reader  # type: ignore[return-value]

    def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a repository has a blob."""
        response = self._web.request(
            "HEAD",
            f"/v2/{repository}/blobs/sha256:{digest}",
            scope=f"repository:{repository}:pull,push",
            accepted=(200, 404),
        )
        discard(response)
        return response.status == 200

    # -- bringing something ----------------------------------------------------------------

    def mount_blob(self, repository: str, digest: str, source: str) -> bool:
        """Asks the registry to take a blob from another repository of its own."""
        query = urllib.parse.urlencode({"mount": f"sha256:{digest}", "from": source})
        response = self._web.request(
            "POST",
            f"/v2/{repository}/blobs/uploads/?{query}",
            scope=f"repository:{repository}:pull,push repository:{source}:pull",
            accepted=(201, 202),
        )
        discard(response)
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
                    if failures >= TRIES:
                        raise
                    pause(failures)
                    place, sent = self._progress_of(repository, place, scope)
                if told is not None:
                    told(sent)
        separator = "&" if "?" in place else "?"
        query = urllib.parse.urlencode({"digest": f"sha256:{digest}"})
        whole = f"{place}{separator}{query}"
        done = self._web.request("PUT", whole, scope=scope, accepted=(201, 204, 404))
        discard(done)
        # 404: an answer was lost, and the registry had finished the upload before.
        if done.status == 404 and not self.has_blob(repository, digest):
            raise RegistryError(f"the registry {self.host} lost an upload", status=404)

    def _push_part(self, place: str, scope: str, part: bytes, offset: int) -> str:
        response = self._web.request(
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
        discard(response)
        return self._location(response)

    def _open_upload(self, repository: str, scope: str) -> str:
        path = f"/v2/{repository}/blobs/uploads/"
        opened = self._web.request("POST", path, scope=scope, accepted=(202,))
        discard(opened)
        return self._location(opened)

    def _progress_of(self, repository: str, place: str, scope: str) -> tuple[str, int]:
        """(where an upload goes on, how much of it has arrived)."""
        try:
            response = self._web.request("GET", place, scope=scope, accepted=(202, 204))
        except RegistryError as error:
            if error.status not in (404, 416):
                raise
            return self._open_upload(repository, scope), 0  # the registry lost track of it
        discard(response)
        last = response.headers.get("Range", "").rpartition("-")[2]
        arrived = int(last) + 1 if last.isdigit() and last != "0" else 0  # 0-0: nothing
        return self._location(response) if "Location" in response.headers else place, arrived

    def _cancel(self, repository: str, response: Response) -> None:
        try:
            scope = f"repository:{repository}:pull,push"
            place = self._location(response)
            self._web.request("DELETE", place, scope=scope, accepted=(202, 204, 404, 405)).close()
        except RegistryError:  # an upload that nobody goes on with ends by itself
            return

    def push_manifest(self, repository: str, reference: str, content: bytes, kind: str) -> str:
        """Names what was uploaded; returns the manifest's digest."""
        response = self._web.request(
            "PUT",
            f"/v2/{repository}/manifests/{reference}",
            scope=f"repository:{repository}:pull,push",
            body=content,
            headers={"Content-Type": kind},
            accepted=(201, 200),
        )
        discard(response)
        return _digest(content)

    def _location(self, response: Response) -> str:
        place = response.headers.get("Location", "")
        if not place:
            raise RegistryError(f"the registry {self.host} names no place for the upload")
        return self._web.absolute(place)

    def _shown(self, repository: str) -> str:
        if self.host != HUB:
            return f"{self.host}/{repository}"
        return repository.removeprefix("library/")


class _Body:
    """The content of a response as a binary file; errors of the connection are :class:`Broken`."""

    def __init__(self, response: Response, host: str) -> None:
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


def _begins_at(content_range: str, offset: int) -> bool:
    """Whether ``bytes 5-9/10`` begins at 5 (RFC 9110, 14.4); what is not said is believed."""
    return not content_range or content_range.removeprefix("bytes ").startswith(f"{offset}-")


def _digest(content: bytes) -> str:
    import hashlib

    return hashlib.sha256(content).hexdigest()
