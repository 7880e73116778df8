"""A readable record over loopback HTTP: queues, attempts, the key that identity tokens are signed with, and how the queues behave.

GET /queues                                how full each queue is
GET /attempts?task=NAME|queue=NAME&limit=&after=&bodies=1
                                           what was sent when, and what came back; the newest `limit`, oldest first, of those
                                           begun after the one whose `id` is `after`; with `bodies` what each was sent and answered,
                                           as long as it is in memory
GET /certs                                 {key id: public key as PEM}
GET, POST /control                         how the queues behave: {"doubles": how many of the next deliveries are made twice,
                                           "order": "due", "newest" or "shuffled", "dispatches_per_second": 0 for no brake}

Names are full or short. It shows names, times, sizes and statuses. It shows headers and bodies, which hold personal
data, only on request.
"""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from deploy.local.tasks.database import Database
from deploy.local.tasks.exchanges import Exchanges
from deploy.local.tasks.mischief import Mischief
from deploy.local.tasks.model import SECOND
from deploy.local.tasks.names import short

_DEFAULT_LIMIT, _MAX_LIMIT = 100, 10_000
_LARGEST_ORDER = 10_000


class Record:
    """The answers of the record. `clock` gives µs since 1970."""

    def __init__(
        self,
        database: Database,
        certificates: dict[str, str],
        exchanges: Exchanges,
        *,
        clock: Callable[[], int],
        mischief: Mischief | None = None,
    ) -> None:
        self._mischief = mischief or Mischief()
        self._database = database
        self._certificates = certificates
        self._exchanges = exchanges
        self._clock = clock

    def answer(self, target: str) -> tuple[int, object]:
        """Return the HTTP status and the JSON value for a request target."""
        parts = urlsplit(target)
        asked = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/certs":
            return 200, self._certificates
        if parts.path == "/control":
            return 200, asdict(self._mischief.mood)
        if parts.path == "/queues":
            return 200, {"queues": self._queues()}
        if parts.path == "/attempts":
            limit, after = asked.pop("limit", str(_DEFAULT_LIMIT)), asked.pop("after", "0")
            bodies = asked.pop("bodies", "0")
            if not (limit + after).isdecimal() or bodies not in ("0", "1") or set(asked) - {"task", "queue"}:
                return 400, {
                    "error": "the parameters are task, queue, limit and after, which are numbers, and bodies=1"
                }
            rows = self._attempts(asked, min(int(limit), _MAX_LIMIT), int(after[:18]))
            return 200, {"attempts": [self._with_bodies(row) for row in rows] if bodies == "1" else rows}
        return 404, {"error": "the paths are /queues, /attempts, /certs and /control"}

    def order(self, target: str, body: bytes) -> tuple[int, object]:
        """Carry out a POST, and return the HTTP status and the JSON value for it."""
        if urlsplit(target).path != "/control":
            return 404, {"error": "the path is /control"}
        try:
            return 200, asdict(self._mischief.change(**json.loads(body)))
        except (TypeError, ValueError) as error:
            return 400, {"error": f"send an object of doubles, order and dispatches_per_second: {error}"}

    def _queues(self) -> list[dict[str, object]]:
        rows = self._database.read(
            "SELECT queues.name, state, COUNT(tasks.sequence) AS depth, COALESCE(SUM(running > 0), 0) AS running,"
            " MIN(create_time) AS oldest FROM queues LEFT JOIN tasks ON tasks.queue = queues.name"
            " GROUP BY queues.name ORDER BY queues.name"
        )
        now = self._clock()
        return [
            {
                "queue": short(row["name"]),
                "name": row["name"],
                "paused": row["state"] == "PAUSED",
                "depth": row["depth"],
                "running": row["running"],
                "oldest_task_age_seconds": None if row["oldest"] is None else (now - row["oldest"]) / SECOND,
            }
            for row in rows
        ]

    def _with_bodies(self, row: dict[str, object]) -> dict[str, object]:
        exchange = self._exchanges.of(int(str(row["id"])))
        return row | (exchange.to_json() if exchange else {"sent": None, "received": None})

    def _attempts(self, asked: dict[str, str], limit: int, after: int) -> list[dict[str, object]]:
        where: list[str] = ["id > ?"]
        arguments: list[str | int] = [after]
        for column, name in asked.items():
            where.append(f"({column} = ? OR substr({column}, ?) = ?)")
            arguments += [name, -len(name) - 1, f"/{name}"]
        rows = self._database.read(
            f"SELECT * FROM attempts WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",  # noqa: S608 - our own text
            *arguments,
            limit,
        )
        return [
            {
                "id": row["id"],
                "task": short(row["task"]),
                "queue": short(row["queue"]),
                "attempt": row["number"],
                "status": row["status"],
                "failure": row["failure"],
                "given_up": bool(row["given_up"]),
                "body_bytes": row["body_bytes"],
                **_moment("created", row["create_time"]),
                **_moment("scheduled", row["schedule_time"]),
                **_moment("dispatched", row["dispatch_time"]),
                **_moment("answered", row["response_time"]),
            }
            for row in reversed(rows)
        ]


def _moment(name: str, time: int | None) -> dict[str, object]:
    if time is None:
        return {name: None, f"{name}_epoch": None}
    text = datetime.fromtimestamp(time // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return {name: f"{text}.{time % SECOND:06d}Z", f"{name}_epoch": time / SECOND}


class RecordServer:
    """Serves a record on a loopback port."""

    def __init__(self, record: Record, host: str, port: int) -> None:
        class Handler(BaseHTTPRequestHandler):
            wbufsize = 65536  # headers and body in one packet

            def do_GET(self) -> None:
                self._send(*record.answer(self.path))

            def do_POST(self) -> None:
                length = self.headers.get("Content-Length", "0")
                body = self.rfile.read(min(int(length), _LARGEST_ORDER)) if length.isdecimal() else b""
                self._send(*record.order(self.path, body))

            def _send(self, status: int, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *_: object) -> None:
                """Stay silent: a request is not worth a line."""

        class Server(ThreadingHTTPServer):
            address_family = socket.AF_INET6 if ":" in host else socket.AF_INET

        self._server = Server((host, port), Handler)
        self._host = host
        self._stopping = False
        self._thread = threading.Thread(target=self._serve, name="record", daemon=True)

    @property
    def port(self) -> int:
        """The port it is bound to."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Answer from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._stopping = True
        if self._thread.ident is not None:
            # a connection wakes the thread, which else would have to look at a flag now and then
            socket.create_connection((self._host, self.port)).close()
            self._thread.join()
        self._server.server_close()

    def _serve(self) -> None:
        while not self._stopping:
            self._server.handle_request()
