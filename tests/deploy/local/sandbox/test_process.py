"""The sandbox as a process, told what to do by another one, and what it must not load."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

ROOT = Path(__file__).parents[4]
EVENT = {
    "data": {
        "type": "event",
        "attributes": {
            "properties": {"amount": 20},
            "metric": {"data": {"type": "metric", "attributes": {"name": "Reward Issued"}}},
            "profile": {"data": {"type": "profile", "attributes": {"email": "canary-jane@example.org"}}},
        },
    }
}


class Process:
    """A running sandbox and its two addresses."""

    def __init__(self) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-m", "deploy.local.sandbox", "--seed", "1"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.child.stdout is not None
        ready, _, _ = select.select([self.child.stdout], [], [], 20)
        assert ready, "the sandbox did not start"
        self.addresses = json.loads(self.child.stdout.readline())
        self.klaviyo: str = self.addresses["klaviyo"]
        self.omneo = self.addresses["omneo"].removesuffix("/{tenant}")

    def tell(self, service: str, path: str, **body: Any) -> Any:
        answer = requests.post(f"{service}/_sandbox/{path}", json=body, timeout=60)
        assert answer.status_code == 200
        return answer.json()

    def read(self, service: str, path: str) -> Any:
        answer = requests.get(f"{service}/_sandbox/{path}", timeout=60)
        assert answer.status_code == 200
        return answer.json()

    def create_event(self) -> int:
        headers = {
            "Authorization": "Bearer canary-token-access",
            "revision": "2026-10-15",
            "Content-Type": "application/vnd.api+json",
        }
        url = f"{self.klaviyo}/api/events"
        return requests.post(url, data=json.dumps(EVENT), headers=headers, timeout=60).status_code

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str, str]:
        self.child.send_signal(number)
        out, err = self.child.communicate(timeout=60)
        return self.child.returncode, out, err


@pytest.fixture(scope="module")
def running() -> Iterator[Process]:
    process = Process()
    yield process
    if process.child.poll() is None:
        process.stop()


@pytest.fixture
def process(running: Process) -> Process:
    running.tell(running.klaviyo, "reset")
    running.tell(running.omneo, "reset")
    install = {
        "account": "WBhXHN",
        "access_token": "canary-token-access",
        "refresh_token": "canary-token-refresh",
    }
    running.tell(running.klaviyo, "seed", installs=[install])
    return running


def test_it_prints_one_line_stays_quiet_and_ends_well() -> None:
    process = Process()
    assert set(process.addresses) == {"klaviyo", "omneo"}
    assert process.addresses["omneo"].endswith("/{tenant}")
    install = {"account": "WBhXHN", "access_token": "canary-token-access"}
    process.tell(process.klaviyo, "seed", installs=[install])
    assert process.create_event() == 202
    assert process.stop() == (0, "", "")


def test_it_ends_well_on_an_interrupt() -> None:
    assert Process().stop(signal.SIGINT) == (0, "", "")


def test_events_calls_and_profiles_are_read_from_outside(process: Process) -> None:
    assert process.create_event() == 202
    (event,) = process.read(process.klaviyo, "events?account=WBhXHN")["events"]
    (profile,) = process.read(process.klaviyo, "profiles?account=WBhXHN")["profiles"]
    assert (event["metric"], event["properties"]) == ("Reward Issued", {"amount": 20})
    assert event["profile_id"] == profile["id"]
    assert profile["attributes"] == {"email": "canary-jane@example.org"}
    (call,) = process.read(process.klaviyo, "calls")["calls"]
    assert (call["method"], call["path"], call["status"], call["account"]) == (
        "POST",
        "/api/events",
        202,
        "WBhXHN",
    )
    assert call["headers"]["revision"] == "2026-10-15"
    assert "body" not in call
    (whole,) = process.read(process.klaviyo, "calls?bodies=1")["calls"]
    assert json.loads(whole["body"]) == EVENT


def test_faults_time_and_tokens_are_ordered_from_outside(process: Process) -> None:
    process.tell(process.klaviyo, "fail", next=1, match="POST /api/events", status=500)
    (fault,) = process.read(process.klaviyo, "faults")["faults"]
    assert (fault["left"], fault["kind"], fault["status"], fault["match"]) == (
        1,
        "status",
        500,
        "POST /api/events",
    )
    assert [process.create_event(), process.create_event()] == [500, 202]
    assert process.read(process.klaviyo, "faults") == {"faults": []}
    process.tell(process.klaviyo, "expire", access_token="canary-token-access")
    assert process.create_event() == 401
    process.tell(
        process.klaviyo, "seed", installs=[{"account": "WBhXHN", "access_token": "canary-token-access"}]
    )
    assert process.create_event() == 202
    process.tell(process.klaviyo, "clock", advance=3600)
    assert process.create_event() == 401


def test_the_token_endpoint_is_arranged_from_outside(process: Process) -> None:
    process.tell(process.klaviyo, "app", client_id="canary-id", client_secret="canary-secret")
    process.tell(process.klaviyo, "switches", docs_spelling=True, access_token_seconds=60)
    form = {"grant_type": "refresh_token", "refresh_token": "canary-token-refresh"}

    def refresh() -> Any:
        url = f"{process.klaviyo}/oauth/token"
        return requests.post(url, data=form, auth=("canary-id", "canary-secret"), timeout=60).json()

    assert refresh()["expires_in"] == 60
    process.tell(process.klaviyo, "revoke", refresh_token="canary-token-refresh")
    assert refresh()["error"] == "invalid_grant_type"
    process.tell(process.klaviyo, "uninstall", account="WBhXHN")
    assert process.create_event() == 401


def test_an_event_in_omneo_is_fired_from_outside(process: Process) -> None:
    seeded = process.tell(
        process.omneo,
        "seed",
        tenants=[{"name": "acme", "signing_secret": "canary-signing"}],
        profiles=[{"tenant": "acme", "email": "canary-jane@example.org"}],
        targets=[
            {
                "tenant": "acme",
                "handle": "t",
                "url": f"{process.klaviyo}/hook",
                "template": {"to": "{{ email }}"},
            }
        ],
        reactions=[{"tenant": "acme", "trigger": "profile.updated", "targets": ["t"]}],
    )
    assert seeded["tenants"][0]["signing_secret"] == "canary-signing"
    (profile,) = seeded["profiles"]
    (fired,) = process.tell(process.omneo, "acme/events", trigger="profile.updated", context=profile)[
        "deliveries"
    ]
    assert (fired["target"], fired["status"], fired["attempt"]) == ("t", 404, 1)
    (kept,) = process.read(process.omneo, "deliveries?tenant=acme&bodies=1")["deliveries"]
    assert json.loads(kept["body"]) == {"to": "canary-jane@example.org"}
    process.tell(process.omneo, "switches", id_token_seconds=5)
    headers = {"Authorization": f"Bearer {seeded['tenants'][0]['token']}"}
    minted = requests.post(f"{process.omneo}/acme/id/api/v1/auth/token", json={}, headers=headers, timeout=60)
    assert minted.status_code == 200


def test_an_install_is_arranged_and_read_from_outside(process: Process) -> None:
    webhook = {
        "account": "WBhXHN",
        "name": "Omneo acme",
        "endpoint_url": "https://extension.example.org/canary",
        "secret_key": "canary-webhook-secret",
        "topics": ["event:klaviyo.sent_sms"],
    }
    process.tell(
        process.klaviyo,
        "seed",
        accounts=[{"account": "WBhXHN", "organization_name": "Acme"}],
        data_sources=[{"account": "WBhXHN", "title": "Omneo Rewards"}],
        webhooks=[webhook],
    )
    (source,) = process.read(process.klaviyo, "data-sources?account=WBhXHN")["data_sources"]
    (kept,) = process.read(process.klaviyo, "webhooks?account=WBhXHN")["webhooks"]
    assert source["title"] == "Omneo Rewards"
    assert (kept["secret_key"], kept["enabled"]) == ("canary-webhook-secret", True)
    process.tell(process.klaviyo, "disable-webhook", account="WBhXHN", id=kept["id"])
    assert process.read(process.klaviyo, "webhooks?account=WBhXHN")["webhooks"][0]["enabled"] is False


def test_the_consent_page_is_answered_from_outside(process: Process) -> None:
    process.tell(process.klaviyo, "app", client_id="canary-id", client_secret="canary-secret")
    process.tell(
        process.klaviyo,
        "switches",
        auto_consent="allow",
        consent_account="OTHER1",
        app_scopes="accounts:read",
        redirect_uris=["https://extension.example.org/callback"],
        duplicate_title_status=400,
    )
    asked = {
        "response_type": "code",
        "client_id": "canary-id",
        "redirect_uri": "https://extension.example.org/callback",
        "scope": "accounts:read",
        "state": "canary",
        "code_challenge_method": "S256",
        "code_challenge": "c" * 43,
    }
    url = f"{process.klaviyo}/oauth/authorize"
    answer = requests.get(url, params=asked, allow_redirects=False, timeout=60)
    assert answer.status_code == 302
    assert answer.headers["Location"].startswith("https://extension.example.org/callback?code=")
    (call,) = process.read(process.klaviyo, "calls")["calls"]
    assert call["account"] == "OTHER1"


def test_omneos_webhooks_and_token_are_arranged_from_outside(process: Process) -> None:
    webhook = {
        "tenant": "acme",
        "trigger": "profile.updated",
        "url": "https://a.example.org",
        "namespace": "k",
    }
    (tenant,) = process.tell(process.omneo, "seed", tenants=[{"name": "acme"}], webhooks=[webhook])["tenants"]
    (kept,) = process.read(process.omneo, "webhooks?tenant=acme")["webhooks"]
    assert (kept["trigger"], kept["queue"]) == ("profile.updated", "default")

    def verify() -> int:
        headers = {"Authorization": f"Bearer {tenant['token']}"}
        return requests.get(
            f"{process.omneo}/acme/api/v3/auth/verify", headers=headers, timeout=60
        ).status_code

    assert verify() == 200
    process.tell(process.omneo, "expire", tenant="acme")
    assert verify() == 401


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "nothing", b"", 404),
        ("GET", "reset", b"", 404),
        ("POST", "fail", b"{", 400),
        ("POST", "fail", b'{"kind": "explode"}', 400),
        ("POST", "switches", b'{"client_secret": "canary"}', 400),
        ("GET", "events", b"", 400),
    ],
)
def test_orders_that_make_no_sense_are_refused(
    process: Process, method: str, path: str, body: bytes, status: int
) -> None:
    url = f"{process.klaviyo}/_sandbox/{path}"
    assert requests.request(method, url, data=body, timeout=60).status_code == status


def test_it_listens_on_loopback_alone(process: Process) -> None:
    port = int(process.klaviyo.rpartition(":")[2])
    tables = [Path(f"/proc/{process.child.pid}/net/{name}") for name in ("tcp", "tcp6")]
    rows = [
        line.split()[1] for table in tables if table.exists() for line in table.read_text().splitlines()[1:]
    ]
    listening = {row.rpartition(":")[0] for row in rows if row.endswith(f":{port:04X}")}
    if not listening:
        pytest.skip("needs Linux's /proc/net")
    assert listening == {"0100007F"}


def test_loading_it_loads_nothing_of_ours() -> None:
    code = "import sys, deploy.local.sandbox; print(*[n for n in sys.modules if n.split('.')[0] == 'shared'])"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
