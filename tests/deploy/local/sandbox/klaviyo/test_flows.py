"""A flow's webhook action in the sandbox: what is sent for a recipient, what is tried again, and what is skipped."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo import flows
from deploy.local.sandbox.klaviyo.flow_templates import FlowTemplateError
from deploy.local.sandbox.klaviyo.flows import FlowRun
from tests.deploy.local.receiving import Receiver
from tests.deploy.local.sandbox.times import NOON

ACCOUNT = "WBhXHN"
HEADERS = {"x-omneo-secret": "canary-flow-secret"}
HOUR = 3600.0


@pytest.fixture
def profile(sandbox: Sandbox) -> str:
    profile = sandbox.klaviyo.profile(
        ACCOUNT,
        email="canary-jane@example.org",
        first_name="Jane",
        last_name="Doe",
        properties={"tier": "Gold", "Shoe Size": 38, "points": 1234567, "email": "canary-other@example.org"},
    )
    return profile.id


def run(
    sandbox: Sandbox,
    receiver: Receiver,
    profile: str,
    body: str = "{}",
    *,
    event: dict[str, Any] | None = None,
    **options: Any,
) -> FlowRun:
    flow = sandbox.klaviyo.flow(ACCOUNT, url=receiver.url, headers=HEADERS, body=body, **options)
    return sandbox.klaviyo.run_flow(ACCOUNT, flow.id, profile, event)


def rendered(sandbox: Sandbox, receiver: Receiver, profile: str, body: str, **options: Any) -> str:
    assert run(sandbox, receiver, profile, body, **options).state == "succeeded"
    return receiver.received[-1].body.decode()


def test_a_recipient_is_sent_the_body_filled_in_with_the_merchants_headers(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    body = """{"id": "{{ event.OrderId }}", "data": {
        "email": "{{ person.email }}", "klaviyo_id": "{{ person.id }}", "name": "{{ person.first_name }} {{ person.last_name }}",
        "tier": "{{ person.tier }}", "size": {{ person|lookup:'Shoe Size' }}, "points": {{ person.points }},
        "amount": {{ event.amount }}, "whole": {{ event.whole }}, "item": "{{ event|lookup:"Item Name" }}", "sku": "{{ event.items.0.sku }}"}}"""
    event = {
        "OrderId": "A-1",
        "amount": 10.5,
        "whole": 20.0,
        "Item Name": "Boots",
        "items": [{"sku": "B-38"}],
    }
    done = run(sandbox, receiver, profile, body, event=event, flow_id="XyZ123")

    (request,) = receiver.received
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-klaviyo-flow-id"] == "XyZ123"
    assert request.headers["x-omneo-secret"] == "canary-flow-secret"
    assert "klaviyo-signature" not in request.headers
    assert json.loads(request.body) == {
        "id": "A-1",
        "data": {
            "email": "canary-jane@example.org",
            "klaviyo_id": profile,
            "name": "Jane Doe",
            "tier": "Gold",
            "size": 38,
            "points": 1234567,
            "amount": 10.5,
            "whole": 20.0,
            "item": "Boots",
            "sku": "B-38",
        },
    }
    assert (done.flow_id, done.profile_id, done.state, done.due_at) == (
        "XyZ123",
        profile,
        "succeeded",
        None,
    )
    (attempt,) = done.attempts
    assert (attempt.status, attempt.error, attempt.sent_at) == (202, "", NOON)
    assert attempt.seconds > 0
    assert sandbox.klaviyo.flow_runs(ACCOUNT) == [done]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("[{{ person.nothing }}{{ person|lookup:'no such' }}{{ event.nothing.at.all }}{{ nothing }}]", "[]"),
        ("{{ person.nothing|default:'none' }}", "none"),
        ("{{ event.unique_id }}{{ event.timestamp }}{{ event.id }}", ""),
        ("{{ event.quoted }}", 'Jane "J" O\'Doe & <Co>'),
        ("{{ event.quoted|escapejs }}", r"Jane \u0022J\u0022 O\u0027Doe \u0026 \u003CCo\u003E"),
        ("{{ event.big }} {{ event.small }}", "9007199254740993 0.1"),
        ("{{ event.yes }} {{ event.null }}", "True None"),
        ("{% if event.yes %}{{ event.text|upper }}{% endif %}", "É🦀"),
        ("{{ event.nested|lookup:'a b'|lookup:'c d' }}", "deep"),
    ],
)
def test_variables_are_rendered_as_django_does(
    sandbox: Sandbox, receiver: Receiver, profile: str, template: str, text: str
) -> None:
    event = {
        "quoted": 'Jane "J" O\'Doe & <Co>',
        "big": 9007199254740993,
        "small": 0.1,
        "yes": True,
        "null": None,
        "text": "é🦀",
        "nested": {"a b": {"c d": "deep"}},
    }
    assert rendered(sandbox, receiver, profile, template, event=event) == text


def test_a_flow_may_escape_for_html(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    event = {"name": 'O\'Doe & "Co"'}
    text = rendered(
        sandbox,
        receiver,
        profile,
        "{{ event.name }}|{{ event.name|safe }}",
        event=event,
        autoescape=True,
    )
    assert text == 'O&#x27;Doe &amp; &quot;Co&quot;|O\'Doe & "Co"'


def test_without_a_metric_there_is_no_event(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    text = rendered(sandbox, receiver, profile, "{% if event %}event{% else %}none{% endif %}")
    assert text == "none"


def test_a_body_that_is_no_json_is_sent_as_it_is(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    receiver.status = 400
    done = run(sandbox, receiver, profile, '{"name": "{{ event.name }}"}', event={"name": 'J"'})
    assert receiver.received[0].body == b'{"name": "J""}'
    assert done.state == "skipped"


@pytest.mark.parametrize("body", ["{% if %}", "{{ person|nosuchfilter }}", "{% load static %}"])
def test_a_body_that_is_no_template_is_refused(sandbox: Sandbox, receiver: Receiver, body: str) -> None:
    with pytest.raises(FlowTemplateError):
        sandbox.klaviyo.flow(ACCOUNT, url=receiver.url, body=body)


def test_a_body_that_cannot_be_rendered_skips_the_recipient(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    done = run(sandbox, receiver, profile, "{% include 'elsewhere.html' %}")
    assert (done.state, done.error) == ("skipped", "FlowTemplateError: TemplateDoesNotExist")
    assert (done.attempts, receiver.received) == ((), [])
    sandbox.advance(24 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []


@pytest.mark.parametrize("url", ["http://shop.example.org/hook", "ftp://shop.example.org", "hook", ""])
def test_an_address_that_is_not_https_is_refused(sandbox: Sandbox, url: str) -> None:
    with pytest.raises(ValueError, match="https"):
        sandbox.klaviyo.flow(ACCOUNT, url=url, body="{}")


def test_who_does_not_exist_reaches_nothing(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    flow = sandbox.klaviyo.flow(ACCOUNT, url=receiver.url, body="{}")
    for account, flow_id, profile_id in (
        (ACCOUNT, "other", profile),
        (ACCOUNT, flow.id, "01OTHER"),
        ("Other1", flow.id, profile),
    ):
        with pytest.raises(KeyError):
            sandbox.klaviyo.run_flow(account, flow_id, profile_id)
    assert receiver.received == []


def test_klaviyos_headers_win_over_the_merchants(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    headers = {"content-type": "text/plain", "x-klaviyo-flow-id": "other", "X-Shop": "1"}
    flow = sandbox.klaviyo.flow(ACCOUNT, url=receiver.url, headers=headers, body="{}")
    sandbox.klaviyo.run_flow(ACCOUNT, flow.id, profile)
    (request,) = receiver.received
    assert request.headers["content-type"] == "application/json"
    assert request.headers["x-klaviyo-flow-id"] == flow.id
    assert request.headers["x-shop"] == "1"


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_success(sandbox: Sandbox, receiver: Receiver, profile: str, status: int) -> None:
    receiver.status = status
    assert run(sandbox, receiver, profile).state == "succeeded"
    sandbox.advance(24 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []


@pytest.mark.parametrize("status", [301, 302, 307, 308, 400, 401, 403, 404, 408, 409, 410, 422, 501, 504, -1])
def test_whatever_is_not_retryable_is_skipped_for_good_and_no_redirect_is_followed(
    sandbox: Sandbox, receiver: Receiver, profile: str, status: int
) -> None:
    receiver.status = status
    done = run(sandbox, receiver, profile)
    assert (done.state, done.due_at) == ("skipped", None)
    expected = (None, "ConnectionError") if status == -1 else (status, "")
    assert (done.attempts[0].status, done.attempts[0].error) == expected
    sandbox.advance(48 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []
    assert [request.path for request in receiver.received] == ["/hook"]


def test_an_answer_after_its_time_is_skipped(
    sandbox: Sandbox, receiver: Receiver, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flows.ANSWER_SECONDS == 10.0
    monkeypatch.setattr(flows, "ANSWER_SECONDS", 0.2)
    released = threading.Event()
    receiver.meanwhile = lambda: released.wait(60)
    done = run(sandbox, receiver, profile)
    released.set()
    assert (done.state, done.attempts[0].error) == ("skipped", "Timeout")
    sandbox.advance(24 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_seventeen_tries_over_24_hours_then_failed(
    sandbox: Sandbox, receiver: Receiver, profile: str, status: int
) -> None:
    receiver.status = status
    done = run(sandbox, receiver, profile, '{"id": "{{ event.id }}"}', event={"id": "A-1"})
    waits = []
    while done.state == "waiting":
        assert sandbox.klaviyo.flow_due(ACCOUNT) == []
        assert done.due_at is not None
        waits.append(done.due_at - sandbox.clock())
        sandbox.advance(waits[-1] + 1e-6)
        (done,) = sandbox.klaviyo.flow_due(ACCOUNT)
    assert (done.state, done.due_at, len(done.attempts)) == ("failed", None, 17)
    assert all(later == pytest.approx(2 * wait) for wait, later in pairwise(waits))
    assert done.attempts[-1].sent_at - NOON == pytest.approx(24 * HOUR)
    assert {request.body for request in receiver.received} == {b'{"id": "A-1"}'}
    assert len(receiver.received) == 17
    sandbox.advance(48 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []


def test_a_try_may_succeed_or_be_skipped_later(sandbox: Sandbox, receiver: Receiver, profile: str) -> None:
    receiver.statuses = [503, 429, 503, 202, 404]
    first, second = run(sandbox, receiver, profile), run(sandbox, receiver, profile)
    assert [first.state, second.state] == ["waiting", "waiting"]
    sandbox.advance(2)
    assert [done.state for done in sandbox.klaviyo.flow_due(ACCOUNT)] == ["waiting", "succeeded"]
    sandbox.advance(3)
    assert [done.state for done in sandbox.klaviyo.flow_due(ACCOUNT)] == ["skipped"]
    runs = sandbox.klaviyo.flow_runs(ACCOUNT)
    assert [run.id for run in runs] == [first.id, second.id]
    assert [[attempt.status for attempt in run.attempts] for run in runs] == [[503, 503, 404], [429, 202]]
    sandbox.advance(24 * HOUR)
    assert sandbox.klaviyo.flow_due(ACCOUNT) == []


def test_a_new_try_sends_what_the_first_did_whatever_the_profile_is_now(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    receiver.statuses = [500]
    run(sandbox, receiver, profile, "{{ person.first_name }}")
    sandbox.klaviyo.profile(ACCOUNT, id=profile, first_name="Joan")
    sandbox.advance(2)
    sandbox.klaviyo.flow_due(ACCOUNT)
    assert [request.body for request in receiver.received] == [b"Jane", b"Jane"]


def test_one_try_is_made_though_several_look_for_what_is_due(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    receiver.statuses = [503]
    run(sandbox, receiver, profile)
    sandbox.advance(2)
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: sandbox.klaviyo.flow_due(ACCOUNT), range(16)))
    assert sum(len(runs) for runs in found) == 1
    assert len(receiver.received) == 2


def test_the_receiver_may_call_back(
    sandbox: Sandbox, receiver: Receiver, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flows, "ANSWER_SECONDS", 60)  # so long would it wait for itself
    seen: list[int] = []

    def call_back() -> None:
        url = f"{sandbox.klaviyo.url}/api/accounts"
        token = sandbox.klaviyo.install(ACCOUNT).access_token
        headers = {"Authorization": f"Bearer {token}", "revision": "2026-10-15"}
        seen.append(requests.get(url, headers=headers, timeout=60).status_code)

    receiver.meanwhile = call_back
    receiver.statuses = [500]
    assert run(sandbox, receiver, profile).attempts[0].seconds < 50
    sandbox.advance(2)
    (done,) = sandbox.klaviyo.flow_due(ACCOUNT)
    assert done.attempts[1].seconds < 50
    assert seen == [200, 200]


def test_a_reset_forgets_flows_and_runs_also_one_on_its_way(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    receiver.meanwhile = sandbox.klaviyo.reset
    receiver.statuses = [503]
    assert run(sandbox, receiver, profile).state == "waiting"
    sandbox.advance(HOUR)
    assert (sandbox.klaviyo.flow_runs(ACCOUNT), sandbox.klaviyo.flow_due(ACCOUNT)) == ([], [])


def test_what_is_due_is_tried_by_itself_when_asked(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    receiver.statuses = [503]
    run(sandbox, receiver, profile)
    again = threading.Event()
    receiver.meanwhile = again.set
    sandbox.klaviyo.auto_deliver = 0.01
    sandbox.advance(2)
    assert again.wait(60)


def test_a_flow_is_arranged_run_and_read_from_outside_and_shows_no_secret(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    control = f"{sandbox.klaviyo.url}/_sandbox"

    def tell(action: str, **fields: Any) -> requests.Response:
        return requests.post(f"{control}/{action}", json={"account": ACCOUNT, **fields}, timeout=60)

    receiver.statuses = [503]
    body = '{"to": "{{ person.email }}", "n": {{ event.n }}}'
    made = tell("flows", url=receiver.url, headers=HEADERS, body=body, flow_id="XyZ123")
    answers = [
        made,
        tell("run-flow", flow_id="XyZ123", profile_id=profile, event={"n": 1}),
    ]
    sandbox.advance(2)
    answers += [tell("flow-due"), requests.get(f"{control}/flow-runs?account={ACCOUNT}", timeout=60)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert made.json() == {"id": "XyZ123", "header_names": ["x-omneo-secret"]}
    first = answers[1].json()
    assert (first["state"], first["flow_id"], first["profile_id"]) == ("waiting", "XyZ123", profile)
    assert [attempt["status"] for attempt in first["attempts"]] == [503]
    (done,) = answers[2].json()["runs"]
    assert (done["state"], done["id"], done["due_at"]) == ("succeeded", first["id"], None)
    assert answers[3].json() == answers[2].json()
    assert not any("canary" in answer.text or "/hook" in answer.text for answer in answers)
    assert json.loads(receiver.received[-1].body) == {"to": "canary-jane@example.org", "n": 1}
    assert tell("run-flow", flow_id="other", profile_id=profile).status_code == 400
    assert tell("flows", url="hook", body="{}").status_code == 400
    assert tell("flows", url=receiver.url, body="{% if %}").status_code == 400


def test_what_was_sent_and_answered_is_shown_to_who_asks(
    sandbox: Sandbox, receiver: Receiver, profile: str
) -> None:
    run(sandbox, receiver, profile, '{"name": "{{ person.first_name }}"}')
    shown = [
        requests.get(f"{sandbox.klaviyo.url}/_sandbox/flow-runs?account={ACCOUNT}{query}", timeout=60).json()
        for query in ("", "&bodies=1")
    ]
    plain, whole = (answer["runs"][0] for answer in shown)
    assert "body" not in plain
    assert whole["body"] == '{"name": "Jane"}'
    assert [attempt["answer"] for attempt in whole["attempts"]] == [{}]


def test_django_is_loaded_only_where_a_flow_is() -> None:
    code = (
        "import sys, deploy.local.sandbox, deploy.local.sandbox.klaviyo.flows; print('django' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parents[5],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "False"
