"""What a Flow's body asks for, what is refused and how it says so, when a reward expires, and what Omneo is sent."""

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.errors import InvalidPayloadError
from shared.rewards.rules.expiry import expiry_of, read_expiry, read_timezone
from shared.rewards.rules.reward import (
    ID_LENGTH,
    LARGEST_AMOUNT,
    META_KEY,
    RewardRequest,
    check_reward,
    fingerprint,
    is_known_by,
    omneo_reward,
    read_reward,
)
from tests.support.world import EMAIL

NOW = datetime(2026, 11, 26, 2, 0, tzinfo=UTC)
MELBOURNE = "Australia/Melbourne"  # 13:00 on the same day
PERSON = "01HCANARYPERSON"


def a_body(*, data: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """Return a body; a value that is `...` is left out."""
    whole = {
        "person_id": PERSON,
        "email": EMAIL,
        "data": {"reward_definition_id": 6, "amount": 10, **(data or {})},
        **changes,
    }
    whole["data"] = {name: value for name, value in whole["data"].items() if value is not ...}
    return {name: value for name, value in whole.items() if value is not ...}


def read(body: object) -> RewardRequest:
    request = read_reward(body, timezone=MELBOURNE)
    check_reward(request, most=None, now=NOW)
    return request


def test_the_least_that_a_body_must_say() -> None:
    request = read(a_body())
    assert (request.person_id, request.email, request.id) == (PERSON, EMAIL, "")
    assert (request.amount, request.definition_id, request.timezone) == (10, 6, MELBOURNE)
    assert (request.expires_at, request.meta, request.rest) == ("", {}, {})


@pytest.mark.parametrize(
    ("given", "amount"),
    [
        (10, 10), (0.01, 0.01), (1_000_000, 1_000_000), ("10", 10), ("10.50", 10.5), (" 7 ", 7), ("1,000.00", 1000.0),
        ("+5", 5), (".5", 0.5),
    ],
)  # fmt: skip
def test_an_amount_is_a_number_or_one_in_text(given: object, amount: float) -> None:
    assert read(a_body(data={"amount": given})).amount == amount


@pytest.mark.parametrize(
    "given",
    [
        ..., None, "", "None", 0, -1, "0", "-5", "0.00", 1_000_001, "1000001", 10**30, 1e300, math.nan, math.inf, -math.inf,
        "NaN", "inf", "1e3", "0x10", "ten", "$10", "10 AUD", "1,0", True, False, [], [10], {}, "1" * 500,
    ],
    ids=repr,
)  # fmt: skip
def test_any_other_amount_is_refused_by_name_and_not_repeated(given: object) -> None:
    with pytest.raises(InvalidPayloadError, match=r"^data\.amount must be a number above 0") as refused:
        read(a_body(data={"amount": given}))
    assert "AUD" not in str(refused.value)


amounts = (
    st.floats(0, 2 * LARGEST_AMOUNT) | st.integers(-10, 2 * LARGEST_AMOUNT) | st.decimals(-5, 10, places=2)
)


@given(amounts)
@example(float(LARGEST_AMOUNT))
@example(5e-324)
def test_an_amount_reads_the_same_as_number_and_as_text_and_only_in_its_bounds(amount: Any) -> None:
    number = float(amount)
    text = f"{number:.30f}" if isinstance(amount, float) else str(amount)
    for written in (number, text):
        is_in_bounds = 0 < float(written) <= LARGEST_AMOUNT
        try:
            read_amount = read(a_body(data={"amount": written})).amount
        except InvalidPayloadError:
            assert not is_in_bounds
        else:
            assert is_in_bounds
            assert read_amount == pytest.approx(number)


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(max_size=30) | st.integers(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=5,
    ),
    st.sampled_from(
        ["amount", "reward_definition_id", "timezone", "expires_at", "meta", "reward_definition_handle"]
    ),
)
def test_whatever_stands_in_a_field_is_read_or_refused_by_its_name(value: object, name: str) -> None:
    try:
        request = read(a_body(data={name: value}))
    except InvalidPayloadError as error:
        blamed = str(error).split(" ")[0]
    else:
        assert 0 < request.amount <= LARGEST_AMOUNT
        return
    assert blamed == f"data.{name}"


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, "object"),
        ([], "object"),
        ("text", "object"),
        ({}, "data is needed"),
        (a_body(data={}) | {"data": []}, "data is needed"),
        (a_body() | {"data": "x"}, "data is needed"),
        (a_body(person_id=...), "person_id is needed"),
        (a_body(email=...), "email is needed"),
        (a_body(person_id="", email=""), "person_id and email are both empty"),
        (a_body(person_id=None, email="None"), "person_id and email are both empty"),
        (a_body(person_id=" ", email=""), "person_id and email are both empty"),
        (a_body(person_id={}), "person_id must be text"),
        (a_body(email=[]), "email must be text"),
        (a_body(email=True), "email must be text"),
        (a_body(person_id="", email="canary-jane"), "email must be an email address"),
        (a_body(email="x" * 300), "email must have at most 255"),
        (a_body(id=True), "id must be text"),
        (a_body(id={}), "id must be text"),
        (a_body(id="x" * (ID_LENGTH + 1)), f"id must have at most {ID_LENGTH}"),
        (a_body(id="reward-"), "id lacks a part"),
        (a_body(id="birthday--2027"), "id lacks a part"),
        (a_body(id="birthday-2027-None"), "id lacks a part"),
        (a_body(person_id="null", email="{{ person.email }}"), "person_id and email are both empty"),
        (a_body(data={"reward_definition_id": ...}), "data.reward_definition_id is needed"),
        (a_body(data={"reward_definition_id": ""}), "data.reward_definition_id is needed"),
        (a_body(data={"reward_definition_id": "None"}), "data.reward_definition_id is needed"),
        (a_body(data={"reward_definition_id": False}), "data.reward_definition_id must be text"),
        (a_body(data={"reward_definition_id": [6]}), "data.reward_definition_id must be text"),
        (a_body(data={"meta": "text"}), "data.meta must be an object"),
        (a_body(data={"meta": [1]}), "data.meta must be an object"),
        (a_body(data={"timezone": "Melbourne"}), "data.timezone must be an IANA time zone"),
        (a_body(data={"timezone": "../../etc/passwd"}), "data.timezone must be"),
        (a_body(data={"timezone": "/etc/passwd"}), "data.timezone must be"),
        (a_body(data={"timezone": "Australia"}), "data.timezone must be"),
        (a_body(data={"timezone": 10}), "data.timezone must be"),
        (a_body(data={"expires_at": "soon"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2026-02-30"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "20271231"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": 20271231}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2027-W52-5"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2027-12-31T18"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "20271231T183000"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2027-12-31_18:30"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "31.12.2027"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2027-12-31 24:30"}), "data.expires_at must be a date"),
        (a_body(data={"expires_at": "2026-11-25"}), "data.expires_at must lie in the future"),
        (a_body(data={"expires_at": "2026-11-26 12:59:59"}), "data.expires_at must lie in the future"),
        (a_body(data={"expires_at": "0001-01-01T00:00:00+14:00"}), "data.expires_at must"),
        (a_body(data={"expires_at": 1790000000}), "data.expires_at must be a date"),
    ],
)  # fmt: skip
def test_refusals_name_the_field_and_never_the_value(body: object, says: str) -> None:
    with pytest.raises(InvalidPayloadError) as refused:
        read(body)
    assert str(refused.value).startswith(says) or says == "object"
    assert says in str(refused.value)
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize(
    ("given", "id"),
    [
        ("order-7", "order-7"), (7, "7"), (" 7 ", "7"), (7.0, "7"), ("7.0", "7"), ("\ufefforder-7\u200b", "order-7"),
        ("", ""), ("   ", ""), (None, ""), (..., ""), ("None", ""), ("null", ""), ("undefined", ""), ("{{ event.id }}", ""),
        ("x" * ID_LENGTH, "x" * ID_LENGTH),
    ],
)  # fmt: skip
def test_an_id_is_text_or_a_number_and_may_be_missing(given: object, id: str) -> None:
    assert read(a_body(id=given)).id == id


@pytest.mark.parametrize(
    ("given", "id"), [(6, 6), ("6", 6), (6.0, 6), ("6.0", 6), ("birthday", "birthday"), ("6a", "6a")]
)
def test_a_definition_is_named_by_number_also_in_text_or_by_text(given: object, id: object) -> None:
    assert read(a_body(data={"reward_definition_id": given})).definition_id == id


def test_a_definition_may_be_named_by_its_handle_alone() -> None:
    request = read(a_body(data={"reward_definition_id": ..., "reward_definition_handle": "birthday"}))
    sent = omneo_reward(request, profile_id="p", key="k")
    assert sent["reward_definition_handle"] == "birthday"
    assert "reward_definition_id" not in sent


def test_either_way_to_the_profile_is_enough() -> None:
    assert read(a_body(person_id="")).email == EMAIL
    assert read(a_body(email=None)).person_id == PERSON
    assert read(a_body(email="canary-no-address")).email == ""


@pytest.mark.parametrize("empty", ["", [], None, {}, ...])
def test_an_empty_meta_is_none(empty: object) -> None:
    assert read(a_body(data={"meta": empty})).meta == {}


def test_what_omneo_is_sent() -> None:
    data = {
        "amount": "12.5",
        "meta": {"flow": "birthday", META_KEY: "canary-forged"},
        "expires_at": "2026-12-24 18:00:00",
        "issued_at": "2026-11-26 00:00:00",
        "profile_id": "canary-somebody-else",
        "value_initial": 1_000_000,
        "value_remaining": 1_000_000,
        "custom": {"a": 1},
    }
    request = read(a_body(id="order-7", data=data))
    sent = omneo_reward(request, profile_id="p-1", key="order-7")
    assert sent == {
        "profile_id": "p-1",
        "reward_definition_id": 6,
        "value_initial": 12.5,
        "value_remaining": 12.5,
        "timezone": MELBOURNE,
        "expires_at": "2026-12-24 18:00:00",
        "external_id": "order-7",
        "meta": {"flow": "birthday", META_KEY: "order-7"},
        "issued_at": "2026-11-26 00:00:00",
        "custom": {"a": 1},
    }


def test_without_an_id_there_is_no_external_id_and_the_key_stands_in_meta() -> None:
    sent = omneo_reward(read(a_body()), profile_id="p-1", key="made-up")
    assert "external_id" not in sent
    assert sent["meta"] == {META_KEY: "made-up"}


@pytest.mark.parametrize(
    ("external_id", "meta", "known"),
    [
        ("order-7", None, True),
        (None, {META_KEY: "order-7"}, True),
        (None, [{META_KEY: "order-7"}], True),
        (None, [], False),
        (None, {"other": "order-7"}, False),
        (None, {META_KEY: "order-77"}, False),
        ("order-77", {META_KEY: None}, False),
        (None, "order-7", False),
        (None, None, False),
    ],
)
def test_how_a_reward_is_known_again(external_id: object, meta: object, known: bool) -> None:
    assert is_known_by("order-7", external_id=external_id, meta=meta) is known
    assert is_known_by("7", external_id=7, meta=None)


def test_the_tenants_own_limit_is_the_highest_amount_allowed() -> None:
    request = read(a_body(data={"amount": 50}))
    check_reward(request, most=None, now=NOW)
    check_reward(request, most=50.0, now=NOW)
    with pytest.raises(InvalidPayloadError, match=r"data\.amount.*reward_max_amount"):
        check_reward(request, most=49.99, now=NOW)


@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), max_size=5))
def test_a_fingerprint_does_not_depend_on_the_order_of_names(body: dict[str, Any]) -> None:
    turned = dict(reversed(body.items()))
    assert fingerprint(body) == fingerprint(turned) == fingerprint(json.loads(json.dumps(body)))
    assert fingerprint(body) != fingerprint({**body, "one more": 1})


# When it expires


@pytest.mark.parametrize(
    ("period", "period_type", "absolute", "expires_at"),
    [
        (30, "days", "", "2026-12-26 23:59:59"),
        ("30", "days", "", "2026-12-26 23:59:59"),
        (1, "day", "", "2026-11-27 23:59:59"),
        (2, "weeks", "", "2026-12-10 23:59:59"),
        (3, "months", "", "2027-02-26 23:59:59"),
        (15, "Months", "", "2028-02-26 23:59:59"),
        (1, "years", "", "2027-11-26 23:59:59"),
        (1, "years", "2026-12-31", "2027-11-26 23:59:59"),
        (None, "", "2026-12-31", "2026-12-31 23:59:59"),
        (0, "days", "2026-12-31 00:00:00", "2026-12-31 23:59:59"),
        (1, "absolute_date", "2026-12-31 00:00:00", "2026-12-31 23:59:59"),
        (None, "absolute_days", "2026-12-31T13:00:00.000000Z", "2027-01-01 23:59:59"),
        (None, "", "2026-11-26", "2026-11-26 23:59:59"),
    ],
)
def test_a_definition_says_when_its_rewards_expire(
    period: object, period_type: str, absolute: str, expires_at: str
) -> None:
    given = expiry_of(
        period=period, period_type=period_type, absolute_expiry=absolute, timezone=MELBOURNE, now=NOW
    )
    assert given == expires_at


@pytest.mark.parametrize(
    ("period", "period_type", "absolute"),
    [
        (None, "", ""), (0, "days", ""), (-1, "days", ""), (1.5, "days", ""), (1, "", ""), (1, "fortnights", ""),
        (1, "absolute_date", ""), (None, "", "soon"), (None, "", "2026-11-25"), (10**9, "days", ""), (99_999, "years", ""),
        ("x", "days", ""), (True, "days", ""), (math.inf, "days", ""),
    ],
)  # fmt: skip
def test_where_a_definition_does_not_say_the_call_has_to(
    period: object, period_type: str, absolute: str
) -> None:
    with pytest.raises(InvalidPayloadError, match=r"^data\.expires_at is needed"):
        expiry_of(
            period=period, period_type=period_type, absolute_expiry=absolute, timezone=MELBOURNE, now=NOW
        )


@pytest.mark.parametrize(
    ("now", "timezone", "expires_at"),
    [
        ("2026-11-26T12:59:59Z", MELBOURNE, "2026-11-27 23:59:59"),
        ("2026-11-26T13:00:00Z", MELBOURNE, "2026-11-28 23:59:59"),  # midnight there
        ("2026-11-26T04:00:00Z", "America/New_York", "2026-11-26 23:59:59"),
        ("2026-11-26T04:00:00Z", "UTC", "2026-11-27 23:59:59"),
        ("2026-10-03T15:00:00Z", MELBOURNE, "2026-10-05 23:59:59"),  # the night the clocks go forward
    ],
)
def test_days_are_counted_in_the_rewards_own_time_zone(now: str, timezone: str, expires_at: str) -> None:
    moment = datetime.fromisoformat(now)
    given = expiry_of(period=1, period_type="days", absolute_expiry="", timezone=timezone, now=moment)
    assert given == expires_at


@pytest.mark.parametrize(
    ("day", "count", "unit", "last"),
    [
        ("2027-01-31", 1, "months", "2027-02-28"),
        ("2028-01-31", 1, "months", "2028-02-29"),
        ("2028-02-29", 1, "years", "2029-02-28"),
        ("2026-12-31", 1, "months", "2027-01-31"),
        ("2026-08-31", 18, "months", "2028-02-29"),
    ],
)
def test_a_month_that_is_too_short_ends_on_its_last_day(day: str, count: int, unit: str, last: str) -> None:
    now = datetime.fromisoformat(f"{day}T12:00Z")
    given = expiry_of(period=count, period_type=unit, absolute_expiry="", timezone="UTC", now=now)
    assert given == f"{last} 23:59:59"


@given(
    st.integers(1, 5000), st.sampled_from(["days", "weeks", "months", "years"]),
    st.integers(0, 2**31).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    st.sampled_from(["UTC", MELBOURNE, "America/New_York", "Asia/Kathmandu", "Pacific/Kiritimati"]),
)  # fmt: skip
def test_a_period_ends_in_the_future_at_the_end_of_a_day(
    period: int, unit: str, now: datetime, timezone: str
) -> None:
    text = expiry_of(period=period, period_type=unit, absolute_expiry="", timezone=timezone, now=now)
    assert text.endswith(" 23:59:59")
    assert datetime.fromisoformat(text).replace(tzinfo=read_timezone(timezone)) > now


@pytest.mark.parametrize(
    ("given", "expires_at"),
    [
        ("2026-12-31", "2026-12-31 23:59:59"),
        ("2026-12-31 18:30:00", "2026-12-31 18:30:00"),
        ("2026-12-31T18:30:00", "2026-12-31 18:30:00"),
        ("2026-12-31T18:30:00Z", "2027-01-01 05:30:00"),
        ("2026-12-31t18:30:00.250z", "2027-01-01 05:30:00"),
        ("2026-12-31 18:30+1100", "2026-12-31 18:30:00"),
        ("2026-12-31T18:30:00+11:00", "2026-12-31 18:30:00"),
        ("2026-11-26 13:00:01", "2026-11-26 13:00:01"),
    ],
)
def test_a_time_in_the_call_is_local_unless_it_says_otherwise(given: str, expires_at: str) -> None:
    assert read_expiry(given, MELBOURNE) == expires_at
    assert read(a_body(data={"expires_at": f" {given} "})).expires_at == expires_at


def test_the_calls_own_time_zone_is_used_for_its_expiry() -> None:
    request = read(a_body(data={"timezone": "America/New_York", "expires_at": "2026-11-25 21:00:01"}))
    assert (request.timezone, request.expires_at) == ("America/New_York", "2026-11-25 21:00:01")
