"""The console's own server: who calls early waits, and it ends with its streams."""

import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from deploy.local.console import Console
from deploy.local.console.here import Here
from deploy.local.console.watching import Watching
from deploy.local.console.whose import Tenants
from deploy.local.hints import Place
from deploy.local.logs import Follower
from deploy.local.sandbox import Sandbox
from tests.deploy.local.console.conftest import environment


@pytest.fixture
def console(tmp_path: Path) -> Iterator[Console]:
    """Return a console that has not been started, before a sandbox and no bundle. Its own address is what its place names."""
    with Sandbox(token_prefix="canary") as sandbox:
        watching = Watching(sandbox, deque(), lambda _after: [], Follower(tmp_path), [])
        place = Place(
            url="http://127.0.0.1:80", klaviyo=sandbox.klaviyo.url, omneo=sandbox.omneo.url, queue="", tenant="demo", account="",
            email="", omneo_profile="", klaviyo_profile="", installation_key="", webhook_secret="", env_file=tmp_path,
            repository=tmp_path, python=tmp_path, port=80, reader="jq",
        )  # fmt: skip
        tenants = Tenants(place, environment(tmp_path), watching.mask)
        with Console(Here(place, watching, tenants)) as console:
            yield console


def get(console: Console, path: str, *, stream: bool = False) -> requests.Response:
    """Call the console as the gateway does."""
    return requests.get(
        f"http://127.0.0.1:{console.port}{path}", headers={"Host": "127.0.0.1"}, timeout=60, stream=stream
    )


def test_who_calls_before_the_start_is_answered_after_it(console: Console) -> None:
    found: list[int] = []
    caller = threading.Thread(target=lambda: found.append(get(console, "/").status_code))
    caller.start()
    console.start()
    caller.join(60)
    assert found == [200]


def test_a_stream_ends_with_the_console(console: Console) -> None:
    console.start()
    with get(console, "/console/live/stream", stream=True) as answer:
        lines = answer.iter_lines()
        assert next(lines) == b"retry: 1000"
        console.stop()
        assert list(lines)[-1:] in ([], [b""])
    with pytest.raises(requests.ConnectionError):
        get(console, "/")


def test_a_console_that_was_never_started_is_stopped(console: Console) -> None:
    console.stop()
    with pytest.raises(requests.ConnectionError):
        get(console, "/")
