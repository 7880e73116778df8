"""Serves the console on a loopback port of its own, to which the gateway leads."""

import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from wsgiref.types import StartResponse, WSGIEnvironment

from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

from deploy.local.console.here import Here

if TYPE_CHECKING:
    from flask import Flask

PATHS = ("/", "/console/**")
SECONDS = (
    60.0  # without a byte from the console until the gateway gives up; a stream says something more often
)


class Console:
    """Answers from the moment it is made until it is stopped; the pages are loaded by `warm_up`, or by the first call."""

    def __init__(self, here: Here) -> None:
        self._here = here
        self._app: Flask | None = None
        self._loading = threading.Lock()
        self._server: BaseWSGIServer = make_server(
            "127.0.0.1", 0, self._answer, threaded=True, request_handler=_Handler
        )
        self._server.daemon_threads = True  # type: ignore[attr-defined]  # it is the threaded one
        self.port = self._server.port
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, name="console", daemon=True
        )
        self._thread.start()

    def warm_up(self) -> None:
        """Load the pages in the background, so that the first call need not wait for them."""
        threading.Thread(target=self.app, name="console-warm-up", daemon=True).start()

    def app(self) -> "Flask":
        """Return the application, which is made now if it has not been."""
        with self._loading:
            if self._app is None:
                from deploy.local.console.app import make_app
                from deploy.local.console.pages import pages

                self._app = make_app(self._here, pages())
            return self._app

    def stop(self) -> None:
        """Answer no more, and end the streams."""
        self._here.watching.stop()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.stop()

    def _answer(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        return self.app()(environ, start_response)


class _Handler(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None:
        """Stay silent: who runs the demo is shown what the functions do, not what the pages ask."""
