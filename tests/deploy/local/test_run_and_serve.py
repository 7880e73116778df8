"""`make run` and `make serve`, as somebody at a terminal sees them."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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
def running(command: str, environment: dict[str, str]) -> Iterator[Terminal]:
    """Run `python -m deploy.local COMMAND`, as the Makefile does."""
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local", command],
        cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
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


def test_run_sends_one_event_shows_each_hop_and_keeps_serving(tmp_path: Path) -> None:
    with running("run", environment(tmp_path)) as terminal:
        text = terminal.wait_for("Ctrl-C stops everything.")
        times = [float(found) for found in re.findall(r"^ +([\d.]+) ms  ", text, re.MULTILINE)]
        assert times == sorted(times)
        hops = re.findall(r"ms  (.+?)  +seen by (\w+)", text)
        assert {seen_by for _, seen_by in hops} == {"Omneo", "queue", "Klaviyo"}
        assert next(what for what, _ in hops) == "a reward is issued; its reaction fires"
        assert ("Klaviyo answers 202", "Klaviyo") in hops
        _follow_the_advice(text)
        assert terminal.stop() == 0


def _follow_the_advice(text: str) -> None:
    """Send a metric as the text says, and find it where the text says."""
    words = shlex.split(text.split("send a metric")[1].partition("with an ID token")[0])
    url = next(word for word in words if word.startswith("http"))
    headers = dict(word.split(": ", 1) for word in words if ": " in word and not word.startswith("{"))
    body = next(word for word in words if word.startswith("{"))
    with urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=20) as answer:
        assert answer.status == 202
        unique_id = json.load(answer)["id"]
    arrived = next(word for word in shlex.split(text.split("what arrived")[1]) if word.startswith("http"))
    deadline = time.monotonic() + 15
    seen: list[str] = []
    while unique_id not in seen and time.monotonic() < deadline:
        with urllib.request.urlopen(arrived, timeout=5) as answer:
            seen = [event["unique_id"] for event in json.load(answer)["events"]]
    assert unique_id in seen


def test_run_on_a_taken_port_says_so_and_touches_nothing(tmp_path: Path) -> None:
    with Sandbox() as sandbox:
        port = sandbox.klaviyo.url.rpartition(":")[2]
        with running("run", environment(tmp_path, PORT=port)) as terminal:
            assert terminal.process.wait(timeout=30) == 1
            assert f"Port {port} is taken" in terminal.wait_for("taken")
    assert list(tmp_path.iterdir()) == []


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
            url = re.findall(r"Serving on (\S+)\.", terminal.wait_for("For commands"))[0]
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
