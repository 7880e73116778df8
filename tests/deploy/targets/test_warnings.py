"""What is warned of before a notification is live, each with a template that has the fault and one that has not."""

import json
from itertools import count
from typing import Any

import pytest

from deploy.targets.catalogue import (
    NotInCatalogueError,
    notification,
    notifications,
    platform,
    platforms,
    sample,
    template,
)
from deploy.targets.trying import NoJsonError
from deploy.targets.warnings import event_in, warnings

Json = dict[str, Any]
SAMPLE = sample("reward-issued")


def event(*, properties: str = "{}", unique_id: str = '"reward-{{ id }}"', profile: str = "") -> str:
    """Return a template of Klaviyo's event."""
    person = profile or '{"email": {{ profile.email|json_encode }}}'
    return f"""{{"data": {{"type": "event", "attributes": {{
      "metric": {{"data": {{"type": "metric", "attributes": {{"name": "N"}}}}}},
      "profile": {{"data": {{"type": "profile", "attributes": {person}}}}},
      "unique_id": {unique_id}, "properties": {properties}}}}}}}"""


def warned(
    template: str, context: Json = SAMPLE, *, name: str = "reward-issued", where: str = "klaviyo"
) -> Json:
    """Return what is warned of, by what it is about."""
    found = warnings(template, context, platform(where), notification(name))
    assert len({row.about for row in found}) == len(found)
    return {row.about: row.says for row in found}


def with_comms(**flags: bool | None) -> Json:
    """Return the sample with other consents."""
    profile = SAMPLE["profile"]
    comms = profile["attributes"]["comms"] | flags
    return {**SAMPLE, "profile": {**profile, "attributes": {"comms": comms}}}


@pytest.mark.parametrize("name", notifications())
@pytest.mark.parametrize("where", platforms())
def test_the_catalogue_with_its_samples_gives_no_warning(where: str, name: str) -> None:
    expected = ["Not called"] if name == "id-token" and where != "klaviyo" else []  # no context has a token
    assert list(warned(template(where, name), sample(name), name=name, where=where)) == expected


def test_an_event_of_nobody_and_one_without_an_email_are_told_apart() -> None:
    nobody = {**SAMPLE, "profile": {**SAMPLE["profile"], "email": None, "id": None}}
    assert "No email or id" in warned(template("klaviyo", "reward-issued"), nobody)
    no_email = {**SAMPLE, "profile": {**SAMPLE["profile"], "email": ""}}
    found = warned(template("klaviyo", "reward-issued"), no_email)
    assert "No email" in found
    assert "Not called" in found
    assert "No email or id" in warned(event(profile='{"first_name": "canary"}'))


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        ({"email_optout": True}, "opted out"),
        ({"email_promo": False}, "did not agree"),
        ({"email_bounced": True}, "bounced"),
    ],
)
def test_who_is_not_to_be_written_to_is_told(flags: dict[str, bool], says: str) -> None:
    found = warned(event(), with_comms(**flags))
    assert says in found["Opted out"]
    assert "Not called" in found
    sms = {name.replace("email", "sms"): value for name, value in flags.items()}
    assert warned(event(), with_comms(**sms)) == {}
    assert "Opted out" in warned(
        template("yotpo-smsbump", "reward-issued"), with_comms(**sms), where="yotpo-smsbump"
    )


@pytest.mark.parametrize("promo", [True, None])
def test_a_boolean_printed_as_text_is_found_whatever_it_says_now(promo: bool | None) -> None:
    printed = event(properties='{"agreed": "{{ profile.attributes.comms.email_promo }}"}')
    assert '"1"' in warned(printed, with_comms(email_promo=promo))["agreed"]
    encoded = event(properties='{"agreed": {{ profile.attributes.comms.email_promo|json_encode }}}')
    assert warned(encoded, with_comms(email_promo=promo)) == {}
    assert "agreed" in warned(event(properties='{"agreed": "{{ profile.attributes.comms.email_optout }}"}'))


def test_a_boolean_that_leaves_no_json_when_it_is_false_is_found_while_it_is_true() -> None:
    found = warned(event(properties='{"agreed": {{ profile.attributes.comms.email_promo }}}'))
    assert "leaves no JSON" in found["profile.attributes.comms.email_promo"]


def test_a_boolean_is_found_among_hundreds_if_the_template_names_it() -> None:
    many = {**SAMPLE, "flags": {f"flag_{number}": False for number in range(300)}, "is_vip": True}
    assert "vip" in warned(event(properties='{"vip": "{{ is_vip }}"}'), many)


@pytest.mark.parametrize("text", ["20", "20.00", "1,250.50", " 7 ", "-3"])
def test_a_number_as_text_is_told(text: str) -> None:
    assert "number as text" in warned(event(properties=json.dumps({"amount": text})))["amount"]


@pytest.mark.parametrize(
    "value", [20, 20.5, "", "0412", "+61400000000", "1234567890123456", "20 points", "2026-11-21", True, None]
)
def test_what_is_a_number_or_none_is_not(value: Any) -> None:
    assert warned(event(properties=json.dumps({"amount": value}))) == {}


@pytest.mark.parametrize(
    ("unique_id", "says"),
    [
        ('""', "is missing"),
        ("null", "is missing"),
        ('"{{ nothing }}"', "is missing"),
        ('"reward-{{ nothing }}"', "only its fixed part"),
        ('"reward"', "the same whatever happens"),
        ('"reward-issued-7"', "the same whatever happens"),
    ],
)
def test_a_unique_id_that_is_none_is_told(unique_id: str, says: str) -> None:
    assert says in warned(event(unique_id=unique_id))["unique_id"]


@pytest.mark.parametrize(
    "written", ["{{ id }}", "{{ definition.handle }}", "{{ expires_at|date('Ymd') }}", "{{ profile.id }}"]
)
def test_a_unique_id_that_changes_with_anything_is_good(written: str) -> None:
    assert warned(event(unique_id=f'"reward-{written}"')) == {}


def test_more_properties_than_klaviyo_takes_are_told() -> None:
    def many(number: int) -> str:
        return event(properties=json.dumps({f"p{place}": "x" for place in range(number)}))

    assert warned(many(400)) == {}
    assert warned(many(401))["properties"].startswith("Over 400 properties, 401")
    assert warned(many(399), sample("id-token"), name="id-token")["properties"].startswith("Over 398")


@pytest.mark.parametrize("value", [{"a": 1}, [{"a": 1}], [["a"]]])
def test_a_nested_value_is_told_and_a_list_of_words_is_not(value: Any) -> None:
    assert "nested" in warned(event(properties=json.dumps({"tier": value})))["tier"]
    assert warned(event(properties=json.dumps({"tier": ["a", "b"]}))) == {}


def test_another_platform_is_asked_for_its_own_shape() -> None:
    found = warned('{"To": ["canary@example.org"], "Data": {"n": "7"}}', where="campaign-monitor")
    assert list(found) == ["AddRecipientsToList", "ConsentToTrack"]
    assert "canary" not in str(found)


def test_all_shapes_of_an_event_are_read() -> None:
    attributes = {"properties": {"a": "7"}, "unique_id": "u"}
    assert (
        event_in({"data": {"attributes": attributes}}) == event_in({"attributes": attributes}) == attributes
    )
    track = event_in(
        {
            "event": "N",
            "customer_properties": {"$email": "canary"},
            "properties": {"a": "7", "$event_id": "u"},
        }
    )
    assert (track["properties"], track["unique_id"]) == ({"a": "7"}, "u")
    context = event_in({"profile": {"id": "7"}, "a": "7", "unique_id": "u"})
    assert (context["properties"], context["unique_id"]) == ({"a": "7"}, "u")
    none: list[object] = [[], {}, {"data": 7}, {"profile": []}, {"event": "N", "properties": 7}]
    assert [event_in(body) for body in none] == [{}] * 5


def test_no_json_is_no_warning_but_an_error_with_its_place() -> None:
    with pytest.raises(NoJsonError) as caught:
        warned('{"a":\n  }')
    assert (caught.value.line, caught.value.column) == (2, 3)
    assert caught.value.written == '{"a":\n  }'


def test_a_slow_template_is_not_rendered_again_and_again() -> None:
    printed = event(properties='{"agreed": "{{ profile.attributes.comms.email_promo }}"}')
    clock = count(0.0, 2.0)
    found = warnings(
        printed, SAMPLE, platform("klaviyo"), notification("reward-issued"), clock=lambda: next(clock)
    )
    assert not any("boolean" in row.says for row in found)


def test_an_unknown_notification_is_refused() -> None:
    with pytest.raises(NotInCatalogueError):
        warned("{}", name="canary")
