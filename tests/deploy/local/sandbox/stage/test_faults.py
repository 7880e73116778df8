"""Every way a call can go wrong, as a client meets it."""

import http.client
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.stage.faults import Kind

EVENT = {
    "data": {
        "type": "event",
        "attributes": {
            "properties": {},
            "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "canary-jane@example.org"}}},
        },
    }
}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token_prefix="canary-token") as sandbox:
        sandbox.klaviyo.install("WBhXHN", access_token="canary-token-access")
        sandbox.omneo.tenant("acme", token="canary-token-omneo")
        yield sandbox


def create_event(sandbox: Sandbox, *, seconds: float = 60) -> requests.Response:
    headers = {
        "Authorization": "Bearer canary-token-access",
        "revision": "2026-10-15",
        "Content-Type": "application/vnd.api+json",
    }
    url = f"{sandbox.klaviyo.url}/api/events"
    return requests.post(url, data=json.dumps(EVENT), headers=headers, timeout=seconds)


def recorded(sandbox: Sandbox) -> int:
    return len(sandbox.klaviyo.events("WBhXHN"))


def list_targets(sandbox: Sandbox) -> requests.Response:
    headers = {"Authorization": "Bearer canary-token-omneo"}
    url = sandbox.omneo.url_template.format(tenant="acme")
    return requests.get(f"{url}/api/v3/targets", headers=headers, timeout=60)


def test_a_status_comes_in_the_services_own_words(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(status=500)
    sandbox.omneo.fail(status=500)
    assert create_event(sandbox).json()["errors"][0]["status"] == 500
    refused = list_targets(sandbox)
    assert (refused.status_code, refused.json()) == (500, {"message": "Server Error"})
    assert recorded(sandbox) == 0


def test_a_throttled_call_says_how_long_to_wait_unless_told_otherwise(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(status=429)
    sandbox.klaviyo.fail(status=429, headers={"Retry-After": "7"}, body={"canary": True})
    first, second = create_event(sandbox), create_event(sandbox)
    assert (first.headers["Retry-After"], first.json()["errors"][0]["code"]) == ("1", "throttled")
    assert (second.headers["Retry-After"], second.json()) == ("7", {"canary": True})
    assert create_event(sandbox).status_code == 202


def test_an_answer_can_be_lost_after_the_call_took_effect(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(kind="reset", takes_effect=True)
    with pytest.raises(requests.ConnectionError):
        create_event(sandbox)
    assert recorded(sandbox) == 1


@pytest.mark.parametrize("kind", ["reset", "hang", "html403", "truncated", "empty", "broken_json", "status"])
def test_a_call_that_goes_wrong_takes_no_effect_unless_told_to(sandbox: Sandbox, kind: Kind) -> None:
    for takes_effect, expected in ((False, 0), (True, 1)):
        sandbox.klaviyo.fail(kind=kind, seconds=0, takes_effect=takes_effect)
        try:
            assert create_event(sandbox).status_code != 202
        except requests.RequestException:
            assert kind in ("reset", "hang", "truncated")
        assert recorded(sandbox) == expected


def test_a_reset_is_a_reset_and_not_an_end(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(kind="reset")
    host = sandbox.klaviyo.url.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=60)
    connection.request("POST", "/api/events", b"{}")
    with pytest.raises(ConnectionResetError) as caught:
        connection.getresponse()
    assert type(caught.value) is ConnectionResetError  # RemoteDisconnected, an orderly end, is a kind of it
    connection.close()
    (call,) = sandbox.klaviyo.calls.all()
    assert (call.status, call.answered_at, call.fault) == (None, None, "reset")


def test_a_hanging_call_outlasts_the_clients_patience(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(kind="hang", seconds=30)
    with pytest.raises(requests.ReadTimeout):
        create_event(sandbox, seconds=0.2)


def test_stopping_does_not_wait_for_a_call_that_hangs() -> None:
    started = time.monotonic()
    with Sandbox() as sandbox:
        sandbox.klaviyo.fail(kind="hang", seconds=60)
        address = ("127.0.0.1", int(sandbox.klaviyo.url.rpartition(":")[2]))
        with socket.create_connection(address) as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            sandbox.stop()
            assert connection.recv(1) == b""
    assert time.monotonic() - started < 30


def test_a_slow_answer_is_the_true_one_and_its_time_is_noted(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(kind="slow", seconds=0.3)
    assert create_event(sandbox).status_code == 202
    (call,) = sandbox.klaviyo.calls.all()
    assert call.seconds is not None
    assert call.seconds >= 0.3


def test_a_dripping_answer_is_the_true_one(sandbox: Sandbox) -> None:
    sandbox.omneo.fail(kind="drip", seconds=0.3)
    started = time.monotonic()
    assert list_targets(sandbox).json()["data"] == []
    assert time.monotonic() - started >= 0.3


def test_the_edges_challenge_is_html(sandbox: Sandbox) -> None:
    sandbox.klaviyo.fail(kind="html403")
    answer = create_event(sandbox)
    assert (answer.status_code, answer.headers["cf-mitigated"]) == (403, "challenge")
    assert answer.headers["Content-Type"].startswith("text/html")
    assert answer.text.startswith("<!DOCTYPE html>")


def test_a_truncated_answer_is_shorter_than_it_says(sandbox: Sandbox) -> None:
    sandbox.omneo.fail(kind="truncated")
    with pytest.raises(requests.exceptions.ChunkedEncodingError) as caught:
        list_targets(sandbox)
    assert "IncompleteRead" in str(caught.value)


def test_an_empty_answer_and_broken_json_are_200(sandbox: Sandbox) -> None:
    sandbox.omneo.fail(kind="empty")
    sandbox.omneo.fail(kind="broken_json")
    empty, broken = list_targets(sandbox), list_targets(sandbox)
    assert (empty.status_code, empty.content) == (200, b"")
    assert broken.status_code == 200
    with pytest.raises(requests.JSONDecodeError):
        broken.json()


@pytest.mark.parametrize(
    ("match", "hit"),
    [
        (None, True),
        ("GET /acme/api/v3/targets", True),
        ("* */targets", True),
        ("POST */targets", False),
        ("GET /acme/api/v3/target", False),
    ],
)
def test_a_fault_strikes_the_calls_it_is_meant_for(sandbox: Sandbox, match: str | None, hit: bool) -> None:
    sandbox.omneo.fail(2, match=match)
    statuses = [list_targets(sandbox).status_code for _ in range(3)]
    assert statuses == ([503, 503, 200] if hit else [200, 200, 200])


def test_next_0_clears_every_fault(sandbox: Sandbox) -> None:
    sandbox.omneo.fail(2)
    sandbox.omneo.fail(next=0)
    assert sandbox.omneo.faults.take("GET /canary") is None


def test_an_unknown_kind_is_refused(sandbox: Sandbox) -> None:
    unknown: Any = "explode"
    with pytest.raises(ValueError, match="kind must be one of status, reset"):
        sandbox.klaviyo.fail(kind=unknown)
