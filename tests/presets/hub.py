"""A hub on this machine that plays as much of Hugging Face's as a download of files needs; not its Xet storage."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

COMMIT = hashlib.sha1(b"commit", usedforsecurity=False).hexdigest()


class Hub(ThreadingHTTPServer):
    """Serves the files of one model, under any name of a repository.

    Attributes:
        files: What it has, by path.
        asked: What was asked for, in order: `HEAD` or `GET`, and the path of the file.
        stops: Requests that wait, after their first byte, for their event.
    """

    daemon_threads = True

    def __init__(self, files: Mapping[str, bytes]) -> None:
        super().__init__(("127.0.0.1", 0), _Answer)
        self.files = dict(files)
        self.asked: list[str] = []
        self.stops: dict[str, threading.Event] = {}
        self._asks = threading.Condition()

    @property
    def url(self) -> str:
        """What `HF_ENDPOINT` is to be."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def hears(self, request: str) -> None:
        """Note a request."""
        with self._asks:
            self.asked.append(request)
            self._asks.notify_all()

    def wait_for(self, request: str) -> None:
        """Wait until a file was asked for, such as `GET model.bin`."""
        with self._asks:
            assert self._asks.wait_for(lambda: request in self.asked, timeout=60)

    def stop_at(self, request: str) -> threading.Event:
        """Have a request wait until this is set."""
        return self.stops.setdefault(request, threading.Event())

    def go_on(self) -> None:
        """Answer all that waits."""
        for stop in self.stops.values():
            stop.set()


class _Answer(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  as the base class names it
        """Tests are quiet."""

    def do_HEAD(self) -> None:
        self._answer(whole=False)

    def do_GET(self) -> None:
        self._answer(whole=True)

    def _answer(self, *, whole: bool) -> None:
        path = urlsplit(self.path).path
        if path.startswith("/api/"):
            self._json(self._tree() if "/tree/" in path else {"id": "any/model", "sha": COMMIT})
            return
        name = path.partition(f"/resolve/{COMMIT}/")[2] or path.partition("/resolve/main/")[2]
        content = self.server.files.get(name)
        if content is None:
            self.send_error(404)
            return
        request = f"{self.command} {name}"
        self.server.hears(request)
        if whole:
            self._file(content, request)
        else:
            self._pause(request)
            self._about(content)

    def _file(self, content: bytes, request: str) -> None:
        self._about(content)
        self.wfile.write(content[:1])
        self.wfile.flush()
        self._pause(request)
        self.wfile.write(content[1:])

    def _pause(self, request: str) -> None:
        if stop := self.server.stops.get(request):
            stop.wait(60)

    def _about(self, content: bytes) -> None:
        self._head(len(content), {"X-Repo-Commit": COMMIT, "ETag": f'"{_etag(content)}"', "Accept-Ranges": "bytes"})

    def _tree(self) -> list[dict[str, object]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": _etag(content)}
            for name, content in self.server.files.items()
        ]

    def _json(self, value: object) -> None:
        content = json.dumps(value).encode()
        self._head(len(content), {"Content-Type": "application/json"})
        self.wfile.write(content)

    def _head(self, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(length))
        self.end_headers()


def _etag(content: bytes) -> str:
    return hashlib.sha1(content, usedforsecurity=False).hexdigest()


@contextmanager
def serving(files: Mapping[str, bytes]) -> Iterator[Hub]:
    """A hub with these files, for as long as the block runs."""
    hub = Hub(files)
    thread = threading.Thread(target=hub.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield hub
    finally:
        hub.go_on()
        hub.shutdown()
        thread.join()
        hub.server_close()
