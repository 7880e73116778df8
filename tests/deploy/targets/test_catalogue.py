"""The catalogue: every body is what its platform documents, whatever stands in the event, or is refused by name."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deploy.local.sandbox.klaviyo.flow_templates import parse as parse_message
from deploy.local.sandbox.klaviyo.flow_templates import render as render_message
from deploy.targets.catalogue import (
    Channel,
    NotInCatalogueError,
    notification,
    notifications,
    platform,
    platforms,
    sample,
    template,
    template_path,
    with_profile,
)
from deploy.targets.pushing import handle_of
from deploy.targets.shapes import SHAPES, misfits
from deploy.targets.trying import NoJsonError, TemplateFailedError, is_called, rendered
from shared.metrics.rules.event import read_metric
from tests.deploy.local.sandbox.omneo.twig.table import AUTOLOADER, Answers, ask_php

NOW = datetime(2026, 11, 21, 10, 0, tzinfo=UTC)
PLATFORMS = (
    "braze",
    "campaign-monitor",
    "custom",
    "dotdigital",
    "klaviyo",
    "salesforce-marketing-cloud",
    "yotpo-smsbump",
)
NOTIFICATIONS = (
    "reward-issued",
    "reward-redeemed",
    "reward-expiring",
    "tier-attained",
    "benefit-issued",
    "points-milestone",
    "id-token",
)
each = pytest.mark.parametrize(
    ("where", "what"), [(where, what) for where in PLATFORMS for what in NOTIFICATIONS]
)
each_notification = pytest.mark.parametrize("what", NOTIFICATIONS)
Json = dict[str, Any]

LONG = "canary" * 1700  # over 10 KB
HOSTILE: tuple[Any, ...] = (
    'canary "quoted" \\ back',
    "canary\nline\r\n\ttab",
    "canary 😀👩‍👧 emoji",
    "مرحبا canary שלום",
    "canary\u202e\u0000\u2028 </script> {{ x }} {% y %} #{z}",
    "' OR 1=1 --",
    "",
    "   ",
    LONG,
    ["canary"],
    {"canary": "canary"},
    True,
    -1,
    1e25,
    10**20,
)


def body_of(where: str, what: str, event: Json) -> Any:
    """Return the body of a call as JSON."""
    return json.loads(rendered(template(where, what), event, NOW.timestamp))


def tried(where: str, what: str, event: Json) -> tuple[Any, str]:
    """Return the body, or None and what is said of the template that is refused."""
    try:
        return body_of(where, what, event), ""
    except TemplateFailedError as error:
        return None, str(error)


def shown(what: str, event: Json) -> str:
    """Return the message of a notification as Klaviyo shows it, with these properties of the event."""
    return render_message(parse_message(notification(what).snippet), {"event": event}, autoescape=False)


def called(where: str, what: str, event: Json) -> bool:
    """Return whether Omneo would call the target."""
    return is_called(notification(what).condition(platform(where)), event)


def full(what: str) -> Json:
    """Return an event context in which nothing is missing that a platform needs."""
    needed = notification(what).needs
    return sample(what) | ({needed: "canary+/="} if needed else {})


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Yield the path of each value in an event context that is no object or list."""
    if isinstance(value, dict | list) and value:
        for name, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths(item, (*path, name))
    else:
        yield path


def changed(value: Any, path: tuple[str | int, ...], to: Any) -> Any:
    """Return a copy in which what stands at the path is another thing, or missing where `to` is Ellipsis."""
    if not path:
        return to
    first, rest = path[0], path[1:]
    copy: Any = dict(value) if isinstance(value, dict) else list(value)
    if to is ... and not rest:
        del copy[first]
    else:
        copy[first] = changed(copy[first], rest, to)
    return copy


def test_the_catalogue_has_what_omneos_pages_name() -> None:
    assert platforms() == PLATFORMS
    assert notifications() == NOTIFICATIONS
    assert sorted(SHAPES) == [*PLATFORMS]
    assert [
        place for place in PLATFORMS for what in NOTIFICATIONS if not template_path(place, what).is_file()
    ] == []


def test_what_is_not_there_is_said_with_what_is() -> None:
    with pytest.raises(NotInCatalogueError, match="klaviyo"):
        platform("../klaviyo")
    with pytest.raises(NotInCatalogueError, match="reward-issued"):
        notification("reward")


@pytest.mark.parametrize("where", PLATFORMS)
def test_a_platform_names_its_source_its_secret_and_its_limits(where: str) -> None:
    found = platform(where)
    assert found.sources or where == "custom"
    assert all(source.startswith("https://") for source in found.sources)
    assert found.secrets
    assert found.limits
    assert found.says
    assert found.channel is (Channel.SMS if where == "yotpo-smsbump" else Channel.EMAIL)


def test_yotpos_end_is_told_with_its_source() -> None:
    found = platform("yotpo-smsbump")
    assert "end of 2025" in found.says
    assert any("offboarding" in source for source in found.sources)


@each
def test_a_full_context_becomes_the_platforms_documented_request(where: str, what: str) -> None:
    event = full(what)
    assert called(where, what, event)
    assert misfits(where, body_of(where, what, event)) == []


@each
def test_a_context_without_one_of_its_values_fits_or_is_not_sent(where: str, what: str) -> None:
    event = full(what)
    for path in paths(event):
        for to in (..., None, ""):
            sparse = changed(event, path, to)
            body = body_of(where, what, sparse)
            if called(where, what, sparse) and not says_who_is_missing(where, path):
                assert misfits(where, body) == [], (path, to)


def says_who_is_missing(where: str, path: tuple[str | int, ...]) -> bool:
    """Return whether the id of the profile is missing: no event of Omneo's lacks it, and these platforms know people by it."""
    return path[-1:] == ("id",) and where in ("braze", "salesforce-marketing-cloud")


@each
@pytest.mark.parametrize("event", [{}, {"profile": None}, {"profile": {}}, {"profile": [], "definition": []}])
def test_an_almost_empty_context_is_json_and_not_sent(where: str, what: str, event: Json) -> None:
    assert isinstance(body_of(where, what, event), dict)
    assert not called(where, what, event)


@each
def test_a_hostile_context_is_json_or_a_refusal_by_name(where: str, what: str) -> None:
    event = full(what)
    # Each value at every third path: together the platforms and notifications put each almost everywhere.
    for number, path in enumerate(paths(event), PLATFORMS.index(where)):
        for to in HOSTILE[number % 3 :: 3]:
            hostile = changed(event, path, to)
            body, refusal = tried(where, what, hostile)
            assert "canary" not in refusal
            if refusal:
                assert refusal.startswith("line ")
            elif (
                called(where, what, hostile) and isinstance(to, str) and to.strip() and path[-1] not in _KEYS
            ):
                assert misfits(where, body) == [], (path, to)


# Whoever has such an address or id is refused by the platform, or by the extension with 400.
_KEYS = {"email", "id", "mobile_phone", "mobile_phone_e164"}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([(where, what) for where in PLATFORMS for what in NOTIFICATIONS]),
    st.data(),
)
def test_whatever_stands_in_an_event_is_json_or_a_refusal(pair: tuple[str, str], data: st.DataObject) -> None:
    where, what = pair
    event = sample(what)
    path = data.draw(st.sampled_from([*paths(event)]))
    to = data.draw(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text())
    body, refusal = tried(where, what, changed(event, path, to))
    assert isinstance(body, dict) or refusal.startswith("line ")


@each
def test_php_twig_renders_the_catalogue_as_it_is_rendered_here(where: str, what: str) -> None:
    if shutil.which("php") is None or not AUTOLOADER.exists():
        message = "php-cli and php-twig are not installed: apt-get install php-cli php-twig"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    for event, answers in php_prints(what):
        printed = answers.printed[PLATFORMS.index(where)]
        assert printed == rendered(template(where, what), event, float(answers.now).__float__)


@cache
def php_prints(what: str) -> list[tuple[Json, Answers]]:
    """Return what php-twig prints of the platforms' templates for this notification, in their order: once for all of them."""
    events: list[Json] = [sample(what), {}, changed(sample(what), next(paths(sample(what))), HOSTILE[0])]
    return [(event, ask_php([template(where, what) for where in PLATFORMS], event)) for event in events]


# What of it reaches Klaviyo


@each_notification
def test_the_extension_takes_the_event_and_leaves_nothing_out(what: str) -> None:
    asked = notification(what)
    metric = read_metric(
        body_of("klaviyo", what, sample(what)),
        metric_name="",
        with_token="withToken=true" in asked.query,
        now=NOW,
        unique_id="made-here",
    )
    assert metric.left_out == ()
    assert metric.attributes["metric"]["data"]["attributes"]["name"] == asked.metric
    assert metric.attributes["unique_id"] != "made-here"
    assert metric.omneo_profile_id


@each_notification
def test_two_of_a_kind_are_two_events_and_a_repeat_is_none(what: str) -> None:
    event = sample(what)
    key = "id" if notification(what).profile and what != "points-milestone" else None
    other = changed(event, (key,) if key else ("profile", "id") if "profile" in event else ("id",), 4242)
    keys = [body_of("klaviyo", what, one)["data"]["attributes"]["unique_id"] for one in (event, event, other)]
    assert keys[0] == keys[1] != keys[2]


def test_an_event_context_without_an_id_is_refused_by_the_extension_by_name() -> None:
    body = body_of("klaviyo", "reward-issued", changed(sample("reward-issued"), ("id",), None))
    with pytest.raises(Exception, match="unique_id"):
        read_metric(body, metric_name="", with_token=False, now=NOW, unique_id="x")


@each_notification
def test_numbers_arrive_as_numbers_so_that_a_flow_can_filter_on_them(what: str) -> None:
    event = sample(what)
    texts = event
    for path in paths(event):
        value: Any = event
        for step in path:
            value = value[step]
        if isinstance(value, int | float) and not isinstance(value, bool):
            texts = changed(texts, path, str(value))  # Omneo may write numbers as text
    properties = body_of("klaviyo", what, event)["data"]["attributes"]["properties"]
    assert body_of("klaviyo", what, texts)["data"]["attributes"]["properties"] == properties
    for name in (
        "reward_amount",
        "reward_balance",
        "reward_left",
        "reward_used",
        "point_balance",
        "milestone",
    ):
        assert isinstance(properties.get(name, 0), int | float)


@each_notification
def test_the_message_uses_properties_that_arrive(what: str) -> None:
    properties = body_of("klaviyo", what, sample(what))["data"]["attributes"]["properties"]
    used = set(re.findall(r"\bevent\.(\w+)", notification(what).snippet))
    assert used
    if "first_name" in used:
        assert "Jane" in shown(what, properties)
        assert "there" in shown(what, {})
    assert used <= {*properties, "IDToken"}
    for named in re.findall(r"Trigger filter: (\w+)", " ".join(notification(what).filters)):
        assert isinstance(properties[named], int | float)


def test_the_link_of_the_message_carries_a_token_that_survives_an_address() -> None:
    event = sample("id-token") | {"id_token": "a+b/c=="}
    for where in PLATFORMS:
        text = json.dumps(body_of(where, "id-token", event))
        assert ("token=a%2Bb%2Fc%3D%3D" in text) is (where != "klaviyo")
    link = shown("id-token", {"IDToken": "a+b/c=="})
    assert parse_qs(urlsplit(link.partition('"')[2].partition('"')[0]).query) == {"token": ["a+b/c=="]}


# Consent


@each
@pytest.mark.parametrize("field", ["promo", "optout", "bounced"])
def test_nobody_is_told_who_has_not_agreed(where: str, what: str, field: str) -> None:
    channel = platform(where).channel
    event = full(what)
    inside = ("profile",) if notification(what).profile else ()
    against = changed(event, (*inside, "attributes", "comms", f"{channel}_{field}"), field != "promo")
    undecided = changed(event, (*inside, "attributes", "comms", f"{channel}_{field}"), None)
    assert not called(where, what, against)
    assert called(where, what, undecided)


@each_notification
def test_a_profile_without_a_number_gets_no_sms(what: str) -> None:
    event = full(what)
    inside = ("profile",) if notification(what).profile else ()
    for to in (None, "", ...):
        assert not called("yotpo-smsbump", what, changed(event, (*inside, "mobile_phone"), to))


def test_a_sign_in_link_without_a_token_is_sent_by_the_extension_alone() -> None:
    for token in ({}, {"id_token": None}, {"id_token": ""}):
        event = sample("id-token") | token
        assert [where for where in PLATFORMS if called(where, "id-token", event)] == ["klaviyo"]


@each_notification
def test_only_operators_stand_in_a_condition_that_omneos_pages_name(what: str) -> None:
    named = {"===", "!==", ">", ">=", "<", "<=", "in", "!", "and", "or", "var"}
    for where in PLATFORMS:
        written = json.dumps(notification(what).condition(platform(where)))
        assert set(re.findall(r'"([^"]*)": ', written)) <= named


@each_notification
def test_the_sample_may_be_about_another_profile(what: str) -> None:
    event = with_profile(
        sample(what), {"id": "other", "email": "canary-other@example.org"}, notification(what)
    )
    body = body_of("custom", what, event)
    assert body["profile"]["id"] == "other"
    assert body["profile"]["email"] == "canary-other@example.org"


def test_no_message_key_is_fixed_in_an_address() -> None:
    for where in PLATFORMS:
        assert "key}" not in platform(where).url.lower()
    body = body_of("salesforce-marketing-cloud", "reward-issued", sample("reward-issued"))
    assert body["recipients"][0]["messageKey"] == "reward-issued-41"


def test_handles_tell_platform_and_notification() -> None:
    assert handle_of(platform("klaviyo"), notification("id-token")) == "klaviyo-id-token"


def test_a_template_that_becomes_no_json_says_where() -> None:
    with pytest.raises(NoJsonError, match="line 1, column 12"):
        rendered('{"amount": {{ reward.amount }}}', {})
    with pytest.raises(NoJsonError, match="no number"):
        rendered('{"amount": NaN}', {})
