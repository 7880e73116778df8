"""Child processes that live as long as we do: started, watched, started again, and never left behind.

Each child leads a process group of its own, so a Ctrl-C reaches it through us and in our order; `guard.py` ends the
children that are left when we are killed. The output of a child goes into its log, each line with the time. This module
does not know the work of the children.
"""

import contextlib
import signal
import socket
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from deploy.local.guard import Guard, signal_group

GRACE = 10.0  # seconds between SIGTERM and SIGKILL
FIRST_PAUSE = 0.5  # seconds before a child that stopped is started again; doubled each time
LONGEST_PAUSE = 30.0  # also how long a child must live for its next stop to count as a first one

_SHOWN_LINES = 15
_KEPT_LINES = 500  # of one life; the log has them all
_POLL = 0.02
_LAST_LINES = (
    2.0  # seconds for the last lines of a process that has ended; its children may hold its output open
)


class StartError(Exception):
    """Something cannot be started; the message says why and shows the end of its log."""


@dataclass(frozen=True)
class Process:
    """A process to start. `env` is its whole environment; its output is appended to `log`, each line with the time in UTC.

    `ready` is called again and again until it returns true; it gets the output of the process since its start.
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


class Supervisor:
    """Starts processes and keeps them running until `stop`.

    `say` gets one line when a child stops without an order. `echo`, when given, gets every line that children write,
    as (name, line), in threads of its own.
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
        self._guard = Guard(grace)

    def start(self, process: Process) -> None:
        """Start it and return at once; `wait_ready` says whether it came up. Raises: StartError: its program cannot be
        run.
        """
        child = _Child(process, self._echo)
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

    def restart(self, prepare: Mapping[str, Callable[[], None]]) -> None:
        """Stop these processes, call the function in `prepare` for each, and start them again, all at once. It returns
        when all have stopped. A process that waits for its restart starts now.
        """
        for name, work in prepare.items():
            self._children[name].change(work)
        deadline = time.monotonic() + self._grace
        for child in [self._children[name] for name in prepare]:
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.popen.wait(max(0.0, deadline - time.monotonic()))
                continue
            child.signal(signal.SIGKILL)

    def output(self, name: str) -> str:
        """Return the output of the process since its last start; if it is long, only the end."""
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
            child.nudge.set()
            child.signal(signal.SIGTERM)
        deadline = time.monotonic() + self._grace
        for child in self._children.values():
            if not child.exited.wait(max(0.0, deadline - time.monotonic())):
                child.signal(signal.SIGKILL)
            child.watch.join()
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
            child.finish_log()
            # Asked once more: its last output may say so, and the caller may see that output only now.
            if self._stopping.is_set() or not child.is_ready():
                child.exited.set()
                return
            if child.changed:
                pause = self._first_pause
            else:
                pause = self._first_pause if child.age() > LONGEST_PAUSE else pause
                self._say(
                    f"{child.name} stopped ({_cause(status)}), starting it again; see {child.process.log}"
                )
                child.nudge.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            self._respawn(child)

    def _respawn(self, child: "_Child") -> None:
        child.nudge.clear()
        if self._stopping.is_set():
            return
        try:
            child.prepare()
            self._spawn(child)
        except StartError as error:
            self._say(str(error))
        if child.changed:  # once more, while it was being started
            child.signal(signal.SIGTERM)


class _Child:
    """One process, through all its lives."""

    watch: threading.Thread
    popen: subprocess.Popen[bytes]
    _writer: threading.Thread

    def __init__(self, process: Process, echo: Callable[[str, str], None] | None) -> None:
        self.process = process
        self.name = process.name
        self.group: int | None = None  # while it lives
        self.exited = threading.Event()  # for good
        self.nudge = threading.Event()  # it is not to wait before it is started again
        self._echo = echo
        self._asking = threading.Lock()
        self._was_ready = False
        self._changes: deque[Callable[[], None]] = deque()
        self._lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self._born = 0.0
        process.log.parent.mkdir(parents=True, exist_ok=True)
        process.log.touch()

    @property
    def changed(self) -> bool:
        """Whether something is to be done before it is started again, and it should be started again for that."""
        return bool(self._changes)

    def change(self, work: Callable[[], None]) -> None:
        self._changes.append(work)
        self.nudge.set()
        self.signal(signal.SIGTERM)

    def prepare(self) -> None:
        while self._changes:
            self._changes.popleft()()

    def spawn(self) -> None:
        self._born = time.monotonic()
        self._lines = deque(maxlen=_KEPT_LINES)
        self.popen = subprocess.Popen(
            self.process.argv,
            env=dict(self.process.env),
            cwd=self.process.cwd,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self.group = self.popen.pid
        self._writer = threading.Thread(
            target=self._write_log,
            args=(self.popen.stdout, self._lines),
            name=f"log {self.name}",
            daemon=True,
        )
        self._writer.start()

    def finish_log(self) -> None:
        """Return when all that was written is in the log."""
        self._writer.join(_LAST_LINES)

    def signal(self, number: int) -> None:
        if (group := self.group) is not None:
            signal_group(group, number)

    def age(self) -> float:
        return time.monotonic() - self._born

    def output(self) -> str:
        return "".join(list(self._lines))

    def is_ready(self) -> bool:
        """Return whether it has been ready, in this life or an earlier one: every caller gets the same answer."""
        with self._asking:
            self._was_ready = self._was_ready or self.process.ready(self.output())
            return self._was_ready

    def last_words(self) -> str:
        status = self.popen.poll()
        lines = "\n".join(f"  {line}" for line in self.output().splitlines()[-_SHOWN_LINES:])
        cause = "" if status is None else f"({_cause(status)}) "
        return f"{cause}; the end of {self.process.log}:\n{lines or '  (empty)'}"

    def _write_log(self, output: IO[bytes], kept: deque[str]) -> None:
        with output, self.process.log.open("a", encoding="utf-8") as log:
            for raw in output:
                line = raw.decode(errors="replace").rstrip("\r\n")
                log.write(f"{timestamp(datetime.now(UTC))} {line}\n")
                log.flush()
                kept.append(f"{line}\n")
                if self._echo is not None:
                    self._echo(self.name, line)


def timestamp(moment: datetime) -> str:
    """Return the time in UTC as log lines begin with it, to the millisecond.

    >>> timestamp(datetime(2026, 11, 21, 10, 0, 0, 123456, UTC))
    '2026-11-21T10:00:00.123Z'
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03}Z"


def _cause(status: int) -> str:
    return f"exit status {status}" if status >= 0 else signal.Signals(-status).name
