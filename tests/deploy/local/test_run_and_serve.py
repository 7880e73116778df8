"""`make run` and `make serve`, as somebody at a terminal sees them."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deploy.local.ports import is_free
from deploy.local.sandbox import Sandbox
from shared.storage.encryption import new_key

ROOT = Path(__file__).parents[3]


class Terminal:
    """A command that runs, and what it has printed so far."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.text = ""
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def wait_for(self, words: str, seconds: float = 60.0) -> str:
        """Return what was printed, once it holds the words."""
        deadline = time.monotonic() + seconds
        while words not in self.text and time.monotonic() < deadline and self.process.poll() is None:
            time.sleep(0.05)
        assert words in self.text, self.text
        return self.text

    def stop(self) -> int:
        """Press Ctrl-C and return the exit status."""
        self.process.send_signal(signal.SIGINT)
        status = self.process.wait(timeout=30)
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


def test_run_sends_one_event_shows_each_hop_and_keeps_its_tenant_for_the_next_start(tmp_path: Path) -> None:
    given = environment(tmp_path, PORT=str(free_ports_in_a_row(13)))
    with running("run", given) as terminal:
        text = terminal.wait_for("Ctrl-C stops everything.")
        times = [float(found) for found in re.findall(r"^ +([\d.]+) ms  ", text, re.MULTILINE)]
        assert times == sorted(times)
        hops = re.findall(r"ms  (.+?)  +seen by (\w+)", text)
        assert {seen_by for _, seen_by in hops} == {"Omneo", "queue", "Klaviyo"}
        assert next(what for what, _ in hops) == "a reward is issued; its reaction fires"
        assert ("Klaviyo answers 202", "Klaviyo") in hops
        _every_hint_works_as_printed(text)
        before = _events(text)
        assert terminal.stop() == 0
    with running("run", given) as terminal:
        again = terminal.wait_for("Ctrl-C stops everything.")
        assert _key(again) == _key(text)
        assert "Going on with the tenant of the last start" in again
        assert len(_events(again) - before) == 1
        assert before < _events(again)
        assert terminal.stop() == 0
    forgotten = _python("deploy.local", "fresh", environment=given)
    assert forgotten.returncode == 0, forgotten.stderr
    assert not (tmp_path / f"demo-{given['PORT']}").exists()


def free_ports_in_a_row(count: int) -> int:
    """Return the first of so many ports in a row that nobody listens on."""
    return next(
        first for first in range(20_000, 31_000, count) if all(is_free(first + n) for n in range(count))
    )


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


def _every_hint_works_as_printed(text: str) -> None:
    """Copy every command into a shell that stands elsewhere, in the order in which they are shown."""
    mended = False
    for label, command in _hints(text).items():
        assert command.startswith(("curl ", "(cd ", "make ")), command
        if command.startswith("make "):
            continue
        answer = _said(command)
        if command.startswith("curl "):
            assert "error" not in json.loads(answer), label
        if label.startswith("Mend"):
            mended = json.loads(answer) == {"message": "Every call goes well from now on."}
        if label == "The operator's commands":
            assert "demo" in answer
    assert mended


def test_run_obeys_the_named_address_of_the_queue_and_starts_a_function_again_when_its_source_changes(
    tmp_path: Path,
) -> None:
    port = free_ports_in_a_row(1)
    given = environment(tmp_path / "data", CLOUD_TASKS_EMULATOR_HOST=f"127.0.0.1:{port}")
    repository = tmp_path / "repository"
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("deploy", "functions", "shared"):
        shutil.copytree(ROOT / name, repository / name, ignore=ignored)
    with running("run", given, repository) as terminal:
        terminal.wait_for("Ctrl-C stops everything.")
        kept = (tmp_path / "data/demo-0/env").read_text()
        assert f"CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:{port}\n" in kept
        assert not is_free(port)
        main = repository / "functions/targets/main.py"
        main.write_text(main.read_text() + "\nprint('the new source')\n")
        text = terminal.wait_for("Ready again.")
        assert "functions/targets/main.py changed: targets starts again." in text
        assert "stopped" not in text
        assert "the new source" in (tmp_path / "data/demo-0/logs/targets.log").read_text()
        assert terminal.stop() == 0


def test_run_on_a_taken_port_names_it_says_what_to_do_and_touches_nothing(tmp_path: Path) -> None:
    first = free_ports_in_a_row(13)
    given = environment(tmp_path, PORT=str(first))
    with Sandbox(klaviyo_port=first + 3, omneo_port=first + 5), running("run", given) as terminal:
        assert terminal.process.wait(timeout=30) == 1
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
        assert terminal.process.wait(timeout=30) == 1
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
            with urllib.request.urlopen(request, timeout=20) as answer:
                assert answer.status == 202
            deadline = time.monotonic() + 15
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
        subprocess.run(
            [sys.executable, "-m", "deploy.tenants", *words],
            cwd=ROOT, env={**variables, "QUEUE": "local", "CLOUD_TASKS_EMULATOR_HOST": "127.0.0.1:9"},
            input=said, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
