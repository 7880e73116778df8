"""The scheduled calls on one machine: makes the calls of Cloud Scheduler, from the same schedules.yaml."""

import http.client
import json
import threading
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from deploy.staging import Schedule

_SECONDS = 30.0
MINUTE = 60.0


class Scheduler:
    """Sends each scheduled job to its worker, the first time after one whole interval.

    `workers` are the workers' base URLs by function. `say` is told of a job that could not be sent; the next one is still sent.
    `minute` is how many seconds a minute of the schedule lasts.
    """

    def __init__(
        self,
        schedules: Mapping[str, Schedule],
        workers: Mapping[str, str],
        say: Callable[[str], None],
        *,
        minute: float = MINUTE,
    ) -> None:
        self._say = say
        self._minute = minute
        self._stopping = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name, row, workers[row.function]), daemon=True)
            for name, row in schedules.items()
        ]

    def start(self) -> None:
        """Begin to count."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Send nothing more. Safe to call again."""
        self._stopping.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(_SECONDS)

    def _run(self, name: str, row: Schedule, worker: str) -> None:
        while not self._stopping.wait(row.every * self._minute):
            if problem := send(name, worker):
                self._say(f"scheduled {name}: {problem}")


def send(name: str, worker: str) -> str:
    """Send a scheduled job to a worker now; return the error, "" if there was none."""
    connection = http.client.HTTPConnection(urlsplit(worker).netloc, timeout=_SECONDS)
    body = json.dumps({"kind": "every-tenant", "run": name})
    try:
        connection.request("POST", "/tasks/inbound", body, {"Content-Type": "application/json"})
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return type(error).__name__
    finally:
        connection.close()
    return "" if status == 200 else f"the worker answered {status}"
