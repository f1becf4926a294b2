"""ADD of a URL: what a server may answer, and what becomes of it."""

from __future__ import annotations

import hashlib
import http.server
import os
import tempfile
import threading

import pytest

from images.build import fetch
from images.build.errors import BuildError
from images.build.place import Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

CONTENT = os.urandom(1 << 16)
DIGEST = hashlib.sha256(CONTENT).hexdigest()
DATE = "Wed, 21 Oct 2015 07:28:00 GMT"  # 1445412480


class Server(http.server.BaseHTTPRequestHandler):
    """Files, and all that can go wrong."""

    seen: list[tuple[str, str]]  # what was asked for, and the authorization

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization", "")))
        path = self.path.partition("?")[0]
        if path.startswith("/to/"):
            self._answer(302, {"Location": path[3:]})
        elif path == "/far":
            self._answer(302, {"Location": self.path.partition("?")[2]})
        elif path == "/loop":
            self._answer(301, {"Location": "/loop"})
        elif path == "/away":
            self._answer(307, {"Location": "file:///etc/passwd"})
        elif path == "/lost":
            self._answer(302, {})
        elif path == "/short":
            self._answer(200, {"Content-Length": str(2 * len(CONTENT))}, CONTENT)
        elif path == "/packed":
            self._answer(200, {"Content-Encoding": "gzip"}, CONTENT)
        elif path == "/none":
            self._answer(404, {})
        elif path == "/odd":
            self._answer(200, {"Last-Modified": "yesterday"}, CONTENT)
        else:
            self._answer(200, {"Last-Modified": DATE}, CONTENT)

    def _answer(self, status: int, headers: dict[str, str], body: bytes = b"") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(body))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        return


class Web:
    """A running server: its ``url``, and what it was asked for."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []
        handler = type("Handler", (Server,), {"seen": self.seen})
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.host = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.host}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def end(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def serving(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Web]]:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    running: list[Web] = []

    def start() -> Web:
        running.append(Web())
        return running[-1]

    yield start
    for web in running:
        web.end()


@pytest.fixture
def web(serving: Callable[[], Web]) -> Web:
    return serving()


def got(url: str, checksum: str = "") -> tuple[fetch.Fetched, bytes, os.stat_result]:
    with tempfile.TemporaryFile() as spool:
        fetched = fetch.fetch(url, spool, checksum)
        spool.seek(0)
        return fetched, spool.read(), os.fstat(spool.fileno())


def test_a_file_comes_with_its_name_its_time_and_for_root_alone(web: Web) -> None:
    fetched, content, info = got(f"{web.url}/some/file%20name.tar?version=1#part")
    assert fetched == fetch.Fetched("file name.tar", 1445412480, len(CONTENT), DIGEST)
    assert content == CONTENT
    assert info.st_mode & 0o7777 == 0o600 and info.st_mtime == 1445412480
    assert web.seen == [("/some/file%20name.tar?version=1", "")]


@pytest.mark.parametrize(
    ("path", "name"), [("", ""), ("/", ""), ("/a/", ""), ("/a/..", ""), ("/a/%2e%2e", ""),
                       ("/a%2Fb", "b"), ("/odd", "odd"), ("/a%00", "")],
)  # fmt: skip
def test_a_name_is_one_of_a_file_or_none(web: Web, path: str, name: str) -> None:
    assert got(web.url + path)[0].name == name


def test_a_file_without_a_time_is_from_1970_in_every_build(web: Web) -> None:
    assert got(f"{web.url}/odd")[0].modified == 0
    assert got(f"{web.url}/packed")[1] == CONTENT  # and is not decoded


def test_redirects_are_followed_but_not_for_ever_and_not_anywhere(web: Web) -> None:
    fetched, content, _ = got(f"{web.url}/to/to/there/file")
    assert (fetched.name, content) == ("file", CONTENT)
    for path, why in (("loop", "redirects"), ("away", "less safe"), ("lost", "answers 302")):
        with pytest.raises(BuildError, match=why):
            got(f"{web.url}/{path}")


def test_a_checksum_is_held_against_the_content(web: Web) -> None:
    sha512 = hashlib.sha512(CONTENT).hexdigest()
    assert got(f"{web.url}/x", f"sha256:{DIGEST}")[0].digest == DIGEST
    assert got(f"{web.url}/x", f"sha512:{sha512}")[0].digest == DIGEST
    with pytest.raises(BuildError, match=f"its digest is sha256:{DIGEST}"):
        got(f"{web.url}/x", "sha256:" + "0" * 64)
    asked = len(web.seen)
    for text in (
        "",
        "sha256:",
        f"sha256:{DIGEST[:-1]}",
        f"md5:{DIGEST}",
        f"sha256:{DIGEST[:-1]}G",
        DIGEST,
    ):
        with pytest.raises(BuildError, match="--checksum"):
            fetch.check_checksum(text)
        if text:
            with pytest.raises(BuildError, match="--checksum"):
                got(f"{web.url}/x", text)
    assert len(web.seen) == asked


def test_what_a_server_refuses_or_breaks_off_is_an_error(web: Web) -> None:
    with pytest.raises(BuildError, match="/none: the server answers 404"):
        got(f"{web.url}/none")
    with pytest.raises(BuildError, match="/short: "):
        got(f"{web.url}/short")
    host = web.url
    web.end()
    with pytest.raises(BuildError, match="connection refused"):
        got(f"{host}/x")
    for url in ("http://[x", "http://127.0.0.1:x/", "http://"):
        with pytest.raises(BuildError, match="cannot add"):
            got(url)


def test_a_password_is_used_for_its_host_and_never_shown(
    web: Web, serving: Callable[[], Web]
) -> None:
    other = serving()
    got(f"http://ann:s%40cret@{web.host}/to/file")
    assert [authorization for _, authorization in web.seen] == ["Basic YW5uOnNAY3JldA=="] * 2
    with pytest.raises(BuildError) as caught:
        got(f"http://ann:secret@{web.host}/none")
    assert "secret" not in str(caught.value) and f"http://{web.host}/none" in str(caught.value)
    got(f"http://ann:secret@{web.host}/far?{other.url}/x")
    assert other.seen == [("/x", "")]


def test_a_proxy_is_asked_unless_the_host_is_excepted(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", web.url)
    assert got("http://nowhere.invalid/file")[1] == CONTENT
    assert web.seen == [("http://nowhere.invalid/file", "")]
    monkeypatch.setenv("no_proxy", "invalid")
    with pytest.raises(BuildError, match=r"nowhere\.invalid"):
        got("http://nowhere.invalid/file")


def test_git_is_refused_by_name() -> None:
    for source in ("git@github.com:a/b", "git://x/y", "ssh://x/y", "https://x/y.git#main:sub"):
        assert fetch.kind(source) == fetch.GIT
        with pytest.raises(BuildError, match="git repositories are not supported"):
            got(source)
    kinds = [
        fetch.kind(text) for text in ("http://x/y", "HTTPS://x/git", "a/http://x", "file:///x")
    ]
    assert kinds == [fetch.HTTP, fetch.HTTP, "", ""]


def test_what_was_fetched_is_placed_with_its_mode_and_time(web: Web, tmp_path: Path) -> None:
    root = os.open(tmp_path, os.O_RDONLY)
    with tempfile.TemporaryFile() as spool:
        fetched = fetch.fetch(f"{web.url}/file", spool)
        Place(root, "/downloads/").file(spool.fileno(), fetched.name)
        tool = Place(root, "/bin/tool", mode="755", owner=(1, 1))
        tool.file(spool.fileno(), fetched.name)
    os.close(root)
    first, second = os.stat(tmp_path / "downloads/file"), os.stat(tmp_path / "bin/tool")
    assert (first.st_mode & 0o777, first.st_mtime, first.st_size) == (
        0o600,
        1445412480,
        len(CONTENT),
    )
    assert (second.st_mode & 0o777, second.st_uid) == (0o755, 1)
