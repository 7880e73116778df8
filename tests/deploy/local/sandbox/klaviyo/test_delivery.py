"""What the sandbox Klaviyo sends to system webhooks: shape, signature, batches, new tries and the end of a webhook."""

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.sandbox import Sandbox
from deploy.local.sandbox.klaviyo import delivery as klaviyo_delivery
from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.klaviyo.delivery import sign
from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.parcels import Parcels, WebhookDelivery
from deploy.local.sandbox.klaviyo.webhooks import Webhook
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.posting import Attempt
from deploy.local.sandbox.stage.rounds import Rounds
from tests.deploy.local.receiving import Received, Receiver, receiving

NOW = 1_704_373_525.25  # Thu, 04 Jan 2024 13:05:25.25 GMT
ACCOUNT = "WBhXHN"
SECRET = "canary-webhook-secret"
UNSUBSCRIBED = "event:klaviyo.unsubscribed_from_email_marketing"
SUBSCRIBED = "event:klaviyo.subscribed_to_email_marketing"
OPENED = "event:klaviyo.opened_email"
METRIC = "Unsubscribed from Email Marketing"
HOUR = 3600.0


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=lambda: NOW, seed=1, token_prefix="canary-token") as sandbox:
        sandbox.klaviyo.oauth.access_token_seconds = 365 * 24 * 3600  # these tests let days pass
        sandbox.klaviyo.install(ACCOUNT, access_token="canary-token-access")
        yield sandbox


@pytest.fixture
def webhook(sandbox: Sandbox, receiver: Receiver) -> Webhook:
    return a_webhook(sandbox, receiver)


def a_webhook(sandbox: Sandbox, receiver: Receiver, *topics: str, secret: str = SECRET) -> Webhook:
    wanted = topics or (UNSUBSCRIBED, SUBSCRIBED)
    return sandbox.klaviyo.webhook(
        ACCOUNT, "Omneo acme", endpoint_url=receiver.url, secret_key=secret, topics=wanted
    )


def account(sandbox: Sandbox) -> Account:
    return sandbox.klaviyo._account(ACCOUNT)


def happen(sandbox: Sandbox, count: int = 1, topic: str = UNSUBSCRIBED) -> list[Event]:
    profile = sandbox.klaviyo.profile(ACCOUNT, email="canary-jane@example.org")
    return [account(sandbox).record(topic, METRIC, profile.id, {"n": number}) for number in range(count)]


def rows(request: Received) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(request.body)["data"]
    return rows


def ids(request: Received) -> list[str]:
    return [row["external_id"] for row in rows(request)]


def enabled(sandbox: Sandbox) -> list[bool]:
    return [webhook.enabled for webhook in sandbox.klaviyo.webhooks(ACCOUNT)]


API_HEADERS = {
    "Authorization": "Bearer canary-token-access",
    "revision": "2026-10-15",
    "Content-Type": "application/vnd.api+json",
}


def patch(sandbox: Sandbox, webhook: Webhook, **attributes: Any) -> int:
    document = {"data": {"type": "webhook", "id": webhook.id, "attributes": attributes}}
    url = f"{sandbox.klaviyo.url}/api/webhooks/{webhook.id}"
    return requests.patch(url, data=json.dumps(document), headers=API_HEADERS, timeout=60).status_code


@pytest.mark.parametrize(
    ("body", "digest"),
    [
        (
            '{"data":[{"external_id":"4L3cwQae2TX","topic":"event:klaviyo.sent_sms"}],"meta":{"klaviyo_webhook_id":'
            '"a8b890458b4bbfaa26d961471b83c101d6de23bd826e7e5173a15310985ec3cb"}}',
            "5aa0e720d80b3a04ca04baf3c65cdfe31da57504af69fee8da29c35d45f0596b",
        ),
        ("", "20207af32de1a92c348f827f1eace8aefdcc554c6fc41e1e5625d4480a1cf059"),
        ("héllo, 🦀 world!", "976d9ec1a7b4a0edb37167e0e72bc58a9cb29933aa08f1f54679d49c1ee2ad82"),
    ],
)
def test_signatures_are_those_that_others_have_published(body: str, digest: str) -> None:
    assert sign("klaviyo-test-secret", body.encode(), "Thu, 04 Jan 2024 18:05:25 GMT") == digest


def test_an_event_is_sent_in_klaviyos_shape_and_signed(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    (event,) = happen(sandbox)
    (delivery,) = sandbox.klaviyo.deliver(ACCOUNT)

    (request,) = receiver.received
    assert (request.method, request.path) == ("POST", "/hook")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["klaviyo-webhook-id"] == webhook.id
    timestamp = request.headers["klaviyo-timestamp"]
    assert timestamp == "Thu, 04 Jan 2024 18:05:25 GMT"
    assert request.headers["klaviyo-signature"] == sign(SECRET, request.body, timestamp)
    body = json.loads(request.body)
    assert body["meta"] == {
        "timestamp": "2024-01-04T13:05:25.250000+00:00",
        "klaviyo_webhook_id": webhook.id,
        "klaviyo_account_id": ACCOUNT,
        "version": "2024-06-28",
    }
    (row,) = body["data"]
    assert (row["topic"], row["external_id"]) == (UNSUBSCRIBED, event.id)
    resource = row["payload"]["data"]
    assert (resource["type"], resource["id"]) == ("event", event.id)
    assert resource["attributes"]["event_properties"] == {"n": 0}
    assert resource["attributes"]["datetime"] == "2024-01-04 13:05:25+00:00"
    assert resource["relationships"]["profile"]["data"]["id"] == event.profile_id
    metric = resource["relationships"]["metric"]["data"]["id"]
    assert metric == account(sandbox).metric_ids[METRIC]

    assert (delivery.webhook_id, delivery.events, delivery.succeeded) == (webhook.id, 1, True)
    assert (delivery.attempt.status, delivery.attempt.error, delivery.attempt.sent_at) == (202, "", NOW)
    assert delivery.attempt.seconds > 0
    assert sandbox.klaviyo.webhook_deliveries(ACCOUNT) == [delivery]


def test_what_was_delivered_is_not_sent_again(sandbox: Sandbox, receiver: Receiver, webhook: Webhook) -> None:
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    assert account(sandbox).outbox == []
    sandbox.advance(72 * HOUR)
    assert sandbox.klaviyo.deliver(ACCOUNT) == []
    assert len(receiver.received) == 1


def test_each_webhook_is_sent_the_topics_it_has_under_its_own_secret(
    sandbox: Sandbox, receiver: Receiver
) -> None:
    first = a_webhook(sandbox, receiver, UNSUBSCRIBED, SUBSCRIBED)
    second = a_webhook(sandbox, receiver, SUBSCRIBED, secret="canary-second-secret")
    a_webhook(sandbox, receiver, "event:klaviyo.sent_sms")
    off = a_webhook(sandbox, receiver, SUBSCRIBED)
    sandbox.klaviyo.disable_webhook(ACCOUNT, off.id)
    (gone,), (came,) = happen(sandbox), happen(sandbox, topic=SUBSCRIBED)
    happen(sandbox, topic=OPENED)
    deliveries = sandbox.klaviyo.deliver(ACCOUNT)

    assert [(delivery.webhook_id, delivery.events) for delivery in deliveries] == [
        (first.id, 2),
        (second.id, 1),
    ]
    assert [ids(request) for request in receiver.received] == [[gone.id, came.id], [came.id]]
    for request, secret in zip(receiver.received, (SECRET, "canary-second-secret"), strict=True):
        timestamp = request.headers["klaviyo-timestamp"]
        assert request.headers["klaviyo-signature"] == sign(secret, request.body, timestamp)


def test_a_request_carries_at_most_a_thousand_events_or_as_many_as_asked(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    happen(sandbox, 1001)
    assert [delivery.events for delivery in sandbox.klaviyo.deliver(ACCOUNT)] == [1000, 1]
    events = happen(sandbox, 7)
    assert [delivery.events for delivery in sandbox.klaviyo.deliver(ACCOUNT, batch=3)] == [3, 3, 1]
    assert [id for request in receiver.received[2:] for id in ids(request)] == [event.id for event in events]


@pytest.mark.parametrize("wrong", [{"batch": 0}, {"batch": 1001}, {"copies": 0}])
def test_a_delivery_that_klaviyo_could_not_make_is_refused(
    sandbox: Sandbox, webhook: Webhook, wrong: dict[str, Any]
) -> None:
    happen(sandbox)
    with pytest.raises(ValueError, match="batch must be"):
        sandbox.klaviyo.deliver(ACCOUNT, **wrong)
    assert len(account(sandbox).outbox) == 1


def test_every_batch_is_sent_as_often_as_asked(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    happen(sandbox, 5)
    sandbox.klaviyo.deliver(ACCOUNT, batch=2, copies=3)
    assert [len(rows(request)) for request in receiver.received] == [2, 2, 2, 2, 2, 2, 1, 1, 1]
    assert receiver.received[0].body == receiver.received[1].body == receiver.received[2].body


def test_a_seed_shuffles_events_and_requests_the_same_way_each_time() -> None:
    orders = []
    for seed in (None, 7, 7, 8):
        with Sandbox(clock=lambda: NOW, seed=1) as sandbox, receiving() as receiver:
            a_webhook(sandbox, receiver)
            events = [event.id for event in happen(sandbox, 40)]
            sandbox.klaviyo.deliver(ACCOUNT, batch=10, copies=2, seed=seed)
            orders.append([ids(request) for request in receiver.received])
    plain, first, again, other = orders
    assert first == again
    assert len({json.dumps(order) for order in (plain, first, other)}) == 3
    for order in orders:
        assert sorted(id for request in order for id in request) == sorted(events * 2)
        assert [len(request) for request in order] == [10] * 8
    pairs = [first[index] == first[index + 1] for index in range(0, 8, 2)]
    assert not all(pairs), "the copies still stand side by side"


@pytest.mark.parametrize("status", [200, 201, 202])
def test_three_statuses_are_success(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook, status: int
) -> None:
    receiver.status = status
    happen(sandbox)
    assert sandbox.klaviyo.deliver(ACCOUNT)[0].succeeded
    sandbox.advance(2 * HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []


@pytest.mark.parametrize("status", [203, 204, 301, 302, 307, 400, 401, 404, 410, 429, 500, 503, -1])
def test_whatever_else_comes_is_tried_again_and_no_redirect_is_followed(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook, status: int
) -> None:
    receiver.statuses = [status]
    (event,) = happen(sandbox)
    (failed,) = sandbox.klaviyo.deliver(ACCOUNT)
    expected = (None, "ConnectionError") if status == -1 else (status, "")
    assert (failed.attempt.status, failed.attempt.error, failed.succeeded) == (*expected, False)
    assert [request.path for request in receiver.received] == ["/hook"]
    sandbox.advance(60)
    (again,) = sandbox.klaviyo.deliver_due(ACCOUNT)
    assert again.succeeded
    assert ids(receiver.received[-1]) == [event.id]


def test_a_new_try_is_signed_anew_with_the_secret_of_then(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.statuses = [500]
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    assert patch(sandbox, webhook, secret_key="canary-newer-secret") == 200
    sandbox.advance(60)
    sandbox.klaviyo.deliver_due(ACCOUNT)
    first, second = receiver.received
    timestamp = second.headers["klaviyo-timestamp"]
    assert timestamp == "Thu, 04 Jan 2024 18:06:25 GMT"
    assert first.headers["klaviyo-timestamp"] != timestamp
    assert second.headers["klaviyo-signature"] == sign("canary-newer-secret", second.body, timestamp)
    assert json.loads(second.body)["meta"]["timestamp"] == "2024-01-04T13:06:25.250000+00:00"


def test_waits_double_up_to_an_hour_until_48_hours_have_passed(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.status = 500
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
        sandbox.advance(minutes * 60 - 1)
        assert sandbox.klaviyo.deliver_due(ACCOUNT) == []
        sandbox.advance(1)
        assert len(sandbox.klaviyo.deliver_due(ACCOUNT)) == 1
    while enabled(sandbox) == [True]:
        sandbox.advance(HOUR)
        assert len(sandbox.klaviyo.deliver_due(ACCOUNT)) == 1
    assert 48 * HOUR < sandbox.clock() - NOW <= 49 * HOUR
    sandbox.advance(HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []


def test_a_success_in_between_begins_the_48_hours_anew(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.statuses = [500, 202, 500, 500, 500]
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    sandbox.advance(47 * HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT)[0].succeeded
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    sandbox.advance(48 * HOUR)
    sandbox.klaviyo.deliver_due(ACCOUNT)
    assert enabled(sandbox) == [True]
    sandbox.advance(HOUR)
    sandbox.klaviyo.deliver_due(ACCOUNT)
    assert enabled(sandbox) == [False]


def test_a_disabled_webhook_enabled_again_is_sent_only_what_happens_from_then_on(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.status = 500
    happen(sandbox, 3)
    sandbox.klaviyo.deliver(ACCOUNT, batch=1)
    sandbox.advance(49 * HOUR)
    # The first of the three ends it; the others are not even tried.
    assert len(sandbox.klaviyo.deliver_due(ACCOUNT)) == 1
    assert enabled(sandbox) == [False]
    happen(sandbox)
    assert sandbox.klaviyo.deliver(ACCOUNT) == []
    happen(sandbox)  # still in the outbox when the webhook is enabled

    receiver.status = 202
    assert patch(sandbox, webhook, enabled=True) == 200
    (newest,) = happen(sandbox)
    sandbox.advance(49 * HOUR)
    (delivery,) = sandbox.klaviyo.deliver(ACCOUNT)
    assert delivery.succeeded
    assert ids(receiver.received[-1]) == [newest.id]
    assert sandbox.klaviyo.deliver(ACCOUNT) == []


def test_what_waits_for_a_webhook_is_gone_once_it_was_off_for_a_moment(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.statuses = [500]
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    assert [patch(sandbox, webhook, enabled=False)] == [200]
    sandbox.advance(1)
    assert [patch(sandbox, webhook, enabled=True)] == [200]
    sandbox.advance(2 * HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []


def test_a_patch_of_an_enabled_webhook_loses_nothing(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    happen(sandbox)
    assert patch(sandbox, webhook, enabled=True, description="The same") == 200
    assert len(sandbox.klaviyo.deliver(ACCOUNT)) == 1


def test_what_happened_before_a_webhook_was_made_is_not_for_it(sandbox: Sandbox, receiver: Receiver) -> None:
    happen(sandbox)
    webhook = a_webhook(sandbox, receiver)
    (event,) = happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    assert [ids(request) for request in receiver.received] == [[event.id]]
    assert receiver.received[0].headers["klaviyo-webhook-id"] == webhook.id


def test_nor_is_it_for_one_made_over_the_api(sandbox: Sandbox, receiver: Receiver) -> None:
    happen(sandbox)
    attributes = {"name": "Omneo acme", "endpoint_url": receiver.url, "secret_key": SECRET}
    topics = {"webhook-topics": {"data": [{"type": "webhook-topic", "id": UNSUBSCRIBED}]}}
    document = {"data": {"type": "webhook", "attributes": attributes, "relationships": topics}}
    url = f"{sandbox.klaviyo.url}/api/webhooks"
    assert requests.post(url, data=json.dumps(document), headers=API_HEADERS, timeout=60).status_code == 201
    (event,) = happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    assert [ids(request) for request in receiver.received] == [[event.id]]


def test_a_webhook_that_was_removed_is_sent_nothing_more(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.status = 500
    happen(sandbox)
    sandbox.klaviyo.deliver(ACCOUNT)
    del account(sandbox).webhooks[webhook.id]
    sandbox.advance(HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []


@pytest.mark.parametrize("drip", [0.0, 0.02])
def test_an_answer_after_its_time_is_none(
    sandbox: Sandbox,
    receiver: Receiver,
    webhook: Webhook,
    monkeypatch: pytest.MonkeyPatch,
    drip: float,
) -> None:
    monkeypatch.setattr(klaviyo_delivery, "ANSWER_SECONDS", 0.2)
    released = threading.Event()
    receiver.drip = drip  # 60 bytes in well over 0.2 seconds, each of them in time
    if not drip:
        receiver.meanwhile = lambda: released.wait(60)
    happen(sandbox)
    (delivery,) = sandbox.klaviyo.deliver(ACCOUNT)
    released.set()
    assert (delivery.attempt.status, delivery.attempt.error, delivery.succeeded) == (None, "Timeout", False)
    assert delivery.attempt.seconds >= 0.2
    receiver.drip, receiver.meanwhile = 0.0, lambda: None
    sandbox.advance(60)
    assert sandbox.klaviyo.deliver_due(ACCOUNT)[0].succeeded


def test_five_seconds_are_allowed() -> None:
    assert klaviyo_delivery.ANSWER_SECONDS == 5.0


def test_the_receiver_may_call_back_and_cause_more_events(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(klaviyo_delivery, "ANSWER_SECONDS", 60)  # so long would it wait for itself
    seen: list[object] = []

    def call_back() -> None:
        seen.append(patch(sandbox, webhook, description="Seen"))
        if len(seen) == 1:
            happen(sandbox, topic=SUBSCRIBED)
            seen.append(len(sandbox.klaviyo.deliver(ACCOUNT)))

    receiver.meanwhile = call_back
    happen(sandbox)
    (delivery,) = sandbox.klaviyo.deliver(ACCOUNT)
    assert delivery.succeeded
    assert delivery.attempt.seconds < 50
    assert seen == [200, 429, 1]  # the second PATCH within a second
    topics = [row["topic"] for request in receiver.received for row in rows(request)]
    assert topics == [UNSUBSCRIBED, SUBSCRIBED]


def test_deliveries_at_once_send_every_event_once(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    receiver.statuses = [500] * 5
    events = happen(sandbox, 30)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: sandbox.klaviyo.deliver(ACCOUNT, batch=5), range(8)))
        failed = len(receiver.received)
        sandbox.advance(60)
        list(pool.map(lambda _: sandbox.klaviyo.deliver_due(ACCOUNT), range(8)))
    assert failed == 6
    assert len(receiver.received) == 6 + 5
    assert {id for request in receiver.received[5:] for id in ids(request)} <= {event.id for event in events}
    done = [delivery for delivery in sandbox.klaviyo.webhook_deliveries(ACCOUNT) if delivery.succeeded]
    assert sum(delivery.events for delivery in done) == 30


@pytest.mark.parametrize(
    ("forgery", "header", "meta_account"),
    [
        ({"sign_with": "canary-wrong-secret"}, None, ACCOUNT),
        ({"webhook_id_header": "01OTHER"}, "01OTHER", ACCOUNT),
        ({"account_id": "Other1"}, None, "Other1"),
    ],
)
def test_a_forgery_is_wrong_in_one_thing_and_leaves_the_outbox_as_it_is(
    sandbox: Sandbox,
    receiver: Receiver,
    webhook: Webhook,
    forgery: dict[str, Any],
    header: str | None,
    meta_account: str,
) -> None:
    receiver.statuses = [401]
    (event,) = happen(sandbox)
    (refused,) = sandbox.klaviyo.deliver(ACCOUNT, **forgery)
    assert refused.attempt.status == 401
    (request,) = receiver.received
    timestamp, secret = request.headers["klaviyo-timestamp"], forgery.get("sign_with", SECRET)
    assert request.headers["klaviyo-signature"] == sign(secret, request.body, timestamp)
    assert request.headers["klaviyo-webhook-id"] == (header or webhook.id)
    meta = json.loads(request.body)["meta"]
    assert (meta["klaviyo_webhook_id"], meta["klaviyo_account_id"]) == (webhook.id, meta_account)

    sandbox.advance(49 * HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []
    (genuine,) = sandbox.klaviyo.deliver(ACCOUNT)
    assert genuine.succeeded
    assert ids(receiver.received[-1]) == [event.id]
    assert enabled(sandbox) == [True]


def test_any_body_can_be_sent_signed(sandbox: Sandbox, receiver: Receiver, webhook: Webhook) -> None:
    receiver.status = 400
    delivery = sandbox.klaviyo.send_raw(ACCOUNT, webhook.id, b"\xff not json")
    (request,) = receiver.received
    assert request.body == b"\xff not json"
    timestamp = request.headers["klaviyo-timestamp"]
    assert request.headers["klaviyo-signature"] == sign(SECRET, request.body, timestamp)
    assert request.headers["klaviyo-webhook-id"] == webhook.id
    assert (delivery.attempt.status, delivery.events) == (400, 0)
    assert sandbox.klaviyo.webhook_deliveries(ACCOUNT) == [delivery]
    sandbox.advance(49 * HOUR)
    assert sandbox.klaviyo.deliver_due(ACCOUNT) == []
    with pytest.raises(KeyError):
        sandbox.klaviyo.send_raw(ACCOUNT, "01OTHER", b"")


@given(
    outcomes=st.lists(st.sampled_from([202, 500, None]), max_size=60),
    waits=st.lists(st.floats(60, 7200), min_size=60, max_size=60),
)
def test_an_event_waits_exactly_as_long_as_it_is_undelivered_and_its_webhook_enabled(
    outcomes: list[int | None], waits: list[float]
) -> None:
    events = Account(ACCOUNT, Clock(lambda: NOW), Identifiers(seed=1))
    event = events.record(UNSUBSCRIBED, METRIC, "01P", {})
    webhook = Webhook("01W", "Omneo", "https://example.org", SECRET, [UNSUBSCRIBED], NOW)
    parcels, now, failing_since, delivered = Parcels(), NOW, None, False
    due = parcels.pack([event], [webhook], batch=1, copies=1, shuffle=None)
    for status, pause in zip(outcomes, waits, strict=False):
        for parcel in due:
            assert parcel.events == (event,)
            parcels.settle(parcel, WebhookDelivery("01W", 1, Attempt(now, 0.1, status)), webhook)
            delivered = status == 202
            failing_since = None if delivered else (now if failing_since is None else failing_since)
            assert webhook.enabled is (failing_since is None or now - failing_since <= 48 * HOUR)
        now += pause
        due = parcels.take_due(now)
        assert not due or (not delivered and webhook.enabled)
    if outcomes and not delivered and webhook.enabled:
        assert due or parcels.take_due(now + HOUR)


def test_what_is_due_is_delivered_by_itself_when_asked_and_no_longer_when_told(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    arrived, again = threading.Event(), threading.Event()
    receiver.statuses = [500]

    def note() -> None:
        (again if arrived.is_set() else arrived).set()

    receiver.meanwhile = note
    sandbox.klaviyo.auto_deliver = 0.01
    happen(sandbox)
    assert arrived.wait(60)
    for _ in range(100):
        sandbox.advance(60)  # until after the failure is settled
        if again.wait(0.05):
            break
    assert again.is_set()
    sandbox.klaviyo.auto_deliver = None
    assert [delivery.events for delivery in sandbox.klaviyo.deliver(ACCOUNT)] == []
    assert len(receiver.received) == 2


def test_stopping_the_sandbox_ends_the_rounds_and_what_they_were_at() -> None:
    with receiving() as receiver:
        with Sandbox(clock=lambda: NOW) as sandbox:
            a_webhook(sandbox, receiver)
            arrived = threading.Event()
            receiver.meanwhile = arrived.set
            sandbox.klaviyo.auto_deliver = 0.01
            happen(sandbox)
            assert arrived.wait(60)
        sent = len(receiver.received)
        happen(sandbox)
        assert sandbox.klaviyo.deliver(ACCOUNT) == []
        assert len(receiver.received) == sent
    assert not any(thread.is_alive() for thread in sandbox.klaviyo._rounds._threads)


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_rounds_without_a_pause_are_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Rounds(lambda: None).switch(seconds)


def test_switching_on_twice_leaves_one_round_at_a_time() -> None:
    counted = threading.Semaphore(0)
    rounds = Rounds(counted.release)
    for seconds in (60, 60, 0.01):
        rounds.switch(seconds)
    assert counted.acquire(timeout=60)
    assert [thread.is_alive() for thread in rounds._threads].count(True) == 1
    rounds.stop()


def test_a_delivery_is_ordered_and_read_from_outside_and_shows_no_secret(
    sandbox: Sandbox, receiver: Receiver, webhook: Webhook
) -> None:
    control = f"{sandbox.klaviyo.url}/_sandbox"

    def tell(action: str, **fields: Any) -> requests.Response:
        return requests.post(f"{control}/{action}", json={"account": ACCOUNT, **fields}, timeout=60)

    receiver.statuses = [500]
    happen(sandbox, 2)
    answers = [tell("deliver", batch=1, copies=2, seed=3)]
    sandbox.advance(60)
    answers += [tell("deliver-due"), tell("send-raw", webhook_id=webhook.id, body='{"canary": 1}')]
    answers += [requests.get(f"{control}/webhook-deliveries?account={ACCOUNT}", timeout=60)]
    assert [answer.status_code for answer in answers] == [200] * 4
    assert [len(answer.json()["deliveries"]) for answer in answers] == [4, 1, 1, 6]
    first = answers[0].json()["deliveries"][0]
    assert set(first) == {"webhook_id", "events", "sent_at", "seconds", "status", "error", "answer"}
    assert (first["webhook_id"], first["events"], first["status"], first["sent_at"]) == (
        webhook.id,
        1,
        500,
        NOW,
    )
    assert not any("canary" in answer.text or "/hook" in answer.text for answer in answers)
    assert tell("deliver", batch=0).status_code == 400
    assert tell("send-raw", webhook_id="01OTHER", body="").status_code == 400
    switches = f"{control}/switches"
    assert requests.post(switches, json={"auto_deliver": 30}, timeout=60).status_code == 200
    assert sandbox.klaviyo.auto_deliver == 30
    assert requests.post(switches, json={"auto_deliver": 0}, timeout=60).status_code == 400
    assert requests.post(switches, json={"auto_deliver": None}, timeout=60).status_code == 200
    assert sandbox.klaviyo.auto_deliver is None
