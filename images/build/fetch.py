"""ADD of a URL: the file behind it, into a file of ours.

Redirects are followed, but never from https to http. Nothing is decoded, and a remote archive is
an archive like any other. The file is for root alone (mode 0600) and as old as the server says,
or from 1970, so that two builds get the same. A proxy is used where the environment names one.

Source: Docker's "Dockerfile reference", ADD; RFC 9110, 15.4 (redirects) and 8.8.2 (Last-Modified);
OCI image specification, descriptor.md, "Digests".
"""

from __future__ import annotations

import os

from images.build.errors import BuildError
from kernel.record import Record

TYPE_CHECKING = False
if TYPE_CHECKING:
    import hashlib
    from typing import IO

    import urllib3

HTTP, GIT = "http", "git"

_REDIRECTS = (301, 302, 303, 307, 308)
_REDIRECTS_MAX = 10
_CHUNK = 1 << 20
_SIZE_MAX = 256 << 30
_HEXADECIMAL = {"sha256": 64, "sha384": 96, "sha512": 128}
_SCHEMES = ("http://", "https://")
_GIT = ("git://", "git@", "ssh://")


class Fetched(Record):
    """``name`` is the last part of the URL's path, "" if it has none; ``modified`` is in seconds
    since 1970; ``digest`` is the content's sha256 (hex digits).
    """

    name: str
    modified: int
    size: int
    digest: str


def kind(source: str) -> str:
    """HTTP or GIT for a source of ADD that is somewhere else, "" for a path."""
    if source.startswith(_GIT):
        return GIT
    if not source.lower().startswith(_SCHEMES):
        return ""
    path = source.partition("#")[0].partition("?")[0]
    return GIT if path.endswith(".git") else HTTP


def check_checksum(text: str) -> tuple[str, str]:
    """(algorithm, hex digits) of --checksum; BuildError."""
    algorithm, _, digits = text.partition(":")
    if len(digits) != _HEXADECIMAL.get(algorithm) or set(digits) - set("0123456789abcdef"):
        raise BuildError(
            f"cannot read --checksum={text}",
            "it is not a digest",
            "write sha256: and 64 hexadecimal digits, or sha384 or sha512",
        )
    return algorithm, digits


def fetch(url: str, spool: IO[bytes], checksum: str = "") -> Fetched:
    """Writes what is behind a URL into ``spool``, an empty file, which gets its mode and times.

    ``checksum`` is what the content must be. BuildError: it names the URL without a password.
    """
    if kind(url) == GIT:
        raise BuildError(
            f"cannot add {_shown(url)}",
            "git repositories are not supported",
            "clone it, and add the folder",
        )
    import hashlib
    from urllib.parse import unquote, urlsplit

    try:
        path = unquote(urlsplit(url).path)
    except ValueError as error:
        raise _failed(url, error) from None
    expected = check_checksum(checksum) if checksum else ("sha256", "")
    plain, checked = hashlib.sha256(), hashlib.new(expected[0])
    response = _opened(url)
    try:
        size = _copy(response, spool, url, plain, checked)
        modified = _seconds(response.headers.get("Last-Modified", ""))
    finally:
        response.close()
    if checksum and checked.hexdigest() != expected[1]:
        raise BuildError(
            f"cannot add {_shown(url)}",
            f"its digest is {expected[0]}:{checked.hexdigest()}, and not that of --checksum",
        )
    spool.flush()
    os.fchmod(spool.fileno(), 0o600)
    os.utime(spool.fileno(), (modified, modified))
    name = path.rpartition("/")[2]
    good = name not in (".", "..") and "\0" not in name
    return Fetched(name if good else "", modified, size, plain.hexdigest())


def _opened(url: str) -> urllib3.BaseHTTPResponse:
    """The response that has the content, after all redirects."""
    from urllib.parse import urljoin, urlsplit

    import urllib3

    at = url
    for _ in range(_REDIRECTS_MAX + 1):
        parts = urlsplit(at)
        headers = {"User-Agent": "pyctr", "Accept-Encoding": "identity"}
        if parts.username is not None and urlsplit(url).netloc == parts.netloc:
            headers |= urllib3.make_headers(
                basic_auth=f"{_unquoted(parts.username)}:{_unquoted(parts.password)}"
            )
        try:
            response = _pool(at).request(
                "GET", _without_user(at), headers=headers, preload_content=False,
                redirect=False, decode_content=False,
            )  # fmt: skip
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            raise _failed(url, error) from None
        if response.status == 200:
            return response
        response.close()
        target = response.headers.get("Location", "")
        if response.status not in _REDIRECTS or not target:
            raise BuildError(f"cannot add {_shown(url)}", f"the server answers {response.status}")
        try:
            following = urljoin(at, target)
            urlsplit(following)
        except ValueError as error:
            raise _failed(url, error) from None
        allowed = ("https://",) if at.lower().startswith("https://") else _SCHEMES
        if not following.lower().startswith(allowed):
            raise BuildError(
                f"cannot add {_shown(url)}",
                f"it leads on to {_shown(following)}, which is less safe",
            )
        at = following
    raise BuildError(f"cannot add {_shown(url)}", f"it has more than {_REDIRECTS_MAX} redirects")


def _pool(url: str) -> urllib3.PoolManager:
    """Connections to where a URL leads, through the proxy that the environment names."""
    from urllib.parse import urlsplit
    from urllib.request import getproxies, proxy_bypass

    import urllib3

    parts = urlsplit(url)
    proxy = getproxies().get(parts.scheme.lower(), "")
    timeout = urllib3.Timeout(connect=15, read=60)
    if not proxy or proxy_bypass(parts.netloc.rpartition("@")[2]):
        return urllib3.PoolManager(retries=False, timeout=timeout)
    return urllib3.ProxyManager(proxy, retries=False, timeout=timeout)


def _copy(
    response: urllib3.BaseHTTPResponse, spool: IO[bytes], url: str, *digests: hashlib._Hash
) -> int:
    import urllib3

    size = 0
    try:
        while chunk := response.read(_CHUNK):
            size += len(chunk)
            if size > _SIZE_MAX:
                raise BuildError(
                    f"cannot add {_shown(url)}", f"it is larger than {_SIZE_MAX} bytes"
                )
            for digest in digests:
                digest.update(chunk)
            spool.write(chunk)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise _failed(url, error) from None
    return size


def _seconds(text: str) -> int:
    """When Last-Modified says that it was, 0 if it says nothing."""
    from email.utils import parsedate_to_datetime

    try:
        return max(0, int(parsedate_to_datetime(text).timestamp()))
    except (ValueError, TypeError, OverflowError):
        return 0


def _failed(url: str, error: Exception) -> BuildError:
    reason = getattr(error, "reason", None) or error
    why = reason.strerror if isinstance(reason, OSError) and reason.strerror else str(reason)
    why = (why.rpartition("object at ")[2].partition(": ")[2] or why).rpartition("] ")[2]
    why = why.rstrip(".)")
    return BuildError(f"cannot add {_shown(url)}", why[:1].lower() + why[1:])


def _unquoted(text: str | None) -> str:
    from urllib.parse import unquote

    return unquote(text or "")


def _without_user(url: str) -> str:
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()


def _shown(url: str) -> str:
    """A URL without user and password, for messages."""
    try:
        return _without_user(url) if "@" in url and "://" in url else url
    except ValueError:
        return "the URL"
