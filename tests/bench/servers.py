"""Functions as processes, started by the launcher of Google's runtime, and the clock on their first moments."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from deploy.local.free_ports import free_port
from tests.bench.roots import Root
from tests.bench.wire import read_answer

THREADS = 16  # the concurrency of `targets` in functions.yaml
_PATIENCE = 30.0
_POLL = 0.001


class BenchmarkError(Exception):
    """Something did not work that has to before it can be timed."""


@dataclass(frozen=True)
class Server:
    """A function that was started at `started_at` (monotonic) and may not listen yet."""

    port: int
    started_at: float
    log: Path
    group: int

    def seconds_to_listening(self) -> float:
        """Wait until it accepts a connection; return the seconds since it was started."""
        self._connection().close()
        return time.monotonic() - self.started_at

    def seconds_to_answer(self, request: bytes, status: int) -> float:
        """Call it as soon as it accepts a connection; return the seconds from its start to its whole answer."""
        self.call(request, status)
        return time.monotonic() - self.started_at

    def call(self, request: bytes, status: int) -> None:
        """Call it on a new connection, and return when the whole answer is there."""
        if (answered := self.answered(request)) != status:
            raise BenchmarkError(f"answered {answered}, not {status}; it wrote:\n{self._last_words()}")

    def most_memory(self) -> int:
        """Return the most bytes that its processes have held, memory that they share counted once."""
        peaks, private = [], []
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if os.getpgid(int(folder.name)) == self.group:
                    peaks.append(_kilobytes(folder / "status", "VmHWM"))
                    private.append(_kilobytes(folder / "smaps_rollup", "Private_Dirty"))
        if not peaks:
            raise BenchmarkError(f"the function has ended; it wrote:\n{self._last_words()}")
        largest = peaks.index(max(peaks))
        return 1024 * (peaks[largest] + sum(private) - private[largest])

    def answered(self, request: bytes) -> int:
        """Call it likewise; return the status of its answer, whichever it is."""
        with self._connection() as connection:
            connection.sendall(request)
            received = b""
            while (answer := read_answer(received)) is None:
                chunk = connection.recv(65536)
                if not chunk:
                    raise BenchmarkError(f"the function hung up; it wrote:\n{self._last_words()}")
                received += chunk
        return answer.status

    def _connection(self) -> socket.socket:
        while time.monotonic() < self.started_at + _PATIENCE:
            with suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", self.port), timeout=_PATIENCE)
            time.sleep(_POLL)
        raise BenchmarkError(f"the function does not listen; it wrote:\n{self._last_words()}")

    def _last_words(self) -> str:
        return self.log.read_text(errors="replace")[-2000:]


def _kilobytes(file: Path, field: str) -> int:
    return next(
        int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(f"{field}:")
    )


@contextmanager
def server(root: Root, environment: Mapping[str, str], *, threads: int = THREADS) -> Iterator[Server]:
    """Start the function with this environment and no other; end it after the `with` block, even in the middle of work."""
    port = free_port()
    log = root.folder.with_suffix(".log")
    launcher = Path(sys.executable).with_name("functions-framework")
    words = ("--target", root.target, "--source", "main.py", "--host", "127.0.0.1", "--port", str(port))
    own = {"THREADS": str(threads), "PATH": os.environ.get("PATH", os.defpath), "PYTHONUNBUFFERED": "1"}
    with log.open("wb") as output:
        started_at = time.monotonic()
        process = subprocess.Popen(
            [launcher, *words],
            cwd=root.folder,
            env={**environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Server(port, started_at, log, process.pid)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
