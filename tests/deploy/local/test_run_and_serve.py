"""`make run` and `make serve`, as somebody at a terminal sees them."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local.demo_tenant import EMAIL, TENANT
from deploy.local.free_ports import free_ports
from deploy.local.ports import is_free
from deploy.local.sandbox import Sandbox
from shared.storage.encryption import new_key
from tests.deploy.local.runbook import symptoms
from tests.support.commands import run_command

ROOT = Path(__file__).parents[3]


class Terminal:
    """A command that runs, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, words: str, seconds: float = 180.0) -> str:
        """Return what was printed, once it holds the words."""
        deadline = time.monotonic() + seconds
        while words not in self.text and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)
        assert words in self.text, self.text
        return self.text

    def stop(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=60)
        self._reader.join()
        return status

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line


@contextmanager
def running(command: str, environment: dict[str, str], root: Path = ROOT) -> Iterator[Terminal]:
    """Run `python -m deploy.local COMMAND`, as the Makefile does."""
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local", command],
        cwd=root, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        terminal = Terminal(process)
        try:
            yield terminal
        finally:
            if process.poll() is None:
                process.kill()


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return what a plain shell has, and these."""
    return {"PATH": os.environ["PATH"], "PORT": "0", "DATA_DIR": str(folder), **variables}


@dataclass(frozen=True)
class Started:
    """Two starts of `make run` on the same data, and the second, which runs: from a copy of the sources, with its queue at a named port.

    The texts are what the two have printed, the events those that Klaviyo had after each.
    """

    first: str
    second: str
    first_events: set[str]
    second_events: set[str]
    first_status: int
    terminal: Terminal
    data: Path
    given: dict[str, str]
    repository: Path
    queue_port: int


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Started]:
    """Start it twice for all tests, and push a target between: each start is ten seconds of a core."""
    folder = tmp_path_factory.mktemp("run")
    data, repository = folder / "data", folder / "repository"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("deploy", "functions", "shared"):
        shutil.copytree(ROOT / name, repository / name, ignore=ignored)
    ports = free_ports_in_a_row(14)
    given = environment(data, PORT=str(ports))
    with running("run", given) as terminal:
        first = terminal.wait_for("Ctrl-C stops everything.")
        first_events = _events(first)
        _push(data)
        first_status = terminal.stop()
    queue_port = ports + 13
    again = given | {"CLOUD_TASKS_EMULATOR_HOST": f"127.0.0.1:{queue_port}"}
    with running("run", again, repository) as terminal:
        second = terminal.wait_for("Ctrl-C stops everything.")
        yield Started(
            first,
            second,
            first_events,
            _events(second),
            first_status,
            terminal,
            data,
            again,
            repository,
            queue_port,
        )


def test_run_sends_one_event_and_shows_each_hop(started: Started) -> None:
    times = [float(found) for found in re.findall(r"^ +([\d.]+) ms  ", started.first, re.MULTILINE)]
    assert times == sorted(times)
    hops = re.findall(r"ms  (.+?)  +seen by (\w+)", started.first)
    assert {seen_by for _, seen_by in hops} == {"Omneo", "queue", "Klaviyo"}
    assert next(what for what, _ in hops) == "a reward is issued; its reaction fires"
    assert ("Klaviyo answers 202", "Klaviyo") in hops


def test_the_next_start_goes_on_with_the_tenant_of_the_last_and_what_was_pushed_to_it(
    started: Started,
) -> None:
    assert started.first_status == 0
    assert "Going on with the tenant of the last start" in started.second
    assert _key(started.second) == _key(started.first)
    assert started.first_events < started.second_events
    (event,) = started.second_events - started.first_events
    assert event.startswith("reward-issued-")


def test_every_command_of_a_symptom_works_against_a_running_bundle(started: Started) -> None:
    (env,) = started.data.glob("demo-*/env")
    shell = {"PATH": os.environ["PATH"], **_variables(env)}
    _wait_for_the_set_up(shell)
    for command in dict.fromkeys(command for found in symptoms().values() for command in found):
        said = EMAIL if command.endswith("explain TENANT") else ""
        _, *words = shlex.split(command.replace("TENANT", TENANT))
        done = run_command(*words, environment=shell, given=said)
        assert done.status == 0, f"{command}\n{done.out}\n{done.err}"
        assert done.out or "No job was given up." in done.err, command


def test_every_hint_works_as_printed(started: Started) -> None:
    """Each command is copied into a shell that stands elsewhere, in the order in which they are shown."""
    mended = False
    for label, command in _hints(started.second).items():
        assert command.startswith(("curl ", "(cd ", "make ")), command
        if command.startswith("make "):
            assert f"DATA_DIR={started.data}" in command  # else it would look into .local
            continue
        answer = _said(command)
        if command.startswith("curl "):
            assert "error" not in json.loads(answer), label
        if label.startswith("Mend"):
            mended = json.loads(answer) == {"message": "Every call goes well from now on."}
        if label == "The operator's commands":
            assert "demo" in answer
    assert mended


def test_run_obeys_the_named_address_of_the_queue(started: Started) -> None:
    (env,) = started.data.glob("demo-*/env")
    assert f"CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:{started.queue_port}\n" in env.read_text()
    assert not is_free(started.queue_port)


def test_a_function_is_started_again_when_its_source_changes(started: Started) -> None:
    main = started.repository / "functions/targets/main.py"
    main.write_text(main.read_text() + "\nprint('the new source')\n")
    text = started.terminal.wait_for("Ready again.")
    assert "functions/targets/main.py changed: targets starts again." in text
    assert "stopped" not in text
    (log,) = started.data.glob("demo-*/logs/targets.log")
    assert "the new source" in log.read_text()


def test_ctrl_c_ends_it_and_what_it_kept_can_be_forgotten(started: Started) -> None:
    """The last test of what is started: it runs no more after this."""
    assert started.terminal.stop() == 0
    (kept,) = started.data.glob("demo-*")
    forgotten = _python("deploy.local", "fresh", environment=started.given)
    assert forgotten.returncode == 0, forgotten.stderr
    assert not kept.exists()


def free_ports_in_a_row(count: int) -> int:
    """Return the first of so many ports in a row that nobody listens on."""
    while (ports := free_ports(count)) != list(range(ports[0], ports[0] + count)):
        pass
    return ports[0]


def _key(text: str) -> str:
    key: str
    (key,) = set(re.findall(r"oik_[\w-]+", text))
    return key


def _events(text: str) -> set[str]:
    """Return the unique ids of the events in Klaviyo, read with the command that the text shows."""
    told = json.loads(_said(_hints(text)["What arrived in Klaviyo"]))
    return {event["unique_id"] for event in told["events"]}


def _hints(text: str) -> dict[str, str]:
    """Return each command that is to be copied, by the label on the line above it."""
    found = dict(re.findall(r"^# (.+)\n(.+)\n", text, re.MULTILINE))
    assert len(found) == len(re.findall(r"^# ", text, re.MULTILINE)) > 10
    return found


def _said(command: str) -> str:
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -o pipefail; {command}"],
        env={"PATH": os.environ["PATH"]}, cwd="/", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def _push(data: Path) -> None:
    """Put the catalogue's target into Omneo, as the guide's first steps do."""
    (env,) = data.glob("demo-*/env")
    subprocess.run(
        [sys.executable, "-m", "deploy.targets", "push", TENANT, "klaviyo", "reward-issued"],
        env={"PATH": os.environ["PATH"], **_variables(env)}, cwd=ROOT, capture_output=True, timeout=60, check=True,
    )  # fmt: skip


def _wait_for_the_set_up(shell: dict[str, str]) -> None:
    """Wait until the demo tenant is set up, which goes on behind the first event."""
    deadline = time.monotonic() + 60
    while run_command("doctor", TENANT, environment=shell).status and time.monotonic() < deadline:
        time.sleep(0.5)


def _variables(path: Path) -> dict[str, str]:
    """Return what a file of NAME=value lines sets, as a shell reads it."""
    pairs = (word.partition("=") for line in path.read_text().splitlines() for word in shlex.split(line))
    return {name: value for name, _, value in pairs}


def test_run_on_a_taken_port_names_it_says_what_to_do_and_touches_nothing(tmp_path: Path) -> None:
    first = free_ports_in_a_row(13)
    given = environment(tmp_path, PORT=str(first))
    with Sandbox(klaviyo_port=first + 3, omneo_port=first + 5), running("run", given) as terminal:
        assert terminal.process.wait(timeout=60) == 1
        text = terminal.wait_for("taken")
    assert f"Port {first + 3}, for the queue, is taken." in text
    assert f"Port {first + 5}, for outbound_worker, is taken." in text
    assert f"make run PORT={first + 100}" in text
    assert list(tmp_path.iterdir()) == []


def test_what_runs_is_not_forgotten(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        port = sandbox.klaviyo.url.rpartition(":")[2]
        (tmp_path / f"demo-{port}").mkdir()
        done = _python("deploy.local", "fresh", environment=environment(tmp_path, PORT=port))
    assert done.returncode == 1
    assert "stop make run first" in done.stderr
    assert (tmp_path / f"demo-{port}").exists()


def _python(*words: str, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=ROOT, env=environment,
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_serve_without_its_environment_lists_everything_that_is_missing(tmp_path: Path) -> None:
    with running("serve", environment(tmp_path, KLAVIYO_API_URL="canary://nowhere")) as terminal:
        assert terminal.process.wait(timeout=60) == 1
        text = terminal.wait_for("KLAVIYO_CLIENT_SECRET")
    for name in ("ENCRYPTION_KEYS", "KLAVIYO_CLIENT_ID", "KLAVIYO_CLIENT_SECRET", "KLAVIYO_API_URL"):
        assert re.search(rf"^  {name} ", text, re.MULTILINE)
    assert "Traceback" not in text
    assert "canary" not in text


def test_serve_keeps_its_tenants_and_makes_queues_for_those_installed_while_it_was_down(
    tmp_path: Path,
) -> None:
    with Sandbox(token_prefix="canary") as sandbox:
        given = environment(
            tmp_path,
            KLAVIYO_API_URL=sandbox.klaviyo.url,
            OMNEO_API_URL=sandbox.omneo.url_template,
            KLAVIYO_CLIENT_ID=sandbox.klaviyo.oauth.client_id,
            KLAVIYO_CLIENT_SECRET=sandbox.klaviyo.oauth.client_secret,
            ENCRYPTION_KEYS=f"k1:{new_key()}",
            CLOUD_TASKS_EMULATOR_HOST="127.0.0.1:0",
        )
        _install(given | {"STORE": f"sqlite:{tmp_path}/documents.db"}, sandbox)
        with running("serve", given) as terminal:
            text = terminal.wait_for("deploy.tenants list)")
            url = re.findall(r"Serving on (\S+)\.", text)[0]
            assert "acme" in _said(text.partition("For commands in another terminal:\n")[2].splitlines()[0])
            assert (tmp_path / "env").stat().st_mode & 0o077 == 0
            request = urllib.request.Request(
                f"{url}/acme/api/v1/targets/klaviyo/metric?metric=Seen",
                data=b'{"profile": {"email": "canary-jane@example.org"}}',
                headers={"Content-Type": "application/json", "x-omneo-secret": "canary-webhook-secret"},
            )
            with urllib.request.urlopen(request, timeout=60) as answer:
                assert answer.status == 202
            deadline = time.monotonic() + 60
            while not sandbox.klaviyo.events("AcmeAc") and time.monotonic() < deadline:
                time.sleep(0.05)
            assert len(sandbox.klaviyo.events("AcmeAc")) == 1
            assert terminal.stop() == 0
            assert not (tmp_path / "env").exists()


def _install(variables: dict[str, str], sandbox: Sandbox) -> None:
    credentials = {"omneo_token": "canary-omneo-token", "omneo_signing_secret": "canary-signing-secret"}
    tokens = sandbox.klaviyo.install("AcmeAc").to_json()
    for words, said in (
        (("create", "acme"), json.dumps(credentials)),
        (("set", "acme", "webhook_secret"), "canary-webhook-secret"),
        (("set", "acme", "klaviyo_tokens"), json.dumps(tokens)),
    ):
        made = {**variables, "QUEUE": "local", "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9"}
        done = run_command(*words, environment=made, given=said)
        assert done.status == 0, done.err
