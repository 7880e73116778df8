"""An exam for the readers: what means the same is read the same on every path, whoever writes it and in whatever spelling.

The paths are metric in its four shapes, reward, record and sync, each asked by its pure function.
"""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from shared.errors import InvalidPayloadError
from shared.metrics.rules.event import Metric, email_of, read_metric
from shared.metrics.rules.event_profile import with_phone
from shared.profiles.rules.calls import profile_id_of_event, profile_id_of_target, stored_klaviyo_id
from shared.profiles.rules.mapping import klaviyo_profile
from shared.records.rules.record import RECORD_ID, read_records
from shared.rewards.rules.reward import RewardRequest, read_reward
from tests.support.events import SHAPES, Shape, event, profile
from tests.support.world import EMAIL

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
OMNEO_ID = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"
KLAVIYO_ID = "01HXCANARY0000000000000000"

Json = dict[str, Any]

quick = settings(max_examples=60, deadline=None)


def metric(body: Json, name: str = "") -> Metric:
    return read_metric(body, metric_name=name, with_token=False, now=NOW, unique_id="fixed-id")


def reward(
    *,
    amount: object = 5,
    id: object = "r-1",
    expires_at: object = None,
    timezone: object = None,
    definition: object = 1,
    **person: object,
) -> RewardRequest:
    data = {
        "reward_definition_id": definition,
        "amount": amount,
        "expires_at": expires_at,
        "timezone": timezone,
    }
    return read_reward({"id": id, "person_id": "", "email": "", **person, "data": data}, timezone="UTC")


def record_id(value: object) -> object:
    (record,) = read_records({"data_source": "rewards", "record": {RECORD_ID: value}}, id="fixed-id").records
    return record[RECORD_ID]


def synced(**fields: object) -> Json:
    return dict(klaviyo_profile({"id": OMNEO_ID, **fields}, mappings={}, region="AU").attributes)


def custom(value: object, kind: str) -> object:
    """Return what a custom attribute of this type becomes."""
    row = {"namespace": "n", "handle": "h", "value": value, "type": kind}
    return synced(custom_attributes=[row])["properties"]["n:h"]


# Spellings

BLANKS = st.text(st.sampled_from(" \t\n\r\u00a0\u2003\u3000"), max_size=2)
INVISIBLE = st.text(st.sampled_from("\u200b\u200d\u200e\u2060\ufeff\u00ad\ufe0f\u2800"), max_size=2)
DIGITS = [
    "0123456789",
    "٠١٢٣٤٥٦٧٨٩",
    "०१२३४५६७८९",
    "\uff10\uff11\uff12\uff13\uff14\uff15\uff16\uff17\uff18\uff19",
]


def wide(text: str) -> str:
    """Return the text in full-width forms."""
    return "".join(chr(ord(letter) + 0xFEE0) if "!" <= letter <= "~" else letter for letter in text)


@st.composite
def spelled(draw: st.DrawFn, texts: SearchStrategy[str], *, digits: bool = True) -> str:
    """Write one of the texts with blanks around, invisible characters within, in full width, or in the digits of another script."""
    text = draw(texts)
    if draw(st.booleans()):
        text = wide(text)
    elif digits:
        text = text.translate(str.maketrans(DIGITS[0], draw(st.sampled_from(DIGITS))))
    at = draw(st.integers(0, len(text)))
    return draw(BLANKS) + draw(INVISIBLE) + text[:at] + draw(INVISIBLE) + text[at:] + draw(BLANKS)


NOTHING = st.sampled_from(
    [None, "", " ", "\u200b", "\u3000\ufeff", "null", "NULL", " None ", "undefined", "{{ x }}", "{{x}}", "{% x %}",
     "{{ x", "x }}", "${x}", "nil", "(null)", "<no value>", "Array", "[object Object]",
     "N/A", "n/a", "#N/A", "(none)", "<nil>", "[]", "{}", "''", "{{ person.id|default:'' }}", "{# x #}", "<%= x %>", "*|X|*", "{person.id}", "#{x}", "%%x%%",
     "00000000-0000-0000-0000-000000000000"]
)  # fmt: skip


# Email


@quick
@given(spelled(st.just(EMAIL)), st.sampled_from(SHAPES))
def test_an_email_is_one_address_on_every_path(spelling: str, shape: Shape) -> None:
    assert email_of(metric(*shape({"email": spelling})).attributes) == EMAIL
    assert reward(email=spelling).email == EMAIL
    assert synced(email=spelling)["email"] == EMAIL


@quick
@given(st.sampled_from(["Canary.Jane@Example.ORG", "canary+TAG@example.org", "canary..jane.@docomo.example"]))
def test_the_case_of_an_email_is_kept_on_every_path(email: str) -> None:
    assert {email_of(metric(*shape({"email": email})).attributes) for shape in SHAPES} == {email}
    assert (reward(email=email).email, synced(email=email)["email"]) == (email, email)


@quick
@given(
    spelled(
        st.sampled_from(
            ["jane@localhost", "{{email}}@example.org", f"mailto:{EMAIL}", "jane", "@example.org", "jane@", "jane@@example.org", "jane@example..org",
             "jane@-example.org", "jane doe@example.org", f"<{EMAIL}>", f"{EMAIL};x@example.org", "jane@10.0.0.1", f"Jane <{EMAIL}>", f"{EMAIL}.", '"jane doe"@example.org',
             f"{EMAIL}, x@example.org", f"{EMAIL} x@example.org", f"MAILTO:{EMAIL}", f"{EMAIL}?subject=x", "jane(at)example.org", "jane%40example.org", f"{EMAIL}/",
             f"'{EMAIL}'", "*|EMAIL|*@example.org", "{person.email}"]
        )
    ),
    st.sampled_from(SHAPES),
)  # fmt: skip
def test_what_is_no_email_is_none_on_any_path(spelling: str, shape: Shape) -> None:
    with pytest.raises(InvalidPayloadError, match="email"):
        metric(*shape({"email": spelling}))
    with pytest.raises(InvalidPayloadError, match="email"):
        reward(email=spelling)
    assert "email" not in synced(email=spelling)


@quick
@given(NOTHING, st.sampled_from(SHAPES))
def test_no_email_is_nobody_on_any_path(nothing: object, shape: Shape) -> None:
    with pytest.raises(InvalidPayloadError):
        metric(*shape({"email": nothing}))
    assert reward(email=nothing, person_id=KLAVIYO_ID).email == ""
    assert "email" not in synced(email=nothing)


# Ids


@quick
@given(
    spelled(st.sampled_from([OMNEO_ID, OMNEO_ID.upper()])),
    st.sampled_from(SHAPES),
)
def test_an_omneo_id_is_one_id_on_every_path(spelling: str, shape: Shape) -> None:
    assert metric(*shape({"id": spelling, "email": EMAIL})).omneo_profile_id == OMNEO_ID
    for body in ({"profile_id": spelling}, {"profile": {"id": spelling}}, {"id": spelling}):
        assert profile_id_of_target(body) == OMNEO_ID
    assert profile_id_of_event({"id": spelling}) == OMNEO_ID


@quick
@given(spelled(st.just(KLAVIYO_ID)))
def test_a_klaviyo_id_is_one_id_on_every_path(spelling: str) -> None:
    assert metric(event(profile=profile({}, id=spelling))).attributes["profile"]["data"]["id"] == KLAVIYO_ID
    assert reward(person_id=spelling).person_id == KLAVIYO_ID
    identity = {"handle": "klaviyo", "identifier": spelling}
    assert stored_klaviyo_id({"identities": [identity]}, "klaviyo") == KLAVIYO_ID


@quick
@given(
    st.integers(1, 10**12),
    st.sampled_from([str, int, float, "{}.0".format, "{}.00".format]),
    spelled(st.just("")),
)
def test_a_number_and_its_text_are_one_id(number: int, form: Any, around: str) -> None:
    id = form(number)
    id = f"{around}{id}" if isinstance(id, str) else id
    assert metric(event(unique_id=id)).attributes["unique_id"] == str(number)
    assert reward(id=id, person_id="x").id == str(number)
    assert reward(definition=id, person_id="x").definition_id == number
    assert record_id(id) == str(number)
    assert metric(event(profile=profile({"email": EMAIL, "external_id": id}))).attributes["profile"]["data"][
        "attributes"
    ]["external_id"] == str(number)


@quick
@given(NOTHING)
def test_nothing_is_no_id_on_any_path(nothing: object) -> None:
    assert metric(event(unique_id=nothing)).attributes["unique_id"] == "fixed-id"
    assert reward(id=nothing, person_id="x").id == ""
    assert record_id(nothing) == "fixed-id"
    assert reward(id="x", person_id=KLAVIYO_ID, timezone=nothing).timezone == "UTC"
    assert stored_klaviyo_id({"identities": [{"handle": "klaviyo", "identifier": nothing}]}, "klaviyo") == ""
    with pytest.raises(InvalidPayloadError):
        profile_id_of_target({"profile_id": nothing})


@quick
@given(
    st.sampled_from(
        [
            "reward-",
            "Reward_",
            "birthday-2027-",
            "-issued",
            "a.b..c",
            "reward-null",
            "x-None-y",
            "NaN",
            "order-NaN",
            "reward-[object Object]",
            "Array-7",
            "reward--",
            "reward--2027",
            "-2027",
            "birthday-2027-11-30-",
            "birthday - ",
            "reward-N/A",
            "birthday-NULL-2027",
            "reward-()",
            "reward-[]-2027",
            "reward-unknown",
            "unknown",
            "?",
            "reward\u2014",
            "\u751f\u65e5-",
        ]
    ),
    BLANKS,
)
def test_an_id_of_a_recipe_alone_is_nobodys_on_any_path(id: str, blanks: str) -> None:
    with pytest.raises(InvalidPayloadError, match="lacks a part"):
        metric(event(unique_id=f"{blanks}{id}{blanks}"))
    with pytest.raises(InvalidPayloadError, match="lacks a part"):
        reward(id=f"{blanks}{id}{blanks}", person_id="x")
    assert record_id(f"{blanks}{id}{blanks}") == "fixed-id"


@quick
@given(st.sampled_from(["reward-\ufffd", "\ufffd", "x\ufffdy-7"]))
def test_an_id_with_a_letter_that_was_lost_is_nobodys_on_any_path(id: str) -> None:
    with pytest.raises(InvalidPayloadError, match="lacks a part"):
        metric(event(unique_id=id))
    with pytest.raises(InvalidPayloadError, match="lacks a part"):
        reward(id=id, person_id="x")
    assert record_id(id) == "fixed-id"


@quick
@given(st.sampled_from([True, False, [], {}, ["7"], [7], {"id": 7}]))
def test_what_is_neither_text_nor_a_number_is_no_id_on_any_path(value: object) -> None:
    with pytest.raises(InvalidPayloadError, match="unique_id"):
        metric(event(unique_id=value))
    with pytest.raises(InvalidPayloadError, match="id must be text"):
        reward(id=value, person_id="x")
    assert record_id(value) == "fixed-id"
    assert stored_klaviyo_id({"identities": [{"handle": "klaviyo", "identifier": value}]}, "klaviyo") == ""
    with pytest.raises(InvalidPayloadError):
        profile_id_of_target({"profile_id": value})


# Time zones


@quick
@given(spelled(st.sampled_from(["Australia/Melbourne", "UTC", "US/Eastern", "Etc/UTC"]), digits=False))
def test_a_time_zone_is_one_zone_however_it_is_spelled(spelling: str) -> None:
    found = reward(timezone=spelling, person_id="x").timezone
    assert found in {"Australia/Melbourne", "UTC", "US/Eastern", "Etc/UTC"}


@quick
@given(
    st.sampled_from(
        ["localtime", "Factory", "posixrules", "Etc/Unknown", "posix/UTC", "right/UTC", "Etc/GMT+10", "EST", "EST5EDT", "utc",
         "australia/melbourne", "UTC+10", "+10:00", "Melbourne", "AEST", "../UTC", "/etc/localtime", "Australia", "Australia/"]
    )
)  # fmt: skip
def test_what_names_no_place_and_not_utc_is_no_time_zone(name: str) -> None:
    with pytest.raises(InvalidPayloadError, match="timezone"):
        reward(timezone=name, person_id="x")


# Amounts


@quick
@given(
    st.sampled_from(
        [
            (0.30000000000000004, 0.3),
            (10.999, 11),
            (1e-320, 0),
            (-0.0, 0),
            (-0.004, 0),
            (-12.345, -12.35),
            ("10.994", 10.99),
            (2**60, 2**60),
            ("0.30000000000000004", 0.3),
            ("1e-320", 0),
            ("5.5511151231258E-17", 0),
            ("-5.5511151231258E-17", 0),
            ("\u0661\u0660\u066b\u0669\u0669\u0669", 11),
            ("1,010.999", 1011),
            (0.005, 0.01),
            (0.0049, 0),
        ]
    )
)
def test_an_events_amount_is_rounded_to_cents_where_no_currency_says_else(
    given: tuple[object, float],
) -> None:
    found = metric(event(value=given[0])).attributes["value"]
    assert (found, str(found)[:1] == "-") == (given[1], given[1] < 0)


@quick
@given(
    st.sampled_from(
        [
            ("JPY", 13),
            (" jpy ", 13),
            ("KWD", 12.513),
            ("CLF", 12.5126),
            ("AUD", 12.51),
            ("krw", 13),
            ("dollars", 12.51),
        ]
    )
)
def test_an_events_amount_has_the_places_of_its_currency(given: tuple[str, float]) -> None:
    assert metric(event(value="12.51256", value_currency=given[0])).attributes["value"] == given[1]


# Numbers


@st.composite
def numbers(draw: st.DrawFn) -> tuple[float, object]:
    """Return a number with a spelling of it."""
    cents = draw(st.integers(1, 10_000_000))
    number = cents / 100
    plain = [number, f"{number:.2f}", f"{number:,.2f}", f"+{number:.2f}"]
    if cents % 100 == 0:
        plain += [cents // 100, f"{cents // 100}", f"{cents // 100:,}", f"{cents // 100}."]
    form = draw(st.sampled_from(plain))
    return number, draw(spelled(st.just(form))) if isinstance(form, str) else form


@quick
@given(numbers())
def test_a_number_is_one_number_on_every_path(given: tuple[float, object]) -> None:
    number, spelling = given
    assert metric(event(value=spelling)).attributes["value"] == number
    assert (
        metric(
            {"event": "N", "customer_properties": {"$email": EMAIL}, "properties": {"$value": spelling}}
        ).attributes["value"]
        == number
    )
    assert reward(amount=spelling, person_id="x").amount == number
    assert custom(spelling, "float") == number


@quick
@given(
    st.sampled_from(
        [
            "seven",
            "1,5",
            "1.234,50",
            "12,34",
            "$5",
            "5-",
            "1e3",
            "½",
            "0x10",
            "1 2",
            "NaN",
            "Infinity",
            "-inf",
            "1e400",
            "5 AUD",
            "1_000",
        ]
    )
)
def test_what_is_no_number_or_could_be_two_is_none_on_any_path(text: str) -> None:
    with pytest.raises(InvalidPayloadError, match="value must be a number"):
        metric(event(value=text))
    with pytest.raises(InvalidPayloadError, match="amount must be a number"):
        reward(amount=text, person_id="x")
    assert custom(text, "float") == text


# Phones

PHONES = st.sampled_from(
    ["0412345678", "0412 345 678", "0412-345-678", "(04) 1234 5678", "0412.345.678", "+61412345678", "+61 412 345 678",
     "+61 (0) 412 345 678", "+61 (0)412 345 678", "0011 61 412 345 678", "61412345678", "tel:+61-412-345-678", "0061412345678", "0061 412 345 678", "+61 412 345 678 ext. 5",
     "tel:0412345678;ext=5", "(+61) 412 345 678", "+61\t412\n345 678", "+61\u00b7412\u00b7345\u00b7678", "0412\u2013345\u2013678"]
)  # fmt: skip


@quick
@given(spelled(PHONES) | st.sampled_from([412345678, 412345678.0, 61412345678]), st.sampled_from(SHAPES[:3]))
def test_a_phone_is_one_number_on_every_path(spelling: object, shape: Shape) -> None:
    found, is_left_out = with_phone(
        metric(*shape({"email": EMAIL, "phone_number": spelling})).attributes, "AU"
    )
    assert found["profile"]["data"]["attributes"]["phone_number"] == "+61412345678"
    assert not is_left_out
    assert synced(mobile_phone=spelling)["phone_number"] == "+61412345678"
    assert synced(mobile_phone_e164="+61412345678", mobile_phone=spelling)["phone_number"] == "+61412345678"


@quick
@given(
    spelled(
        st.sampled_from(
            [
                "61",
                "+61",
                "0061",
                "AU",
                "au",
                "AUS",
                "Australia",
                "australia",
                "AUSTRALIA",
                "(61)",
                "aus",
                "Commonwealth of Australia",
            ]
        )
    )
    | st.sampled_from([61, 61.0])
)
def test_a_stated_country_is_one_country_in_each_of_its_forms(stated: object) -> None:
    found = klaviyo_profile(
        {"mobile_phone": "0412 345 678", "mobile_phone_country": stated}, mappings={}, region="GB"
    )
    assert found.attributes["phone_number"] == "+61412345678"


@quick
@given(
    st.sampled_from(
        [
            "n/a",
            "call me",
            "12",
            "+6",
            "0000000000",
            "unknown 12345",
            "1800 FLOWERS",
            "+1 800 FLOWERS",
            "0412345678, 0498765432",
            "+999 123456789",
            "4.12345678E8",
            True,
            ["0412345678"],
        ]
    ),
    st.sampled_from(SHAPES[:3]),
)
def test_what_is_no_phone_is_left_out_on_every_path(phone: object, shape: Shape) -> None:
    found, _ = with_phone(metric(*shape({"email": EMAIL, "phone_number": phone})).attributes, "AU")
    assert found["profile"]["data"]["attributes"] == {"email": EMAIL}
    assert "phone_number" not in synced(mobile_phone=phone)


# Dates and booleans


@quick
@given(
    spelled(
        st.sampled_from(
            ["2027-03-04 10:00:00", "2027-03-04T10:00:00Z", "2027-03-04T10:00:00+00:00", "2027-03-04t10:00z", "2027-03-04T20:00:00+10:00",
             "2027-03-04 10:00", "2027-03-04T10:00:00.000000Z", "2027-03-04 10:00:00 UTC", "2027-03-04 10:00:00 GMT", "2027-03-04 10:00 utc",
             "2027-03-04T10:00:00+0000", "2027-03-04T10:00:00.123Z"[:19] + "Z"]
        )
    )
)  # fmt: skip
def test_a_moment_is_one_moment_on_every_path(spelling: str) -> None:
    assert metric(event(time=spelling)).attributes["time"] == "2027-03-04T10:00:00+00:00"
    assert reward(expires_at=spelling, person_id="x").expires_at == "2027-03-04 10:00:00"
    joined = datetime.fromisoformat(synced(joined_at=spelling)["properties"]["omneo_joined_at"])
    assert joined == datetime(2027, 3, 4, 10, tzinfo=UTC)


@quick
@given(
    st.sampled_from(
        [
            "20270304",
            "2027-W09-4",
            "04/03/2027",
            "31/12/2027",
            "4 March 2027",
            "2027-3-4",
            "2027-02-30",
            "10:00",
            "2027-12-31T24:00",
            "2027-12-31T10:00 Australia/Melbourne",
            "2027-12-31 10:00 AEST",
            "2027-12-31T10:00:00+10",
            "2027-12-31T23:59:60Z",
            "2027-365",
            "1700000000000",
            "Fri, 31 Dec 2027 10:00:00 GMT",
            "0000-00-00",
            "2027-12-31T10",
            "now",
        ]
    )
)
def test_a_date_that_says_too_little_is_none_on_any_path(text: str) -> None:
    with pytest.raises(InvalidPayloadError, match="time must"):
        metric(event(time=text))
    with pytest.raises(InvalidPayloadError, match="expires_at must be a date"):
        reward(expires_at=text, person_id="x")
    assert synced(joined_at=text)["properties"]["omneo_joined_at"] == text
    assert "omneo_birth_date" not in synced(birth_date=text).get("properties", {})


@quick
@given(
    st.tuples(
        st.just(True),
        st.sampled_from([True, 1, 1.0]) | spelled(st.sampled_from(["1", "true", "TRUE", "True"])),
    )
    | st.tuples(
        st.just(False), st.sampled_from([False, 0, 0.0]) | spelled(st.sampled_from(["0", "false", "FALSE"]))
    )
)
def test_yes_and_no_are_read_as_twig_json_and_people_write_them(given: tuple[bool, object]) -> None:
    meant, spelling = given
    assert metric(event(backfill=spelling)).attributes["backfill"] is meant
    if isinstance(spelling, str):
        assert custom(spelling, "boolean") is meant
