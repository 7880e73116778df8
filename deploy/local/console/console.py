"""Serves the console on a loopback port of its own, to which the gateway leads."""

import socket
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from deploy.local.console.here import Here

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

    from flask import Flask
    from werkzeug.serving import BaseWSGIServer

PATHS = ("/", "/console/**")
SECONDS = (
    60.0  # without a byte from the console until the gateway gives up; a stream says something more often
)
_BACKLOG = 128


class Console:
    """The port is open after the construction, and callers wait until `start`: it loads the pages and their libraries."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._app: Flask | None = None
        self._loading = threading.Lock()
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG)
        self.port = int(self._socket.getsockname()[1])
        self._server: BaseWSGIServer | None = None
        self._starting = threading.Lock()
        self._stopped = False
        self._thread = threading.Thread(target=self._serve, name="console", daemon=True)

    def start(self) -> None:
        """Load the pages in the background and answer."""
        self._thread.start()

    def app(self) -> "Flask":
        """Return the application, which is made now if it has not been."""
        with self._loading:
            if self._app is None:
                from deploy.local.console.app import make_app
                from deploy.local.console.pages import pages

                self._app = make_app(self._here, pages())
            return self._app

    def stop(self) -> None:
        """Stop answering, and end the streams. Safe even if it was never started."""
        self._here.watching.stop()
        with self._starting:
            self._stopped = True
            server = self._server
        if server is not None:
            server.shutdown()
        if self._thread.is_alive():
            self._thread.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _serve(self) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Handler(WSGIRequestHandler):
            protocol_version = "HTTP/1.1"

            def log(self, type: str, message: str, *args: Any) -> None:
                """Log nothing: the output of the demo shows the work of the functions, not the requests of the pages."""

        self.app()
        with self._starting:
            if self._stopped:
                return
            server = make_server(
                "127.0.0.1",
                self.port,
                self._answer,
                threaded=True,
                request_handler=Handler,
                fd=self._socket.fileno(),
            )
            server.daemon_threads = True  # type: ignore[attr-defined]  # it is the threaded one
            self._server = server
        server.serve_forever(poll_interval=0.1)
        server.server_close()

    def _answer(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        return self.app()(environ, start_response)
