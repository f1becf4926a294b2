"""A registry that behaves as a test tells it to: content in memory, and whatever may go wrong."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import ssl
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class Request(BaseHTTPRequestHandler):
    """One request; ``answer`` and ``parts`` are for tests that answer themselves."""

    protocol_version = "HTTP/1.1"
    server: _Server

    def answer(self, status: int, content: bytes = b"", **headers: str) -> None:
        """A whole answer; ``Retry_After="1"`` becomes a header."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _do(self) -> None:
        owner = self.server.owner
        with owner.lock:
            owner.asked.append((self.command, self.path, dict(self.headers)))
        if owner.act is not None and owner.act(self):
            return
        self.serve()

    do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _do  # noqa: N815 - http.server's names

    def serve(self) -> None:
        """As a registry that works."""
        found = self.server.owner.content.get(self.path.partition("?")[0])
        if found is None:
            self.answer(404, b'{"errors": [{"code": "UNKNOWN", "message": "unknown here"}]}')
            return
        content, kind = found
        offset = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        if not offset:
            self.answer(200, content, Content_Type=kind)
            return
        said = f"bytes {offset}-{len(content) - 1}/{len(content)}"
        self.answer(206, content[offset:], Content_Type=kind, Content_Range=said)

    def cut_off(self, after: int) -> None:
        """What was asked for, whose connection breaks after so many bytes."""
        content, _ = self.server.owner.content[self.path.partition("?")[0]]
        offset = int(self.headers.get("Range", "bytes=0-")[6:].rstrip("-"))
        self.send_response(206 if offset else 200)
        self.send_header("Content-Length", str(len(content) - offset))
        self.end_headers()
        self.wfile.write(content[offset : offset + after])
        self.wfile.flush()
        self.close_connection = True

    @property
    def is_blob(self) -> bool:
        """Whether it is about a layer (a configuration is small)."""
        found = self.server.owner.content.get(self.path)
        return "/blobs/" in self.path and found is not None and len(found[0]) > 10_000

    def log_message(self, *_words: object) -> None:
        return


class _Server(ThreadingHTTPServer):
    owner: Scripted
    daemon_threads = True

    def handle_error(self, *_what: object) -> None:  # whoever was killed does not listen
        return


class Scripted:
    """``asked`` are (method, path, headers); ``act(request)`` may answer and return True.

    With ``certificate``, (certificate, key), it speaks TLS.
    """

    def __init__(self, certificate: tuple[str, str] | None = None) -> None:
        self.asked: list[tuple[str, str, dict[str, str]]] = []
        self.act: Callable[[Request], bool] | None = None
        self.content: dict[str, tuple[bytes, str]] = {"/v2/": (b"{}", "application/json")}
        self.lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), Request)
        self._server.owner = self
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self.host = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        """Ends it."""
        self._server.shutdown()
        self._server.server_close()

    def blobs(self) -> list[tuple[str, dict[str, str]]]:
        """(path, headers) of each request for a layer."""
        big = {path for path, (content, _) in self.content.items() if len(content) > 10_000}
        return [(path, headers) for _, path, headers in self.asked if path in big]

    def stall(self, after: int) -> threading.Event:
        """The first request for a layer gets so many bytes, and nothing more until the event."""
        over = threading.Event()

        def act(request: Request) -> bool:
            if not request.is_blob or len(self.blobs()) > 1:
                return False
            request.cut_off(after)
            over.wait(60)
            return True

        self.act = act
        return over

    def put(self, repository: str, where: str, content: bytes, kind: str, name: str = "") -> str:
        """Content under its digest, and under a name; returns the digest."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for word in filter(None, (digest, name)):
            self.content[f"/v2/{repository}/{where}/{word}"] = content, kind
        return digest

    def image(
        self,
        repository: str,
        tag: str,
        layers: list[bytes],
        *,
        architecture: str = "amd64",
        system: str = "linux",
    ) -> str:
        """An image of compressed layers; returns the digest of its manifest."""
        plain = [hashlib.sha256(gzip.decompress(layer)).hexdigest() for layer in layers]
        config = {
            "architecture": architecture, "os": system, "config": {"Cmd": ["sh"]},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}" for digest in plain]},
        }  # fmt: skip
        raw = json.dumps(config).encode()
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": self._described(repository, raw, "config.v1+json"),
            "layers": [self._described(repository, one, "layer.v1.tar+gzip") for one in layers],
        }  # fmt: skip
        return self.put(repository, "manifests", json.dumps(manifest).encode(), MANIFEST, tag)

    def _described(self, repository: str, content: bytes, kind: str) -> dict[str, object]:
        digest = self.put(repository, "blobs", content, "application/octet-stream")
        media_type = f"application/vnd.oci.image.{kind}"
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def index(self, repository: str, tag: str, entries: list[tuple[str, dict[str, str]]]) -> str:
        """An index of (digest of a manifest, platform); returns its digest."""
        listed = [
            {"mediaType": MANIFEST, "digest": digest, "platform": platform,
             "size": len(self.content[f"/v2/{repository}/manifests/{digest}"][0])}
            for digest, platform in entries
        ]  # fmt: skip
        raw = {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed}
        return self.put(repository, "manifests", json.dumps(raw).encode(), INDEX, tag)


def layer(**files: bytes) -> bytes:
    """A compressed layer of these files, the same bytes each time."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            made.addfile(entry, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1, mtime=0)


@pytest.fixture
def scripted(home_dir: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Scripted]]:
    """Starts scripted registries, which end with the test."""
    monkeypatch.setenv("DOCKER_CONFIG", f"{home_dir}/docker-config")
    running: list[Scripted] = []

    def started(certificate: tuple[str, str] | None = None) -> Scripted:
        running.append(Scripted(certificate))
        return running[-1]

    yield started
    for one in running:
        one.end()
