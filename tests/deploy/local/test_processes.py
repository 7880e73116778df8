"""Children are started, watched and started again, and none is left behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from deploy.local.free_ports import free_port
from deploy.local.processes import Process, StartError, Supervisor, listening
from deploy.staging import REPOSITORY

PATIENCE = 120.0


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def said(word: str) -> Callable[[str], bool]:
    return lambda output: word in output


def a_process(folder: Path, program: str, **changes: object) -> Process:
    fields: dict[str, object] = {
        "name": "child",
        "argv": (sys.executable, "-S", "-u", "-c", program),
        "env": {"PATH": os.defpath},
        "cwd": folder,
        "log": folder / "logs/child.log",
        "ready": said("ready"),
    }
    return Process(**(fields | changes))  # type: ignore[arg-type]  # the fields' own types, by name


class Said(list[str]):
    """What an operator was told."""


@pytest.fixture
def said_lines() -> Said:
    return Said()


@pytest.fixture
def supervisor(said_lines: Said) -> Iterator[Supervisor]:
    supervisor = Supervisor(say=said_lines.append, grace=60, first_pause=0.01)
    yield supervisor
    supervisor.stop()


class Line:
    """A listening socket that children hold a connection to: it ends when they do, whoever they are."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(PATIENCE)
        self.port = self.listener.getsockname()[1]
        self.calls: list[socket.socket] = []

    def answer(self) -> socket.socket:
        call, _address = self.listener.accept()
        call.settimeout(PATIENCE)
        self.calls.append(call)
        return call

    def close(self) -> None:
        for open_socket in [self.listener, *self.calls]:
            open_socket.close()


def ended(call: socket.socket) -> bool:
    try:
        return call.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    line.close()


def calling(line: Line, then: str) -> str:
    return f"import socket, time; call = socket.create_connection(('127.0.0.1', {line.port})); {then}"


# Starting.


def test_a_child_is_ready_when_its_port_is_open(supervisor: Supervisor, tmp_path: Path) -> None:
    port = free_port()
    program = f"import socket, time; time.sleep(.05); s = socket.create_server(('127.0.0.1', {port})); time.sleep(60)"
    supervisor.start(a_process(tmp_path, program, ready=listening(port)))
    supervisor.wait_ready(PATIENCE)
    socket.create_connection(("127.0.0.1", port), timeout=60).close()


def test_a_child_is_ready_when_it_says_so_in_this_life(supervisor: Supervisor, tmp_path: Path) -> None:
    log = tmp_path / "logs/child.log"
    log.parent.mkdir()
    log.write_text("ready, in an earlier life\n")
    process = a_process(tmp_path, "import time; time.sleep(.1); print('ready now'); time.sleep(60)")
    supervisor.start(process)
    supervisor.wait_ready(PATIENCE)
    assert supervisor.output("child") == "ready now\n"
    earlier, line = log.read_text().splitlines()
    assert earlier == "ready, in an earlier life"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z ready now", line)


def test_a_child_gets_its_environment_and_no_other(
    supervisor: Supervisor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOT_FOR_CHILDREN", "1")
    program = (
        "import os, time; print('ready', sorted(set(os.environ) - {'LC_CTYPE'}), os.getcwd()); time.sleep(60)"
    )
    supervisor.start(a_process(tmp_path, program, env={"ONE": "1"}))
    supervisor.wait_ready(PATIENCE)
    assert supervisor.output("child") == f"ready ['ONE'] {tmp_path}\n"


def test_a_child_that_dies_first_shows_the_end_of_its_log(supervisor: Supervisor, tmp_path: Path) -> None:
    program = "import sys\nfor n in range(40): print('line', n)\nsys.exit('no such store')"
    supervisor.start(a_process(tmp_path, program))
    with pytest.raises(StartError) as raised:
        supervisor.wait_ready(PATIENCE)
    message = str(raised.value)
    assert message.startswith("child stopped while it was starting (exit status 1)")
    assert str(tmp_path / "logs/child.log") in message
    assert message.endswith("  line 39\n  no such store")
    assert "line 20\n" not in message


def test_a_child_that_is_never_ready_is_reported(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(a_process(tmp_path, "import time; print('hm'); time.sleep(60)"))
    with pytest.raises(StartError, match=r"child was not ready after 0\.3 s"):
        supervisor.wait_ready(0.3)


def test_a_program_that_does_not_exist_is_reported(supervisor: Supervisor, tmp_path: Path) -> None:
    with pytest.raises(StartError, match=r"child cannot be run: .*No such file"):
        supervisor.start(a_process(tmp_path, "", argv=("/no/such/program",)))


# Serving.


def test_a_child_that_stops_by_itself_is_started_again(
    supervisor: Supervisor, said_lines: Said, tmp_path: Path
) -> None:
    supervisor.start(a_process(tmp_path, "import os, time; print('ready', os.getpid()); time.sleep(60)"))
    supervisor.wait_ready(PATIENCE)
    first = supervisor.pid("child")
    for signal_number in (signal.SIGKILL, signal.SIGTERM):
        pid = supervisor.pid("child")
        os.kill(pid, signal_number)
        until(lambda pid=pid: supervisor.pid("child") != pid)  # type: ignore[misc]  # a lambda with a default
        until(lambda: "ready" in supervisor.output("child"))
    assert supervisor.pid("child") != first
    assert said_lines == [
        f"child stopped (SIGKILL), starting it again; see {tmp_path}/logs/child.log",
        f"child stopped (SIGTERM), starting it again; see {tmp_path}/logs/child.log",
    ]


def test_a_child_that_stops_right_after_it_was_ready_is_started_again(
    supervisor: Supervisor, said_lines: Said, tmp_path: Path
) -> None:
    program = (
        "import pathlib, sys, time\n"
        "print('ready')\n"
        "try: pathlib.Path('died').touch(exist_ok=False)\n"
        "except OSError: time.sleep(60)\n"
        "sys.exit(3)"
    )
    supervisor.start(a_process(tmp_path, program))
    first = supervisor.pid("child")
    until(lambda: not Path(f"/proc/{first}").exists())
    supervisor.wait_ready(PATIENCE)
    until(lambda: supervisor.pid("child") != first)
    until(lambda: supervisor.output("child") == "ready\n")
    assert said_lines == [f"child stopped (exit status 3), starting it again; see {tmp_path}/logs/child.log"]


def test_each_stop_in_a_row_is_followed_by_a_longer_pause(
    supervisor: Supervisor, said_lines: Said, tmp_path: Path
) -> None:
    program = "import time; print('ready', time.monotonic()); time.sleep(.05)"
    supervisor.start(a_process(tmp_path, program))
    supervisor.wait_ready(PATIENCE)
    until(lambda: len(said_lines) >= 6)
    supervisor.stop()
    starts = [float(text.split()[2]) for text in (tmp_path / "logs/child.log").read_text().splitlines()]
    # Pauses double from 10 ms: after the fifth stop it is 160 ms.
    assert starts[5] - starts[4] >= 0.16


def test_what_a_killed_launcher_leaves_is_ended_before_it_starts_again(
    supervisor: Supervisor, said_lines: Said, line: Line, tmp_path: Path
) -> None:
    worker = calling(line, "time.sleep(60)")
    launcher = (
        f"import subprocess, sys; print('ready'); subprocess.run([sys.executable, '-S', '-c', {worker!r}])"
    )
    supervisor.start(a_process(tmp_path, launcher))
    supervisor.wait_ready(PATIENCE)
    first_worker = line.answer()
    os.kill(supervisor.pid("child"), signal.SIGKILL)
    second_worker = line.answer()
    assert ended(first_worker)
    supervisor.stop()
    assert ended(second_worker)
    assert len(said_lines) == 1


def test_lines_are_echoed_under_the_name_of_their_writer(tmp_path: Path) -> None:
    echoed: list[tuple[str, str]] = []
    supervisor = Supervisor(
        say=lambda _line: None, echo=lambda name, text: echoed.append((name, text)), grace=60
    )
    for name in ("one", "two"):
        program = f"import time; print('ready {name}'); print('unfini', end='', flush=True); print('shed'); time.sleep(60)"
        log = tmp_path / f"{name}.log"
        log.write_text("old line\n")
        supervisor.start(a_process(tmp_path, program, name=name, log=log))
    supervisor.wait_ready(PATIENCE)
    supervisor.stop()
    assert [text for name, text in echoed if name == "one"] == ["ready one", "unfinished"]
    assert [text for name, text in echoed if name == "two"] == ["ready two", "unfinished"]


def writes(path: Path, word: str) -> Callable[[], None]:
    def write() -> None:
        path.write_text(word)

    return write


def test_a_child_is_started_again_with_what_was_prepared_and_nobody_is_told(
    supervisor: Supervisor, said_lines: Said, tmp_path: Path
) -> None:
    word = tmp_path / "word"
    word.write_text("one")
    program = "import pathlib, time; print('ready', pathlib.Path('word').read_text()); time.sleep(60)"
    supervisor.start(a_process(tmp_path, program))
    supervisor.wait_ready(PATIENCE)
    supervisor.restart({"child": writes(word, "two")})
    until(lambda: supervisor.output("child") == "ready two\n")
    assert said_lines == []


def test_a_child_that_waits_to_be_started_again_is_started_at_once_after_a_change(
    said_lines: Said, tmp_path: Path
) -> None:
    supervisor = Supervisor(say=said_lines.append, grace=60, first_pause=60)
    word = tmp_path / "word"
    word.write_text("leave")
    program = (
        "import pathlib, sys, time; word = pathlib.Path('word').read_text(); print('ready', word)\n"
        "if word == 'leave': time.sleep(0.2); sys.exit(1)\n"
        "time.sleep(60)"
    )
    supervisor.start(a_process(tmp_path, program))
    supervisor.wait_ready(PATIENCE)
    until(lambda: said_lines != [])
    supervisor.restart({"child": writes(word, "stay")})
    until(lambda: supervisor.output("child") == "ready stay\n")
    supervisor.stop()


# Stopping.


def test_a_child_is_asked_politely(supervisor: Supervisor, said_lines: Said, tmp_path: Path) -> None:
    program = (
        "import signal, sys, time\n"
        "def leave(*_args): print('goodbye'); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, leave); print('ready'); time.sleep(60)"
    )
    supervisor.start(a_process(tmp_path, program))
    supervisor.wait_ready(PATIENCE)
    supervisor.stop()
    assert supervisor.output("child") == "ready\ngoodbye\n"
    assert said_lines == []


def test_a_child_that_does_not_listen_is_killed(line: Line, tmp_path: Path) -> None:
    supervisor = Supervisor(say=lambda _line: None, grace=0.2)
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready'); time.sleep(60)"
    supervisor.start(a_process(tmp_path, calling(line, deaf)))
    supervisor.wait_ready(PATIENCE)
    call = line.answer()
    began = time.monotonic()
    supervisor.stop()
    assert ended(call)
    assert 0.2 <= time.monotonic() - began < 30


def test_stopping_twice_or_with_nothing_started_does_no_harm(
    supervisor: Supervisor, said_lines: Said, tmp_path: Path
) -> None:
    Supervisor(say=said_lines.append).stop()
    supervisor.start(a_process(tmp_path, "import time; print('ready'); time.sleep(60)"))
    supervisor.wait_ready(PATIENCE)
    supervisor.stop()
    supervisor.stop()
    assert said_lines == []


PARENT = """
import signal, sys, time
from pathlib import Path
from deploy.local.processes import Process, Supervisor
supervisor = Supervisor(say=print, grace=0.3)
for number, program in enumerate(sys.argv[2:]):
    supervisor.start(Process(
        name=str(number), argv=(sys.executable, "-S", "-c", program), env={}, cwd=Path(sys.argv[1]),
        log=Path(sys.argv[1]) / f"{number}.log", ready=lambda _output: True,
    ))
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # who runs the tests may have had it ignored
print("started", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
def test_children_end_when_their_parent_is_killed(signal_number: int, line: Line, tmp_path: Path) -> None:
    polite = calling(line, "time.sleep(60)")
    deaf = calling(line, "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)")
    launcher = f"import subprocess, sys; subprocess.run([sys.executable, '-S', '-c', {polite!r}])"
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path), polite, deaf, launcher],
        stdout=subprocess.PIPE,
        cwd=REPOSITORY,
    )
    with parent:
        calls = [line.answer() for _ in range(3)]
        assert parent.stdout is not None
        assert parent.stdout.readline() == b"started\n"
        parent.send_signal(signal_number)
        assert parent.wait(PATIENCE) == -signal_number
        # Nothing that is left holds the parent's output open: whoever reads it sees its end.
        assert parent.stdout.read() == b""
    assert all(ended(call) for call in calls)
