"""The load balancer's stand-in: one port, and behind it the functions, chosen by the raw path.

It changes only what the real one changes: paths, queries, bodies and headers pass byte for byte, connections stay open on
both sides, and an answer is passed on while it arrives (caller.py). The functions decide what a path means and who may call it.
"""

import contextlib
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping, Sequence

from deploy.local.caller import Caller
from deploy.local.exchange import Watch
from deploy.local.path_templates import path_matcher
from deploy.local.processes import StartError
from deploy.local.upstream import Pool, Upstream
from deploy.staging import Route


class Gateway:
    """The one public port. It is bound when this returns, and answers after `start`.

    `watch` is told of each call of a route, once it is answered. A call then has a trace from here on, if it brought none: in the
    cloud, Cloud Run begins one for each request.

    Raises:
        StartError: the port is taken.
        ValueError: a route's template is malformed.
        KeyError: a route leads to a function that is not in `upstreams`.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        upstreams: Mapping[str, Upstream],
        *,
        port: int,
        host: str = "127.0.0.1",
        watch: Watch | None = None,
    ) -> None:
        pools = {name: Pool(upstream) for name, upstream in upstreams.items()}
        table = [(path_matcher(route.path), pools[route.function]) for route in routes]
        try:
            self._server = Listener((host, port), table, watch)
        except OSError as error:
            raise StartError(
                f"cannot listen on {host}:{port}: {error.strerror}; name another PORT"
            ) from error
        self.port = int(self._server.server_address[1])
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="gateway", daemon=True
        )

    def also_serve(self, paths: Sequence[str], upstream: Upstream) -> None:
        """Lead the calls at these paths that no route takes to one more server, from now on. Nobody watches these
        calls.

        Raises:
            ValueError: a path's template is malformed.
        """
        pool = Pool(upstream)
        self._server.unwatched.add(pool)
        self._server.table.extend((path_matcher(path), pool) for path in paths)

    def start(self) -> None:
        """Answer calls from now on, in threads of this process."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close every connection, those of running calls too."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()


class Listener(socketserver.ThreadingTCPServer):
    """Accepts connections, each in its own thread, and knows the pool of connections of each function."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self, address: tuple[str, int], table: list[tuple[Callable[[str], bool], Pool]], watch: Watch | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.connections: set[socket.socket] = set()
        self.table = table
        self.unwatched: set[Pool] = set()
        self.watch = watch
        super().__init__(address, Caller)

    def pool_for(self, target: bytes) -> Pool | None:
        """Return the connections to the function at a path, None if no route takes it."""
        path = target.partition(b"?")[0].decode("ascii")
        return next((pool for matches, pool in self.table if matches(path)), None)

    def server_close(self) -> None:
        """Stop listening, and close every connection."""
        super().server_close()
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _matches, pool in self.table:
            pool.close()
