"""The system webhook's door: whom it believes, what it takes, and that Klaviyo never has a reason to give up on us."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr
from werkzeug.test import TestResponse

from deploy.local.sandbox.klaviyo.delivery import sign
from deploy.local.sandbox.klaviyo.parcels import WebhookDelivery
from shared.direction import Direction
from shared.jobs.jobs import TASK_BYTES, ReadEvents, SpreadEvents, read_job
from shared.tenants.secret_uses import KLAVIYO_DELIVERY
from shared.tenants.tenants import StoredSecret, Tenant
from tests.functions.refusals import error_of, with_a_broken_store
from tests.support.loading import Load
from tests.support.merchant import settle
from tests.support.world import ACCOUNT, EMAIL, SIGNING_SECRET, TENANT, WEBHOOK_SECRET, World, lines, serving

PATH = f"/{TENANT}/api/v1/webhooks/klaviyo/system"
WEBHOOK = "01KP4928STE8FKCWB6WDHZ4ZB7"
TIMESTAMP = "Sat, 21 Nov 2026 15:00:00 GMT"  # five hours ahead, as Klaviyo's are
JSON = "application/json"
HAPPENED = datetime(2026, 11, 21, 9, 59, tzinfo=UTC)


@pytest.fixture
def door(world: World, load: Load) -> FlaskClient:
    """Return the function, with an installed tenant in the store."""
    world.tenant()
    return load("system_webhooks", world.environment)


@pytest.fixture
def broken(world: World, load: Load, tmp_path: Path) -> FlaskClient:
    """Return the function with a store that cannot answer."""
    return load("system_webhooks", with_a_broken_store(world.environment, tmp_path))


def a_row(
    number: int = 1, topic: str = "unsubscribed_from_email_marketing", profile: str = "01PROFILE"
) -> dict[str, Any]:
    """Return an event as Klaviyo delivers it, with something personal in it."""
    return {
        "topic": f"event:klaviyo.{topic}",
        "external_id": f"event-{number}",
        "payload": {
            "data": {
                "type": "event",
                "id": f"event-{number}",
                "attributes": {
                    "timestamp": int(HAPPENED.timestamp()),
                    "event_properties": {"email": EMAIL, "padding": "canary" * 50},
                    "datetime": "2026-11-21 09:59:00+00:00",
                    "uuid": "58edf080-87d0-11ee-8001-895ec29a6280",
                },
                "relationships": {"profile": {"data": {"type": "profile", "id": profile}}},
            }
        },
    }


def a_body(*rows: object, account: str = ACCOUNT, webhook: str = WEBHOOK) -> bytes:
    """Return a delivery; one event of one profile unless rows are given."""
    meta = {
        "timestamp": "2026-11-21T10:00:00+00:00",
        "klaviyo_webhook_id": webhook,
        "klaviyo_account_id": account,
        "version": "2024-06-28",
    }
    return json.dumps({"meta": meta, "data": list(rows) or [a_row()]}).encode()


def signed(body: bytes, secret: str = WEBHOOK_SECRET, **changes: str) -> dict[str, str]:
    """Return the headers of a delivery that Klaviyo signed; a header that is changed to "" is left out."""
    headers = {
        "Content-Type": JSON,
        "Klaviyo-Signature": sign(secret, body, TIMESTAMP),
        "Klaviyo-Timestamp": TIMESTAMP,
        "Klaviyo-Webhook-Id": WEBHOOK,
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    return {name: value for name, value in headers.items() if value}


def deliver(client: FlaskClient, body: bytes, path: str = PATH, **changes: str) -> TestResponse:
    """Deliver as Klaviyo does."""
    return client.post(path, data=body, headers=signed(body, **changes))


def queued(world: World, tenant: str = TENANT) -> list[bytes]:
    """Return the bodies of the tasks on the tenant's inbound queue."""
    return world.queued(Direction.INBOUND, tenant)


def jobs(world: World, tenant: str = TENANT) -> list[SpreadEvents]:
    """Return the jobs on the tenant's inbound queue, which are all of one kind."""
    read = [read_job(body) for body in queued(world, tenant)]
    spreads = [job for job in read if isinstance(job, SpreadEvents)]
    assert len(spreads) == len(read)
    return spreads


class TestWhatIsTaken:
    def test_a_signed_delivery_is_queued_with_what_is_needed_and_nothing_personal(
        self, door: FlaskClient, world: World
    ) -> None:
        answer = deliver(door, a_body())
        assert answer.status_code == 202
        assert answer.get_json() == {"status": "queued", "events": 1, "left_out": {}}
        (job,) = jobs(world)
        assert (job.tenant, job.account, job.accepted_at) == (TENANT, ACCOUNT, job.accepted_at)
        (event,) = job.events
        assert (event.id, event.topic) == ("event-1", "unsubscribed_from_email_marketing")
        assert (event.profile, event.at) == ("01PROFILE", HAPPENED)
        assert b"canary" not in b"".join(queued(world))

    def test_a_delivery_is_as_good_however_old_it_is(self, door: FlaskClient, world: World) -> None:
        body, long_ago = a_body(), "Thu, 04 Jan 2024 18:05:25 GMT"
        headers = signed(body) | {
            "Klaviyo-Timestamp": long_ago,
            "Klaviyo-Signature": sign(WEBHOOK_SECRET, body, long_ago),
        }
        assert door.post(PATH, data=body, headers=headers).status_code == 202
        assert len(jobs(world)) == 1

    @pytest.mark.parametrize(
        "content_type", [JSON, "application/json; charset=utf-8", "application/vnd.api+json"]
    )
    def test_json_may_be_named_as_it_is(self, door: FlaskClient, content_type: str) -> None:
        body = a_body()
        assert door.post(PATH, data=body, headers=signed(body, Content_Type=content_type)).status_code == 202

    def test_what_is_not_ours_is_counted_and_the_rest_queued(self, door: FlaskClient, world: World) -> None:
        rows = [a_row(1), a_row(2, "opened_email"), {"topic": "event:api.viewed_product"}, 7, a_row(3)]
        answer = deliver(door, a_body(*rows))
        assert answer.get_json() == {
            "status": "queued",
            "events": 2,
            "left_out": {"unknown topic": 2, "unreadable": 1},
        }
        assert [event.id for job in jobs(world) for event in job.events] == ["event-1", "event-3"]

    @pytest.mark.parametrize(
        "odd",
        [b"NaN", b"-Infinity", b"1e999", b"9" * 5000, b'"\\ud83d"', b"[" * 100 + b"]" * 100, b'{"a":' * 50 + b"1" + b"}" * 50],
        ids=range(7),
    )  # fmt: skip
    def test_an_odd_value_somewhere_in_one_event_keeps_no_other_from_being_taken(
        self, door: FlaskClient, world: World, odd: bytes
    ) -> None:
        body = a_body(a_row(1), a_row(2)).replace(
            b'"padding": "canary', b'"odd": ' + odd + b', "padding": "canary', 1
        )
        assert odd in body
        answer = deliver(door, body)
        assert (answer.status_code, answer.get_json()["events"]) == (202, 2)
        assert [event.id for job in jobs(world) for event in job.events] == ["event-1", "event-2"]

    @pytest.mark.parametrize(
        "place", [b'"external_id": "event-1"', b'"id": "event-1"', b'"id": "01PROFILE"', b'"timestamp": 17']
    )
    def test_nor_does_one_where_it_matters(self, door: FlaskClient, world: World, place: bytes) -> None:
        name = place.partition(b":")[0]
        odd = name + b': "\\udfff"' if b"id" in name else name + b": NaN"
        rest = b', "x": 17' if name == b'"timestamp"' else b""
        body = a_body(a_row(1), a_row(2)).replace(place, odd + rest, 1)
        answer = deliver(door, body)
        assert answer.status_code == 202
        assert answer.get_json()["events"] + answer.get_json()["left_out"].get("unreadable", 0) == 2
        # What cannot be read is queued as it came, beside the others, and is never dropped.
        read = [read_job(body) for body in queued(world)]
        taken = [event.id for job in read if isinstance(job, SpreadEvents) for event in job.events]
        unread = [row for job in read if isinstance(job, ReadEvents) for row in job.rows]
        assert "event-2" in taken
        assert len(taken) + len(unread) == 2

    def test_nothing_is_queued_for_nothing(self, door: FlaskClient, world: World) -> None:
        assert deliver(door, a_body(a_row(1, "opened_email"))).status_code == 202
        assert jobs(world) == []

    def test_a_thousand_events_are_ten_small_tasks_and_not_one_write_for_each(
        self, door: FlaskClient, world: World
    ) -> None:
        deliver(door, a_body())  # the uses of the secret are noted once in ten minutes
        before = (len(queued(world)), Path(world.environment["STORE"].partition(":")[2]).read_bytes())
        rows = [a_row(number, profile=f"01P{number % 300}") for number in range(1000)]
        answer = deliver(door, a_body(*rows))
        assert (answer.status_code, answer.get_json()["events"]) == (202, 1000)
        bodies = queued(world)[before[0] :]
        assert len(bodies) == 10
        assert max(map(len, bodies)) < TASK_BYTES / 20
        taken = [event.id for job in jobs(world)[before[0] :] for event in job.events]
        assert sorted(taken) == sorted(f"event-{number}" for number in range(1000))
        assert Path(world.environment["STORE"].partition(":")[2]).read_bytes() == before[1]

    def test_the_jobs_belong_to_the_trace_of_the_call(self, door: FlaskClient, world: World) -> None:
        trace = f"00-{'a' * 32}-{'b' * 16}-01"
        body = a_body()
        door.post(PATH, data=body, headers=signed(body) | {"traceparent": trace})
        assert [job.traceparent for job in jobs(world)] == [trace]

    def test_the_doctor_sees_when_klaviyo_last_delivered(self, door: FlaskClient, world: World) -> None:
        body = a_body()
        door.post(PATH, data=body, headers=signed(body, "canary-wrong"))
        assert world.services.secret_uses.last(TENANT) == {}
        deliver(door, body)
        uses = world.services.secret_uses.last(TENANT)
        assert set(uses) == {KLAVIYO_DELIVERY, world.read().webhook_secrets[0].id}


class TestWhoseDeliveryItIs:
    @pytest.mark.parametrize("used", [0, 1], ids=["new", "old"])
    def test_the_new_secret_and_the_old_may_sign_until_one_is_ended(
        self, door: FlaskClient, world: World, used: int
    ) -> None:
        values = ("canary-new-webhook-secret", WEBHOOK_SECRET)
        secrets = tuple(StoredSecret(value=SecretStr(value), created_at=world.clock()) for value in values)

        def keep(*kept: StoredSecret) -> None:
            world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"webhook_secrets": kept}))

        keep(*secrets)
        assert deliver(door, a_body(), secret=values[used]).status_code == 202
        assert secrets[used].id in world.services.secret_uses.last(TENANT)

    def test_one_that_was_ended_signs_nothing_any_more(self, world: World, load: Load) -> None:
        secret = StoredSecret(value=SecretStr("canary-new-webhook-secret"), created_at=world.clock())
        world.tenant(webhook_secrets=(secret,))
        door = load("system_webhooks", world.environment)
        assert deliver(door, a_body()).status_code == 401

    def test_a_secret_that_was_made_a_moment_ago_signs_although_the_tenant_is_cached(
        self, door: FlaskClient, world: World
    ) -> None:
        assert deliver(door, a_body()).status_code == 202
        fresh = StoredSecret(value=SecretStr("canary-new-webhook-secret"), created_at=world.clock())

        def add(tenant: Tenant) -> Tenant:
            return tenant.model_copy(update={"webhook_secrets": (fresh, *tenant.webhook_secrets)})

        world.services.tenants.change(TENANT, add)
        assert deliver(door, a_body(), secret="canary-new-webhook-secret").status_code == 202

    @pytest.mark.parametrize(
        "changes",
        [
            {"Klaviyo_Signature": ""},
            {"Klaviyo_Signature": "0" * 64},
            {"Klaviyo_Signature": "é"},
            {"Klaviyo_Timestamp": ""},
            {"Klaviyo_Timestamp": "Sat, 21 Nov 2026 10:00:00 GMT"},
            {"secret": "canary-wrong"},
            {"secret": SIGNING_SECRET},
            {"secret": ""},
            {"Klaviyo_Signature": "", "x_omneo_secret": WEBHOOK_SECRET},
        ],
        ids=range(9),
    )
    def test_every_wrong_signature_is_the_same_401_whether_there_is_such_a_tenant_or_not(
        self, door: FlaskClient, world: World, changes: dict[str, str]
    ) -> None:
        for body in (a_body(), b"{", b""):
            theirs = deliver(door, body, **changes)
            nobodys = deliver(door, body, path=PATH.replace(TENANT, "nobody"), **changes)
            assert (theirs.status_code, error_of(theirs)["code"]) == (401, "unauthorized")
            assert theirs.get_data() == nobodys.get_data()
            assert dict(theirs.headers) == dict(nobodys.headers)
        assert jobs(world) == []

    def test_a_good_signature_opens_no_other_tenant(self, door: FlaskClient, world: World) -> None:
        other = StoredSecret(value=SecretStr("canary-other-secret"), created_at=world.clock())
        world.tenant("acme-stg", webhook_secrets=(other,))
        assert deliver(door, a_body(), path=PATH.replace(TENANT, "acme-stg")).status_code == 401

    @pytest.mark.parametrize(
        "header", ["", "01KP4928STE8FKCWB6WDHZ4ZB8", WEBHOOK.lower(), f"{WEBHOOK} {WEBHOOK}"]
    )
    def test_header_and_body_must_name_the_same_webhook(
        self, door: FlaskClient, world: World, header: str
    ) -> None:
        answer = deliver(door, a_body(), Klaviyo_Webhook_Id=header)
        assert (answer.status_code, error_of(answer)["code"]) == (401, "unauthorized")
        assert jobs(world) == []

    def test_naming_none_at_either_place_is_not_the_same(self, door: FlaskClient) -> None:
        assert deliver(door, a_body(webhook=""), Klaviyo_Webhook_Id="").status_code == 401

    def test_a_delivery_of_another_account_is_202_and_not_applied(
        self, door: FlaskClient, world: World
    ) -> None:
        install_account(world)
        answer = deliver(door, a_body(a_row(1), a_row(2), account="Another"))
        assert answer.status_code == 202
        assert answer.get_json() == {"status": "queued", "events": 0, "left_out": {"another account": 2}}
        assert jobs(world) == []

    def test_a_tenant_without_an_account_is_202_so_that_a_webhook_left_behind_comes_to_rest(
        self, world: World, load: Load
    ) -> None:
        world.tenant(installed=False)
        answer = deliver(load("system_webhooks", world.environment), a_body())
        assert answer.get_json() == {"status": "queued", "events": 0, "left_out": {"not installed": 1}}
        assert answer.status_code == 202

    def test_one_that_was_installed_a_moment_ago_is_not_taken_for_the_cached_one(
        self, world: World, load: Load
    ) -> None:
        world.tenant(installed=False)
        door = load("system_webhooks", world.environment)
        assert deliver(door, a_body()).get_json()["events"] == 0
        world.install()
        assert deliver(door, a_body()).get_json()["events"] == 1

    def test_nor_one_that_has_changed_its_account(self, door: FlaskClient, world: World) -> None:
        assert deliver(door, a_body()).get_json()["events"] == 1

        def moved(tenant: Tenant) -> Tenant:
            return tenant.model_copy(update={"klaviyo_account_id": "NewAcc"})

        world.services.tenants.change(TENANT, moved)
        assert deliver(door, a_body(account="NewAcc")).get_json()["events"] == 1

    def test_a_disconnected_tenants_events_are_taken_because_omneo_needs_no_klaviyo(
        self, door: FlaskClient, world: World
    ) -> None:
        world.disconnect()
        assert deliver(door, a_body()).get_json()["events"] == 1
        assert len(jobs(world)) == 1

    def test_a_tenant_whose_tokens_an_operator_set_knows_no_account_and_takes_any(
        self, door: FlaskClient, world: World
    ) -> None:
        assert world.read().klaviyo_account_id == ""
        assert deliver(door, a_body(account="Whichever")).get_json()["events"] == 1


class TestWhatIsRefused:
    @pytest.mark.parametrize(
        "path",
        [
            "/",
            "/acme/api/v1/webhooks/klaviyo",
            PATH + "/",
            PATH + "s",
            "/Acme/api/v1/webhooks/klaviyo/system",
            "/-acme/api/v1/webhooks/klaviyo/system",
            f"/{'a' * 41}/api/v1/webhooks/klaviyo/system",
            "//acme/api/v1/webhooks/klaviyo/system",
            "/acme/api/v1/webhooks/klaviyo/rewards",
            "/tasks/inbound",
        ],
    )
    def test_what_is_no_path_is_404_before_the_store_is_asked(self, broken: FlaskClient, path: str) -> None:
        answer = deliver(broken, a_body(), path=path)
        assert (answer.status_code, error_of(answer)["code"]) == (404, "not_found")

    @pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH"])
    def test_other_methods_are_refused_with_the_one_that_works(
        self, broken: FlaskClient, method: str
    ) -> None:
        answer = broken.open(PATH, method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "POST")

    @pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
    def test_what_is_not_said_to_be_json_is_415(self, door: FlaskClient, content_type: str) -> None:
        answer = deliver(door, a_body(), Content_Type=content_type)
        assert (answer.status_code, error_of(answer)["code"]) == (415, "unsupported_media_type")

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{",
            b"[]",
            b"null",
            b'"canary"',
            b"\xff",
            b"[" * 100_000,
            b'{"meta": {}}',
            b'{"meta": {}, "data": {}}',
            b'{"meta": [], "data": []}',
            b'{"meta": {}, "data": [nan]}',
        ],
        ids=range(11),
    )
    def test_what_is_no_delivery_is_400(self, door: FlaskClient, world: World, body: bytes) -> None:
        answer = deliver(door, body)
        assert (answer.status_code, error_of(answer)["code"]) == (400, "invalid_payload")
        assert jobs(world) == []

    def test_who_is_calling_is_asked_before_what(self, door: FlaskClient) -> None:
        assert deliver(door, b"{", secret="canary-wrong", Content_Type="text/plain").status_code == 401

    def test_more_than_25_mb_is_413_and_25_mb_are_read(self, door: FlaskClient, world: World) -> None:
        answer = deliver(door, b" " * 25_000_001)
        assert (answer.status_code, error_of(answer)["code"]) == (413, "payload_too_large")
        body = a_body()
        assert deliver(door, body + b" " * (25_000_000 - len(body))).status_code == 202
        assert len(jobs(world)) == 1

    def test_a_store_that_cannot_answer_is_503_and_never_401(self, broken: FlaskClient) -> None:
        for changes in ({}, {"secret": "canary-wrong"}, {"Klaviyo_Signature": ""}):
            answer = deliver(broken, a_body(), **changes)
            assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")
            assert int(answer.headers["Retry-After"]) > 0

    def test_a_queue_that_does_not_take_it_is_503_so_that_klaviyo_sends_it_again(
        self, world: World, load: Load
    ) -> None:
        world.tenant()

        def moved(tenant: Tenant) -> Tenant:
            queues = tenant.settings.model_copy(update={"namespace": "nowhere"})
            return tenant.model_copy(update={"settings": queues})

        world.services.tenants.change(TENANT, moved)
        answer = deliver(load("system_webhooks", world.environment), a_body())
        assert (answer.status_code, error_of(answer)["code"]) == (503, "unavailable")


def test_one_line_an_answer_says_how_many_and_nothing_personal(
    door: FlaskClient, capsys: pytest.CaptureFixture[str]
) -> None:
    deliver(door, a_body(a_row(1), a_row(2, "opened_email")))
    (line,) = lines(capsys.readouterr().out)
    assert (line["status"], line["tenant"]) == (202, TENANT)
    assert (line["events"], line["left_out"]) == (1, {"unknown topic": 1})


class TestDeliveredByKlaviyo:
    """The sandbox's own sender, which signs with a clock five hours ahead, delivers to the function over HTTP."""

    def deliveries(
        self, world: World, load: Load, *, secret: str = WEBHOOK_SECRET, **how: Any
    ) -> list[WebhookDelivery]:
        klaviyo, door = world.sandbox.klaviyo, load("system_webhooks", world.environment)
        app: Flask = door.application
        with serving(app) as url:
            topics = [
                f"event:klaviyo.{one}_email_marketing" for one in ("subscribed_to", "unsubscribed_from")
            ]
            klaviyo.webhook(
                ACCOUNT, "Omneo acme", endpoint_url=f"{url}{PATH}", secret_key=secret, topics=topics
            )
            for number in range(5):
                person = klaviyo.profile(ACCOUNT, email=f"canary-{number}@example.org")
                klaviyo.subscribe(ACCOUNT, person.id, at=world.clock.timestamp() - 20)
                klaviyo.unsubscribe(ACCOUNT, person.id, at=world.clock.timestamp() - 10)
            return list(klaviyo.deliver(ACCOUNT, **how))

    def test_what_happened_is_queued_once_for_each_request(self, world: World, load: Load) -> None:
        world.tenant()
        (delivery,) = self.deliveries(world, load)
        assert (delivery.attempt.status, delivery.events) == (202, 10)
        (job,) = jobs(world)
        assert job.account == ACCOUNT
        recorded = {event.id for event in world.sandbox.klaviyo.events(ACCOUNT)}
        assert {event.id for event in job.events} == recorded
        assert {event.at for event in job.events} == {
            world.clock() - timedelta(seconds=ago) for ago in (10, 20)
        }

    def test_copies_in_an_order_of_chance_are_all_taken(self, world: World, load: Load) -> None:
        world.tenant()
        done = self.deliveries(world, load, batch=3, copies=3, seed=7)
        assert {delivery.attempt.status for delivery in done} == {202}
        taken = [event.id for job in jobs(world) for event in job.events]
        assert len(taken) == 30
        assert len(set(taken)) == 10

    @pytest.mark.parametrize(
        ("forgery", "status"),
        [
            ({"sign_with": "canary-wrong-secret-key"}, 401),
            ({"webhook_id_header": "01KP4928STE8FKCWB6WDHZ4ZB7"}, 401),
            ({"account_id": "Another"}, 202),
        ],
        ids=str,
    )
    def test_a_forgery_gets_nothing_done(
        self, world: World, load: Load, forgery: Mapping[str, str], status: int
    ) -> None:
        world.tenant()
        install_account(world)
        (delivery,) = self.deliveries(world, load, **forgery)
        assert delivery.attempt.status == status
        assert jobs(world) == []

    def test_a_delivery_reaches_omneo(self, world: World, load: Load) -> None:
        world.tenant()
        jane = world.sandbox.omneo.profile(TENANT, email="canary-0@example.org")
        self.deliveries(world, load, copies=2, seed=3)
        settle(world, 30)
        comms = world.sandbox.omneo.comms(TENANT, jane["id"])
        assert (comms["email_promo"], comms["email_consent_updated_at"]) == (False, "2026-11-21 09:59:50")
        assert len(world.sandbox.omneo.interactions(TENANT)) == 2


def install_account(world: World) -> None:
    """Let the tenant know its account, as an install does."""
    world.services.tenants.change(TENANT, lambda t: t.model_copy(update={"klaviyo_account_id": ACCOUNT}))


header_text = st.text(
    st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=40
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.binary(max_size=200) | st.recursive(st.none() | st.text(max_size=5) | st.integers(), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["meta", "data", "topic", "payload"]), inner, max_size=3)).map(lambda value: json.dumps(value).encode()),
    extra=st.dictionaries(
        st.sampled_from(["Content-Type", "Klaviyo-Signature", "Klaviyo-Timestamp", "Klaviyo-Webhook-Id", "traceparent", "Content-Encoding"]),
        header_text,
        max_size=3,
    ),
)  # fmt: skip
def test_no_flood_of_malformed_calls_makes_the_function_fail(
    door: FlaskClient, body: bytes, extra: dict[str, str]
) -> None:
    answer = door.post(PATH, data=body, headers=signed(body) | extra)
    assert answer.status_code < 500
