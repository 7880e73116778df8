"""A delivery of Klaviyo's, cut down: what is kept of each event, what is left out and why, and that nothing personal stays."""

import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.consent.rules.decisions import TOPICS
from shared.consent.rules.delivery import EVENTS_AT_ONCE, in_parts, read_delivery, read_event, read_row
from shared.consent_events import SystemEvent
from shared.errors import InvalidPayloadError
from shared.jobs.jobs import TASK_BYTES, SpreadEvents, write_job

NOW = datetime(2026, 11, 21, 10, 0, 0, 250_000, tzinfo=UTC)
HAPPENED = datetime(2026, 4, 13, 22, 16, 46, tzinfo=UTC)
UNSUBSCRIBED = "event:klaviyo.unsubscribed_from_email_marketing"


def a_row(topic: str = UNSUBSCRIBED, id: str = "73WCCK7JKtE", **attributes: Any) -> dict[str, Any]:
    """Return a row as Klaviyo delivers it; None takes an attribute out."""
    whole = {
        "timestamp": 1776118606,
        "event_properties": {"canary-anything": "canary-jane@example.org"},
        "datetime": "2023-11-20 18:12:21+00:00",
        "uuid": "58edf080-87d0-11ee-8001-895ec29a6280",
        **attributes,
    }
    return {
        "topic": topic,
        "external_id": id,
        "payload": {
            "data": {
                "type": "event",
                "id": id,
                "attributes": {name: value for name, value in whole.items() if value is not None},
                "relationships": {
                    "profile": {"data": {"type": "profile", "id": "01H"}},
                    "metric": {"data": {"type": "metric", "id": "ABC123"}},
                },
            }
        },
    }


def a_body(*rows: object) -> dict[str, Any]:
    """Return a whole delivery."""
    return {
        "meta": {
            "timestamp": "2026-04-13T22:50:12.101159+00:00",
            "klaviyo_webhook_id": "01KP4928STE8FKCWB6WDHZ4ZB7",
            "klaviyo_account_id": "WBhXHN",
            "version": "2024-06-28",
        },
        "data": list(rows),
    }


def event_of(row: object) -> SystemEvent:
    """Return the one event of a delivery that holds this row."""
    delivery = read_delivery(a_body(row), now=NOW)
    assert not delivery.left_out
    (event,) = delivery.events
    return event


def left_out(row: object) -> Counter[str]:
    """Return why nothing is kept of a delivery that holds this row."""
    delivery = read_delivery(a_body(row), now=NOW)
    assert delivery.events == ()
    return delivery.left_out


def without(row: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return the row without what stands at the path."""
    copy: dict[str, Any] = json.loads(json.dumps(row))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    del inner[path[-1]]
    return copy


def test_of_a_delivery_is_kept_who_sent_it_and_of_an_event_what_a_decision_needs() -> None:
    delivery = read_delivery(a_body(a_row()), now=NOW)
    assert (delivery.account, delivery.webhook_id) == ("WBhXHN", "01KP4928STE8FKCWB6WDHZ4ZB7")
    assert delivery.events == (
        SystemEvent(id="73WCCK7JKtE", topic="unsubscribed_from_email_marketing", profile="01H", at=HAPPENED),
    )


@pytest.mark.parametrize("topic", sorted(TOPICS))
def test_every_topic_of_the_table_is_taken(topic: str) -> None:
    assert event_of(a_row(f"event:klaviyo.{topic}")).topic == topic


@pytest.mark.parametrize(
    "topic",
    [
        "event:klaviyo.opened_email",
        "event:api.bounced_email",
        "event:klaviyo.Bounced_email",
        "event:klaviyo.",
        "bounced_email",
        "EVENT:klaviyo.bounced_email",
        "event:klaviyo.event:klaviyo.bounced_email",
        " event:klaviyo.bounced_email",
        "",
        None,
        7,
        {"id": "bounced_email"},
    ],
    ids=str,
)
def test_what_is_no_topic_of_the_table_is_counted(topic: Any) -> None:
    assert left_out(a_row(topic)) == {"unknown topic": 1}


class TestTime:
    @pytest.mark.parametrize(
        "text",
        [
            "2026-04-13 22:16:46+00:00",
            "2026-04-13T22:16:46+00:00",
            "2026-04-13T22:16:46Z",
            "2026-04-13T22:16:46.999999+00:00",
            "2026-04-14 08:16:46+10:00",
            "2026-04-13 22:16:46",
        ],
    )
    @pytest.mark.parametrize("seconds", [None, True, "1776118606x", [], 1e300, -(10**15)], ids=str)
    def test_where_the_seconds_say_no_time_its_words_do_with_a_blank_or_a_t(
        self, text: str, seconds: object
    ) -> None:
        assert event_of(a_row(timestamp=seconds, datetime=text)).at == HAPPENED

    @pytest.mark.parametrize(
        "spelled",
        [
            1776118606000,
            1776118606.0,
            "1776118606",
            "1776118606.5",
            " 1776118606000 ",
            "2026-04-13T22:16:46Z",
        ],
        ids=str,
    )
    def test_milliseconds_and_what_stands_in_a_text_are_times(self, spelled: object) -> None:
        assert event_of(a_row(timestamp=spelled, datetime=None)).at == HAPPENED

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda _: a_row(timestamp=None, datetime=None),
            lambda _: a_row(timestamp="now", datetime="soon"),
            lambda _: a_row(timestamp=None, datetime="0001-01-01T00:00:00+10:00"),
            lambda row: without(row, "payload", "data", "attributes"),
        ],
        ids=range(4),
    )
    def test_without_any_it_is_that_of_the_delivery(self, spoil: Callable[[Any], Any]) -> None:
        body = a_body(spoil(a_row()))
        body["meta"]["timestamp"] = "2026-04-13T22:50:12.101159+00:00"
        (event,) = read_delivery(body, now=NOW).events
        assert event.at == datetime(2026, 4, 13, 22, 50, 12, tzinfo=UTC)
        body["meta"].pop("timestamp")
        (event,) = read_delivery(body, now=NOW).events
        assert event.at == NOW.replace(microsecond=0)

    def test_the_seconds_go_before_the_words(self) -> None:
        assert event_of(a_row()).at == HAPPENED
        assert event_of(a_row(timestamp=1776118606.9, datetime="soon")).at == HAPPENED

    @pytest.mark.parametrize("seconds", [60, 5 * 3600, 10**9])
    def test_a_time_ahead_of_ours_is_now_so_that_later_decisions_count(self, seconds: int) -> None:
        ahead = int(NOW.timestamp()) + seconds
        assert event_of(a_row(timestamp=ahead)).at == NOW.replace(microsecond=0)

    def test_the_age_of_an_event_does_not_matter(self) -> None:
        assert event_of(a_row(timestamp=1)).at == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda row: without(row, "payload"),
        lambda row: without(row, "payload", "data"),
        lambda row: without(row, "payload", "data", "relationships"),
        lambda row: without(row, "payload", "data", "relationships", "profile", "data", "id"),
        lambda row: {**row, "payload": []},
        lambda row: {**row, "payload": {"data": "canary"}},
        lambda row: without({**row, "external_id": ""}, "payload", "data", "id"),
        lambda row: without({**row, "external_id": "x" * 201}, "payload", "data", "id"),
    ],
    ids=range(8),
)
def test_one_that_lacks_what_a_decision_needs_is_kept_apart_and_the_rest_goes_on(
    spoil: Callable[[dict[str, Any]], dict[str, Any]],
) -> None:
    delivery = read_delivery(a_body(spoil(a_row()), a_row(id="good")), now=NOW)
    assert [event.id for event in delivery.events] == ["good"]
    (row,) = delivery.unread
    assert row["topic"] == "event:klaviyo.unsubscribed_from_email_marketing"
    assert read_row(row, sent_at=NOW, now=NOW) is None
    assert "canary" not in repr(row)


def test_of_one_that_is_kept_apart_nothing_is_lost_that_reading_it_takes() -> None:
    row = without(a_row(), "external_id")
    (unread,) = read_delivery(a_body(without(row, "payload", "data", "id")), now=NOW).unread
    found = read_row({**unread, "external_id": "late"}, sent_at=NOW, now=NOW)
    assert found is not None
    assert (found.id, found.at, found.profile) == ("late", HAPPENED, "01H")


@pytest.mark.parametrize("row", [None, 1, "canary", [], [a_row()]], ids=range(5))
def test_what_is_no_event_at_all_is_counted(row: object) -> None:
    assert left_out(row) == {"unreadable": 1}


def test_an_event_that_has_no_external_id_goes_by_its_own() -> None:
    assert event_of(without(a_row(), "external_id")).id == "73WCCK7JKtE"
    assert event_of(without(a_row(), "payload", "data", "id")).id == "73WCCK7JKtE"


def test_ids_may_be_numbers() -> None:
    row = a_row()
    row["external_id"] = 73
    row["payload"]["data"]["relationships"]["profile"]["data"]["id"] = 42
    event = event_of(row)
    assert (event.id, event.profile) == ("73", "42")


@pytest.mark.parametrize(
    ("number", "id"), [(2**63 - 1, "9223372036854775807"), (2**63, "73WCCK7JKtE"), (True, "73WCCK7JKtE")]
)
def test_a_number_that_no_store_can_keep_is_no_id(number: object, id: str) -> None:
    assert event_of({**a_row(), "external_id": number}).id == id


def test_properties_need_not_be_there() -> None:
    others: tuple[object, ...] = (None, [], "canary", {})
    for properties in others:
        event = event_of(a_row(event_properties=properties))
        assert (event.bounce, event.method) == ("", "")


@pytest.mark.parametrize(
    "name", ["Bounce Type", "bounce_type", "bounceType", "$bounce_type", "BOUNCE TYPE", "Bounce-Type"]
)
@pytest.mark.parametrize(
    ("kind", "bounce"),
    [
        ("Hard", "hard"),
        ("hard", "hard"),
        ("HARD", "hard"),
        (" hard bounce ", "hard"),
        ("hard_bounce", "hard"),
        ("Hard-Bounce", "hard"),
        ("HardBounce", "hard"),
        ("HARD_BOUNCE", "hard"),
        ("Soft", "soft"),
        ("soft bounce", "soft"),
        ("SoftBounce", "soft"),
        ("", ""),
        ("Blocked", ""),
        ("not hard", ""),
        (None, ""),
        (1, ""),
        (["Hard"], ""),
    ],
    ids=str,
)  # fmt: skip
def test_however_a_bounce_is_spelled_it_is_hard_or_soft_or_unknown(
    name: str, kind: object, bounce: str
) -> None:
    row = a_row("event:klaviyo.bounced_email", event_properties={name: kind})
    assert event_of(row).bounce == bounce


@pytest.mark.parametrize(
    "name", ["custom_method_detail", "Custom Method Detail", "$custom_method_detail", "customMethodDetail"]
)
@pytest.mark.parametrize(
    ("detail", "method"),
    [("omneo", "omneo"), ("OMNEO", "omneo"), ("Omneo", "omneo"), ("canary-form", "other"), ("", ""), (None, ""), (["omneo"], "")],
    ids=str,
)  # fmt: skip
def test_our_mark_is_known_and_what_else_stands_there_is_not_kept(
    name: str, detail: object, method: str
) -> None:
    event = event_of(a_row(event_properties={name: detail}))
    assert event.method == method
    assert "canary" not in event.model_dump_json()


def test_nothing_personal_is_kept() -> None:
    properties = {
        "Bounce Type": "Hard canary-jane@example.org",
        "email": "canary-jane@example.org",
        "$phone_number": "canary-phone",
        "custom_method_detail": "canary-jane@example.org",
    }
    body = a_body(
        a_row("event:klaviyo.bounced_email", event_properties=properties), "canary-row", {"topic": "canary"}
    )
    delivery = read_delivery(body, now=NOW)
    assert delivery.events[0].bounce == "hard"
    assert "canary" not in repr(delivery)


@pytest.mark.parametrize(
    "body",
    [None, [], "canary", 1, {}, {"meta": {}}, {"data": []}, {"meta": [], "data": []}, {"meta": {}, "data": {}}, {"meta": None, "data": []}],
    ids=str,
)  # fmt: skip
def test_what_is_no_delivery_is_refused_without_a_word_of_it(body: object) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        read_delivery(body, now=NOW)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("meta", [{}, {"klaviyo_account_id": [7], "klaviyo_webhook_id": None}])
def test_a_sender_that_is_not_named_is_nobody(meta: dict[str, Any]) -> None:
    delivery = read_delivery({"meta": meta, "data": []}, now=NOW)
    assert (delivery.account, delivery.webhook_id) == ("", "")


def test_a_thousand_events_make_ten_parts_that_each_fit_a_task_and_lose_none() -> None:
    longest = "漢" * 200
    rows = [
        {**a_row(id=f"{number:03d}{longest[3:]}", timestamp=1776118606 + number % 7), "external_id": f"{number:03d}{longest[3:]}"}
        for number in range(1000)
    ]  # fmt: skip
    for number, row in enumerate(rows):
        row["payload"]["data"]["relationships"]["profile"]["data"]["id"] = f"{number % 40}{longest[2:]}"
    delivery = read_delivery(a_body(*rows), now=NOW)
    parts = list(in_parts(delivery.events))
    assert [len(part) for part in parts] == [EVENTS_AT_ONCE] * 10
    assert Counter(event.id for part in parts for event in part) == Counter(
        row["external_id"] for row in rows
    )
    for part in parts:
        job = SpreadEvents(tenant="acme", accepted_at=NOW, account="WBhXHN", events=part)
        assert len(write_job(job)) < TASK_BYTES / 4


def test_events_of_one_profile_travel_together_where_they_can() -> None:
    rows = [a_row(id=f"{number}") for number in range(200)]
    for number, row in enumerate(rows):
        row["payload"]["data"]["relationships"]["profile"]["data"]["id"] = f"{number % 20:02d}"
    parts = list(in_parts(read_delivery(a_body(*rows), now=NOW).events))
    profiles = [{event.profile for event in part} for part in parts]
    assert [len(part) for part in profiles] == [10, 10]
    assert list(in_parts(())) == []


def test_a_resource_of_get_event_is_read_as_a_delivered_one() -> None:
    row = a_row(event_properties={"Bounce Type": "Soft"})
    read = read_event("bounced_email", row["payload"]["data"], id="73WCCK7JKtE", now=NOW)
    assert read == event_of({**row, "topic": "event:klaviyo.bounced_email"})
    assert read_event("bounced_email", row["payload"]["data"], id="", now=NOW) is None
    assert read_event("bounced_email", None, id="1", now=NOW) is None


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = [
    ("topic",),
    ("external_id",),
    ("payload",),
    ("payload", "data"),
    ("payload", "data", "id"),
    ("payload", "data", "attributes"),
    ("payload", "data", "attributes", "timestamp"),
    ("payload", "data", "attributes", "datetime"),
    ("payload", "data", "attributes", "event_properties"),
    ("payload", "data", "relationships", "profile"),
    ("payload", "data", "relationships", "profile", "data", "id"),
]


@given(spoiled=st.lists(st.tuples(st.sampled_from(PATHS), json_values), min_size=1, max_size=3))
def test_whatever_stands_in_a_row_the_others_are_read(spoiled: list[tuple[tuple[str, ...], Any]]) -> None:
    row = a_row(id="spoiled")
    for path, value in spoiled:
        inner: Any = row
        for name in path[:-1]:
            inner = inner.get(name) if isinstance(inner, dict) else None
        if isinstance(inner, dict):
            inner[path[-1]] = value
    delivery = read_delivery(a_body(row, a_row(id="good")), now=NOW)
    assert delivery.events[-1].id == "good"
    assert len(delivery.events) + len(delivery.unread) + delivery.left_out.total() == 2
    assert all(event.at <= NOW + timedelta() for event in delivery.events)
