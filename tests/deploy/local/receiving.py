"""Stands where the extension will stand: a loopback endpoint that keeps what it is sent and answers as it is told."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    """One request; header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class Receiver(ThreadingHTTPServer):
    """Answers with `statuses` in turn, then always with `status`; -1 closes the connection without a word.

    `meanwhile` is called before the answer. A redirect leads to `/elsewhere`. Each byte of the answer waits `drip` seconds.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.statuses: list[int] = []
        self.status = 202
        self.meanwhile: Callable[[], object] = lambda: None
        self.drip = 0.0
        self.lock = threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_address[1]}/hook"

    def take(self, request: Received) -> int:
        """Keep a request and return the status to answer it with."""
        with self.lock:
            self.received.append(request)
            return self.statuses.pop(0) if self.statuses else self.status


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do(self) -> None:
        headers = {name.lower(): self.headers[name] for name in self.headers}
        body = self.rfile.read(int(headers.get("content-length", "0")))
        status = self.server.take(Received(self.command, self.path, headers, body))
        self.server.meanwhile()
        if status == -1:
            return
        answer = f"HTTP/1.1 {status} \r\nLocation: /elsewhere\r\nContent-Length: 2\r\n\r\n{{}}".encode()
        if not self.server.drip:
            self.wfile.write(answer)
            return
        for index in range(len(answer)):
            time.sleep(self.server.drip)
            self.wfile.write(answer[index : index + 1])

    do_GET = do_POST = do  # noqa: N815 (http.server's names)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver for as long as the `with` block lasts."""
    with Receiver() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
