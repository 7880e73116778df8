"""`python -m deploy.tenants explain`, run as a process beside a running Omneo and Klaviyo: what it prints, and its exit status."""

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.tenants.explain import as_text
from shared.explain.explain import explain as explained
from tests.support.commands import run_command
from tests.support.syncing import PHONE, Shop, a_shop
from tests.support.world import ACCOUNT, EMAIL, TENANT, World

REPOSITORY = Path(__file__).parents[3]
LOGIC = {
    "or": [{"==": [{"var": "tier.handle"}, "staff"]}, {"in": ["staffer", {"var": "last_name"}]}],
}
GOLDEN = """\
Profile    {id} (personal values are masked; --reveal shows them)
Matched    {klaviyo_id}: Omneo holds the Klaviyo id as an identity.
Last sync  2026-11-21 10:00:15 UTC, Klaviyo profile {klaviyo_id}
Excluded   No.

Exclude logic
  or: {{"or": [{{"==": [{{"var": "tier.handle"}}, "staff"]}}, {{"in": ["<text>", {{"var": "last_name"}}]}}]}} gives false
  or[0].==: {{"==": [{{"var": "tier.handle"}}, "staff"]}} gives false
  or[0].==[0].var: {{"var": "tier.handle"}} gives gold
  or[1].in: {{"in": ["<text>", {{"var": "last_name"}}]}} gives false
  or[1].in[1].var: {{"var": "last_name"}} gives <text>

Would send
  id                                         {klaviyo_id}
  external_id                                {id}
  email                                      <text>
  first_name                                 null
  last_name                                  <text>
  phone_number                               <text>
  properties.omneo_combined_balance_dollars  0
  properties.omneo_joined_at                 <text>
  properties.omneo_point_balance             0
  properties.omneo_point_balance_dollars     0
  properties.omneo_reward_balance            0
  properties.omneo_tier                      Gold
  properties.omneo_title                     is removed

Notes
  location.latitude  Klaviyo would not take this value.

Consent
  email (<text>): Klaviyo is asked to unsubscribe. Omneo's opt-out is not older than what Klaviyo holds.
    Omneo    promo no, optout unset, bounced unset, decided 2026-11-21 10:01:00 UTC
    Klaviyo  SUBSCRIBED, decided 2026-11-21 10:00:15 UTC
    Asked    to subscribe, 2026-11-21 10:00:15 UTC
  sms (<text>): Klaviyo's consent is left as it is. Both sides agree.
    Omneo    promo no, optout unset, bounced unset, decided at no known time
    Klaviyo  UNSUBSCRIBED, decided 2026-11-21 10:00:15 UTC
    Asked    to unsubscribe, 2026-11-21 10:00:15 UTC

Consent ledger, newest first
  2026-11-21 10:00:15 UTC  sms    unset to unsubscribed, by omneo
  2026-11-21 10:00:00 UTC  email  unset to subscribed, by omneo
"""


@dataclass
class Result:
    """What a command came to."""

    status: int
    out: str
    err: str

    def __post_init__(self) -> None:
        assert "Traceback" not in self.err, "the operator got a traceback"


def explain(world: World, *args: str, said: str = "", **changes: str) -> Result:
    """Run the command; `said` stands on its standard input."""
    given = {"PATH": os.environ["PATH"], **world.environment, **changes}
    done = run_command("explain", *args, environment=given, given=said)
    return Result(done.status, done.out, done.err)


def masked(world: World, *args: str, said: str = "", **changes: str) -> Result:
    """Run the command, and see that nothing personal gets out."""
    result = explain(world, *args, said=said, **changes)
    assert "canary" not in result.out + result.err
    assert PHONE not in result.out + result.err
    return result


@pytest.fixture
def shop(world: World) -> Iterator[Shop]:
    world.live()  # which is what a process goes by
    with a_shop(world) as shop:
        yield shop


@pytest.fixture
def jane(shop: Shop) -> str:
    return shop.customer(tells=False, mobile_phone_e164=PHONE, last_name="canary-Doe", tier_handle="gold")


def test_all_of_it_is_told_in_plain_words(world: World) -> None:
    with a_shop(world, profile_exclude_logic=LOGIC) as shop:
        comms = {"email_promo": True, "sms_promo": False, "email_consent_updated_at": shop.now()}
        fields: dict[str, Any] = {
            "last_name": "canary-Doe",
            "title": "canary-Ms",
            "tier": {"handle": "gold", "name": "Gold"},
        }
        id = shop.customer(mobile_phone_e164=PHONE, comms=comms, **fields)
        shop.sync()
        changes: dict[str, Any] = {"first_name": None, "title": None, "address": {"latitude": "canary"}}
        comms = {"email_promo": False, "email_consent_updated_at": shop.now(45)}
        world.clock.advance(60)
        shop.omneo.change_profile(TENANT, id, tells=False, comms=comms, **changes)
        told = explained(world.read(), id, world.services, reveal=False)
        text = "\n".join(as_text(told)) + "\n"
        assert text == GOLDEN.format(id=id, klaviyo_id=shop.profile().id)


def test_it_prints_the_text_and_is_exit_status_0(shop: Shop, jane: str) -> None:
    result = masked(shop.world, TENANT, jane)
    assert (result.status, result.err) == (0, "")
    assert result.out.startswith(f"Profile    {jane} (personal values are masked; --reveal shows them)\n")
    assert "\nMatched    new: Klaviyo has no such profile.\n" in result.out
    assert "\nLast sync  Never.\n" in result.out
    assert "\n  properties.omneo_tier_handle               gold\n" in result.out
    assert {call.method for call in [*shop.klaviyo_calls(), *shop.omneo_calls()]} == {"GET"}
    assert shop.klaviyo.profiles(ACCOUNT) == []


@pytest.mark.allow_canary
def test_reveal_shows_values_and_says_so_apart_from_the_text(shop: Shop, jane: str) -> None:
    result = explain(shop.world, TENANT, jane, "--reveal")
    assert (result.status, result.err) == (0, "Personal values are shown.\n")
    assert f"{jane} (personal values are shown)" in result.out
    assert "canary-Doe\n" in result.out
    assert f"email ({EMAIL}):" in result.out


def test_json_is_what_the_admin_function_answers(shop: Shop, jane: str) -> None:
    result = masked(shop.world, TENANT, jane, "--json")
    assert (result.status, result.err) == (0, "")
    tenant = shop.world.read()
    assert json.loads(result.out) == explained(tenant, jane, shop.world.services, reveal=False)


def test_a_profile_may_be_named_by_its_email_which_is_not_printed(shop: Shop, jane: str) -> None:
    by_email, by_id = masked(shop.world, TENANT, said=EMAIL), masked(shop.world, TENANT, jane)
    assert by_email == by_id


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("01NOBODY", "Omneo has no such profile."),
        ("../..", "Omneo has no such profile."),
        ("canary-nobody@example.org", "Omneo has no profile with this email address."),
    ],
)
def test_a_profile_that_is_not_there_is_exit_status_1(shop: Shop, named: str, message: str) -> None:
    words, said = ((TENANT,), named) if "@" in named else ((TENANT, named), "")
    assert masked(shop.world, *words, said=said) == Result(1, "", f"Error: {message}\n")


def test_a_customers_address_is_no_argument(shop: Shop, jane: str) -> None:
    result = masked(shop.world, TENANT, EMAIL)
    assert (result.status, result.out) == (2, "")
    assert "A customer's address is no argument." in result.err
    nobody = masked(shop.world, TENANT)
    assert (nobody.status, nobody.out) == (1, "")
    assert "standard input is empty" in nobody.err


@pytest.mark.parametrize("name", ["nobody", "a/b"])
def test_a_tenant_that_does_not_exist_is_said_to(shop: Shop, name: str) -> None:
    expected = Result(1, "", "Error: There is no such tenant. `list` shows all tenants.\n")
    assert masked(shop.world, name, "01JANE") == expected


def test_services_that_are_down_are_one_line(shop: Shop, jane: str) -> None:
    shop.klaviyo.fail(9, match="GET /api/profiles", status=503)
    result = masked(shop.world, TENANT, jane)
    assert (result.status, result.out) == (1, "")
    assert result.err.startswith("Error: Klaviyo answered 503")
    assert result.err.count("\n") == 1


def test_a_tenant_that_has_no_account_is_one_line(world: World) -> None:
    world.tenant(installed=False)
    expected = Result(1, "", "Error: Install the app from Klaviyo's marketplace first.\n")
    assert masked(world, TENANT, "01JANE") == expected


def test_it_needs_no_queue(shop: Shop, jane: str) -> None:
    without = {"CLOUD_TASKS_EMULATOR_HOST": "", "OUTBOUND_WORKER_URL": "", "EXTENSION_URL": ""}
    assert masked(shop.world, TENANT, jane, **without).status == 0
    result = masked(shop.world, TENANT, jane, KLAVIYO_CLIENT_SECRET="")
    assert (result.status, result.out) == (1, "")
    assert "KLAVIYO_CLIENT_SECRET" in result.err


def test_it_explains_itself(world: World) -> None:
    result = masked(world, "--help")
    assert result.status == 0
    text = " ".join(result.out.split())
    assert all(word in text for word in ("NAME", "PROFILE", "--reveal", "--json", "Nothing is sent"))


def told(**changes: Any) -> Mapping[str, Any]:
    """Return the explanation of a profile of which there is nothing to tell."""
    empty: dict[str, Any] = {
        "profile_id": "1",
        "revealed": True,
        "matched": {"by": "none", "klaviyo_id": None, "why": "Klaviyo has no such profile."},
        "synced_before": None,
        "excluded": {"reason": None, "why": None, "trace": []},
        "would_send": {"type": "profile", "attributes": {"external_id": "1"}},
        "notes": [],
        "consent": [],
        "open_jobs": [],
        "events": [],
        "rewards": [],
        "ledger": [],
    }
    return {**empty, **changes}


def test_what_there_is_nothing_to_tell_of_has_no_heading() -> None:
    assert list(as_text(told())) == [
        "Profile    1 (personal values are shown)",
        "Matched    new: Klaviyo has no such profile.",
        "Last sync  Never.",
        "Excluded   No.",
        "",
        "Would send",
        "  external_id  1",
    ]


def test_an_excluded_profile_says_that_nothing_would_be_sent() -> None:
    excluded = {"reason": "example_email", "why": "The email address is one of @example.com.", "trace": []}
    lines = list(as_text(told(excluded=excluded, would_send=None)))
    assert lines[3:] == [
        "Excluded   The email address is one of @example.com.",
        "",
        "Nothing would be sent.",
    ]


def test_open_jobs_suppressions_and_a_former_account_are_told() -> None:
    at = "2026-11-21T10:00:00+00:00"
    row = {
        "consent": "email",
        "address": "",
        "omneo": {"promo": "1", "optout": 0, "bounced": "<text>", "updated_at": None},
        "klaviyo": {
            "klaviyo_id": "01K",
            "consent": None,
            "consented_at": None,
            "updated_at": None,
            "suppressions": [{"reason": "HARD_BOUNCE", "at": at}],
        },
        "asked_before": None,
        "outcome": "leave",
        "reason": "bounced",
        "why": "Left.",
    }
    lines = list(
        as_text(
            told(
                synced_before={"read_at": at, "klaviyo_id": "01K", "same_account": False},
                consent=[row],
                open_jobs=[{"kind": "sync-profile", "state": "dead", "at": at, "why": "No."}],
            )
        )
    )
    assert "Last sync  2026-11-21 10:00:00 UTC, Klaviyo profile 01K, in another account" in lines
    assert lines[-8:] == [
        "Consent",
        "  email: Left.",
        "    Omneo    promo yes, optout no, bounced <text>, decided at no known time",
        "    Klaviyo  no consent, decided at no known time",
        "             suppressed 2026-11-21 10:00:00 UTC: HARD_BOUNCE",
        "",
        "Open jobs",
        "  sync-profile  dead since 2026-11-21 10:00:00 UTC: No.",
    ]


def test_what_a_terminal_would_obey_is_not_printed() -> None:
    hostile = "\x1b[2J\x9b31m\u202eJane\r\n"
    attributes = {"first_name": hostile, "properties": {f"a{hostile}": [hostile]}}
    logic = {"path": "==", "expression": {"==": [hostile, 1]}, "value": hostile, "error": ""}
    excluded = {"reason": None, "why": None, "trace": [logic]}
    text = list(as_text(told(would_send={"attributes": attributes}, excluded=excluded)))
    assert all(line.isprintable() for line in text)
    assert any("Jane" in line for line in text)
