"""A web server of this computer for tests of remote rasters: ranges, and failures on demand."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

DROP = -1
"""Instead of a status: the connection is closed without an answer."""


@dataclass
class Web:
    """What is served, and how it misbehaves.

    `failures` are answered to the next requests, one each (an HTTP status or `DROP`), before files are served again;
    `always` to all requests,
    `only` to those for one path. `requests` lists what was asked: method, path with query, and range.
    """

    root: Path
    url: str = ""
    failures: list[int] = field(default_factory=list)
    always: int | None = None
    only: dict[str, int] = field(default_factory=dict)
    wait_s: float = 0.0
    requests: list[tuple[str, str, str | None]] = field(default_factory=list)

    @property
    def address(self) -> str:
        """Host and port."""
        return self.url.removeprefix("http://")


@contextmanager
def serve(root: Path) -> Iterator[Web]:
    """Serve the files under `root` at 127.0.0.1."""
    web = Web(root)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self._answer(body=False)

        def do_GET(self) -> None:
            self._answer(body=True)

        def log_message(self, *arguments: Any) -> None:
            """Keep the terminal quiet."""

        def _answer(self, *, body: bool) -> None:
            asked = self.headers.get("Range")
            web.requests.append((self.command, self.path, asked))
            time.sleep(web.wait_s)
            status = web.failures.pop(0) if web.failures else web.always or web.only.get(self.path)
            path = web.root / self.path.split("?")[0].lstrip("/")
            if status == DROP:
                self.close_connection = True
                return
            if status is not None or not path.is_file():
                self._send(status or 404, b"", body=body)
                return
            content = path.read_bytes()
            span = re.fullmatch(r"bytes=(\d+)-(\d*)", asked or "")
            if span is None:
                self._send(200, content, body=body)
                return
            first, last = int(span[1]), min(int(span[2] or len(content) - 1), len(content) - 1)
            if first > last:
                self._send(416, b"", body=body)
                return
            place = f"bytes {first}-{last}/{len(content)}"
            self._send(206, content[first : last + 1], body=body, **{"Content-Range": place})

        def _send(self, status: int, content: bytes, *, body: bool, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), "Accept-Ranges": "bytes", **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if body:
                try:
                    self.wfile.write(content)
                except OSError:
                    self.close_connection = True  # the client has read enough

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.block_on_close = False
    web.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
