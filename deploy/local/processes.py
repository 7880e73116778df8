"""Child processes that live as long as we do: started, watched, started again, and never left behind.

Each child leads a process group of its own, so a Ctrl-C reaches it through us and in our order. A guard process holds
the other end of a pipe: when we are gone, however we went, the pipe closes and the guard ends every group that is left.
Only the standard library is used, because the guard runs this file by itself. What the children are is not known here.
"""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
FIRST_PAUSE = 0.5  # seconds before a child that stopped is started again; doubled each time
LONGEST_PAUSE = 30.0  # also how long a child must live for its next stop to count as a first one

_SHOWN_LINES = 15
_POLL = 0.02


class StartError(Exception):
    """Something cannot be started; the message says why and shows the end of its log."""


@dataclass(frozen=True)
class Process:
    """What to start. `env` is its whole environment; its output is appended to `log`.

    `ready` is asked again and again until it says yes; it is given what the process has written since it started.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    log: Path
    ready: Callable[[str], bool]


def listening(port: int) -> Callable[[str], bool]:
    """Return a `ready` that says yes when something accepts connections on this loopback port."""

    def ready(_output: str) -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    return ready


def free_ports(count: int) -> list[int]:
    """Return so many loopback ports, all different, that nothing listens on.

    They lie below the ports the system hands to outgoing connections (32768 and up): a child's port stays its own
    while it is being started again.
    """
    ports: list[int] = []
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            candidate = held.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                candidate.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
                ports.append(candidate.getsockname()[1])
    return ports


def free_port() -> int:
    """Return a loopback port that nothing listens on."""
    return free_ports(1)[0]


class Supervisor:
    """Starts processes and keeps them running until `stop`.

    `say` is told, in one line, when a child stopped by itself. `echo`, when given, gets every line that children write,
    as (name, line).
    """

    def __init__(
        self,
        *,
        say: Callable[[str], None],
        echo: Callable[[str, str], None] | None = None,
        grace: float = GRACE,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._say = say
        self._echo = echo
        self._grace = grace
        self._first_pause = first_pause
        self._children: dict[str, _Child] = {}
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._stopped = threading.Event()
        self._guard = _Guard(grace)
        self._echoing = threading.Thread(target=self._follow, name="echo", daemon=True)
        if echo is not None:
            self._echoing.start()

    def start(self, process: Process) -> None:
        """Start it and return at once; `wait_ready` says whether it came up.

        Raises:
            StartError: its program cannot be run at all.
        """
        child = _Child(process)
        self._spawn(child)
        self._children[process.name] = child
        child.watch = threading.Thread(
            target=self._watch, args=(child,), name=f"watch {process.name}", daemon=True
        )
        child.watch.start()

    def wait_ready(self, timeout: float) -> None:
        """Return when every process started so far is ready.

        Raises:
            StartError: one of them stopped first, or was not ready within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        for child in self._children.values():
            while not child.is_ready():
                if child.exited.is_set():
                    raise StartError(f"{child.name} stopped while it was starting {child.last_words()}")
                if time.monotonic() > deadline:
                    raise StartError(f"{child.name} was not ready after {timeout:g} s {child.last_words()}")
                time.sleep(_POLL)

    def output(self, name: str) -> str:
        """Return what the process has written since it was last started."""
        return self._children[name].output()

    def pid(self, name: str) -> int:
        """Return the process id, which changes when it is started again."""
        return self._children[name].popen.pid

    def stop(self) -> None:
        """End every child: SIGTERM, and SIGKILL for those still there after the grace period."""
        with self._lock:
            if self._stopping.is_set():
                return
            self._stopping.set()
        for child in self._children.values():
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        for child in self._children.values():
            if not child.exited.wait(max(0.0, deadline - time.monotonic())):
                child.signal(signal.SIGKILL)
            child.watch.join()
        self._stopped.set()
        if self._echo is not None:
            self._echoing.join()
        self._guard.dismiss()

    def _spawn(self, child: "_Child") -> None:
        with self._lock:
            if self._stopping.is_set():
                return
            try:
                child.spawn()
            except OSError as error:
                raise StartError(f"{child.name} cannot be run: {error}") from error
            self._guard.watch(child.popen.pid)

    def _watch(self, child: "_Child") -> None:
        pause = self._first_pause
        while True:
            status = child.popen.wait()
            # A launcher that was killed may leave its workers behind, and they hold the port.
            child.signal(signal.SIGKILL)
            child.group = None  # the number may soon be somebody else's
            self._guard.forget(child.popen.pid)
            if self._stopping.is_set() or not child.was_ready:
                child.exited.set()
                return
            if child.age() > LONGEST_PAUSE:
                pause = self._first_pause
            self._say(f"{child.name} stopped ({_cause(status)}), starting it again; see {child.process.log}")
            if not self._stopping.wait(pause):
                self._respawn(child)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _respawn(self, child: "_Child") -> None:
        try:
            self._spawn(child)
        except StartError as error:
            self._say(str(error))

    def _follow(self) -> None:
        """Hand over every complete line the children write, about ten times a second, and once more at the end."""
        positions: dict[str, int] = {}
        stopped = False
        while not stopped:
            stopped = self._stopped.wait(0.1)
            for child in list(self._children.values()):
                position = positions.setdefault(child.name, child.first_offset)
                with child.process.log.open("rb") as log:
                    log.seek(position)
                    complete, newline, _rest = log.read().rpartition(b"\n")
                positions[child.name] += len(complete) + len(newline)
                for line in complete.decode(errors="replace").splitlines():
                    if self._echo is not None:
                        self._echo(child.name, line)


class _Child:
    """One process, through all its lives."""

    watch: threading.Thread
    popen: subprocess.Popen[bytes]

    def __init__(self, process: Process) -> None:
        self.process = process
        self.name = process.name
        self.group: int | None = None  # while it lives
        self.was_ready = False
        self.exited = threading.Event()  # for good
        process.log.parent.mkdir(parents=True, exist_ok=True)
        process.log.touch()
        self.first_offset = self._offset = process.log.stat().st_size
        self._born = 0.0

    def spawn(self) -> None:
        with self.process.log.open("ab") as log:
            self._offset = log.tell()
            self._born = time.monotonic()
            self.popen = subprocess.Popen(
                self.process.argv,
                env=dict(self.process.env),
                cwd=self.process.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.group = self.popen.pid

    def signal(self, number: int) -> None:
        if (group := self.group) is not None:
            _signal(group, number)

    def age(self) -> float:
        return time.monotonic() - self._born

    def output(self) -> str:
        with self.process.log.open("rb") as log:
            log.seek(self._offset)
            return log.read().decode(errors="replace")

    def is_ready(self) -> bool:
        self.was_ready = self.was_ready or self.process.ready(self.output())
        return self.was_ready

    def last_words(self) -> str:
        status = self.popen.poll()
        lines = "\n".join(f"  {line}" for line in self.output().splitlines()[-_SHOWN_LINES:])
        cause = "" if status is None else f"({_cause(status)}) "
        return f"{cause}; the end of {self.process.log}:\n{lines or '  (empty)'}"


class _Guard:
    """The process that ends our children when we no longer can."""

    def __init__(self, grace: float) -> None:
        orders, self._orders = os.pipe()
        # Isolated and without site-packages: it is there in 20 ms and imports nothing of anybody's.
        self._popen = subprocess.Popen(
            [sys.executable, "-I", "-S", __file__, str(grace)],
            stdin=orders,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        os.close(orders)

    def watch(self, group: int) -> None:
        self._tell(f"+{group}\n")

    def forget(self, group: int) -> None:
        self._tell(f"-{group}\n")

    def dismiss(self) -> None:
        os.close(self._orders)
        self._popen.wait()

    def _tell(self, line: str) -> None:
        # One write below PIPE_BUF is atomic, so threads need no lock. Without a guard we go on, only less safely.
        with contextlib.suppress(BrokenPipeError):
            os.write(self._orders, line.encode())


def guard(orders: Iterable[str], grace: float) -> None:
    """Keep account of process groups until `orders` ends, then end those that are left."""
    groups: set[int] = set()
    for order in orders:
        (groups.add if order[0] == "+" else groups.discard)(int(order[1:]))
    for group in groups:
        _signal(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while time.monotonic() < deadline and any(_signal(group, 0) for group in groups):
        time.sleep(_POLL)
    for group in groups:
        _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Return whether the group was there to be signalled."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _cause(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name


if __name__ == "__main__":
    guard(sys.stdin, float(sys.argv[1]))
