"""Rewards: exactly one for each id, whatever dies or goes silent meanwhile, within the time and the budget there is."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from deploy.local.sandbox.omneo.rewards import Repeated
from shared import logs
from shared.errors import (
    BusyError,
    CapReachedError,
    ExtensionError,
    InvalidPayloadError,
    OwnServiceError,
    ProfileNotFoundError,
    StoreUnavailableError,
    WaitError,
)
from shared.http.deadlines import lasting
from shared.rewards.attempts import LIVE
from shared.rewards.claims import LIFE, Claim, Issued, Person, RewardClaims
from shared.rewards.making import Result
from shared.rewards.rewards import ANSWER_WITHIN, POLL_SECONDS
from shared.rewards.rules.reward import META_KEY
from shared.storage.documents import Documents
from tests.support import stores
from tests.support.mortal import Fate, KilledError
from tests.support.rewards import DEFINITION, MELBOURNE, PERSON, PROFILE, Shop, a_body, sluggish
from tests.support.through import Through
from tests.support.world import EMAIL, TENANT, World, any_chance, outcomes

chance = any_chance
documents = stores.documents

RULES: list[Repeated] = ["422", "409", "creates"]
LATER = LIFE.total_seconds() + 1
DAY = timedelta(days=1).total_seconds()


@pytest.fixture
def shop(world: World) -> Shop:
    return Shop(world).open()


def test_a_call_is_a_reward_as_omneo_documents_it(shop: Shop) -> None:
    body = a_body(
        id="order-7",
        data={"amount": "12.50", "meta": {"flow": "birthday"}, "issued_at": "2026-11-21 00:00:00"},
    )
    assert shop.call(body) == Result("created", 1)
    (reward,) = shop.rewards()
    assert (reward["profile_id"], reward["definition"]["id"], reward["external_id"]) == (
        PROFILE,
        DEFINITION,
        "order-7",
    )
    assert (reward["value_initial"], reward["value_remaining"]) == (12.5, 12.5)
    assert (reward["timezone"], reward["issued_local_at"]) == (MELBOURNE, "2026-11-21 00:00:00")
    assert (
        reward["expires_local_at"] == "2026-12-21 23:59:59"
    )  # thirty days from the 21st, when it is 21:00 there
    assert reward["meta"] == {"flow": "birthday", META_KEY: "order-7"}


def test_numbers_that_omneo_shows_as_text_change_nothing(shop: Shop) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, numbers_as_text=True)
    shop.world.sandbox.omneo.reward_definition(TENANT, id=7, period="2", period_type="weeks")
    assert shop.call(a_body(id="a", data={"reward_definition_id": "7"})) == Result("created", 1)
    assert shop.rewards()[0]["expires_local_at"] == "2026-12-05 23:59:59"
    assert shop.call(a_body(id="a", data={"reward_definition_id": "7"})) == Result("exists", 1)


# Whose it is


def test_the_klaviyo_identity_goes_before_the_email(shop: Shop) -> None:
    shop.world.sandbox.omneo.profile(TENANT, id="other", email="canary-other@example.org")
    shop.call(a_body(email="canary-other@example.org"))
    shop.call(a_body(person_id="canary-nobody", email="canary-other@example.org"))
    shop.call(a_body(person_id="", email=EMAIL.upper()))
    assert [reward["profile_id"] for reward in shop.rewards()] == [PROFILE, "other", PROFILE]


def test_the_identity_has_the_handle_of_the_tenants_settings(shop: Shop) -> None:
    shop.set(identity_handle="klaviyo-au")
    with pytest.raises(ProfileNotFoundError):
        shop.call(a_body(email=""))
    identity = {"handle": "klaviyo-au", "identifier": PERSON}
    shop.world.sandbox.omneo.profile(TENANT, id="au", identities=[identity])
    shop.call(a_body(email=""))
    assert shop.rewards()[0]["profile_id"] == "au"


@pytest.mark.parametrize(
    "answer",
    [
        {"status": 404},
        {"status": 422},
        {"status": 200, "body": {"data": None}},
        {"status": 200, "body": {"data": []}},
    ],
)
def test_however_omneo_says_that_nobody_has_the_identity_the_email_counts(
    shop: Shop, answer: dict[str, Any]
) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */search-id", **answer)
    assert shop.call(a_body()).status == "created"


@pytest.mark.parametrize("id", ["order-7", ...])
def test_a_person_without_a_profile_gets_no_reward_until_there_is_one(shop: Shop, id: object) -> None:
    body = a_body(id=id, person_id="canary-nobody", email="canary-nobody@example.org")
    with pytest.raises(ProfileNotFoundError):
        shop.call(body)
    shop.world.sandbox.omneo.profile(TENANT, id="new", email="canary-nobody@example.org")
    assert shop.call(body).status == "created"


# When it expires


def test_the_calls_own_time_and_zone_go_before_the_definition_which_is_then_not_asked(shop: Shop) -> None:
    data = {"expires_at": "2026-12-24 18:00:00", "timezone": "America/New_York"}
    shop.call(a_body(data=data))
    (reward,) = shop.rewards()
    assert (reward["timezone"], reward["expires_local_at"]) == ("America/New_York", "2026-12-24 18:00:00")
    assert shop.asked(f"GET /rewards/definitions/{DEFINITION}") == 0


def test_a_tenant_without_a_time_zone_has_its_klaviyo_accounts_or_utc(shop: Shop) -> None:
    shop.set(timezone=None)
    shop.call(a_body())
    shop.world.install()
    shop.world.services.tenants.change(TENANT, _in_kathmandu)
    shop.call(a_body())
    assert [reward["timezone"] for reward in shop.rewards()] == ["UTC", "Asia/Kathmandu"]


def _in_kathmandu(tenant: Any) -> Any:
    klaviyo = tenant.klaviyo.model_copy(update={"account_timezone": "Asia/Kathmandu"})
    return tenant.model_copy(update={"klaviyo": klaviyo})


def test_a_definition_is_asked_for_once_in_five_minutes(shop: Shop) -> None:
    for number in range(5):
        shop.call(a_body(id=number))
    assert shop.asked(f"GET /rewards/definitions/{DEFINITION}") == 1
    shop.world.clock.advance(301)
    shop.call(a_body(id="later"))
    assert shop.asked(f"GET /rewards/definitions/{DEFINITION}") == 2


def test_a_definition_may_be_named_by_its_handle(shop: Shop) -> None:
    data = {"reward_definition_id": ..., "reward_definition_handle": "birthday"}
    for _ in range(2):
        shop.call(a_body(data=data))
    assert [reward["definition"]["id"] for reward in shop.rewards()] == [DEFINITION] * 2
    assert shop.asked("GET /rewards/definitions") == 1


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"reward_definition_id": 99}, r"data\.reward_definition_id must name"),
        ({"reward_definition_id": ..., "reward_definition_handle": "x"}, r"data\.reward_definition_handle must name"),
        ({"reward_definition_id": 7}, r"data\.expires_at is needed"),
        ({"reward_definition_id": 99, "expires_at": "2027-01-01"}, "reward at reward_definition_id"),
        ({"issued_at": "now"}, "reward at issued_at"),
    ],
)  # fmt: skip
def test_what_omneo_cannot_make_is_refused_by_name_and_can_be_mended(
    shop: Shop, data: dict[str, Any], says: str
) -> None:
    shop.world.sandbox.omneo.reward_definition(TENANT, id=7)
    with pytest.raises(InvalidPayloadError, match=says):
        shop.call(a_body(id="order-7", data=data))
    assert shop.rewards() == []
    assert shop.call(a_body(id="order-7")).status == "created"


# One id, one reward


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("after", [0.0, 60.0, DAY, 399 * DAY])
def test_a_repeated_call_gets_the_first_reward(shop: Shop, rule: Repeated, after: float) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    assert shop.call(a_body(id="order-7")) == Result("created", 1)
    shop.world.clock.advance(after)
    assert shop.call(a_body(id="order-7"), services=shop.another_process()) == Result("exists", 1)
    assert len(shop.rewards()) == 1


def test_a_repeat_that_comes_when_the_reward_is_over_is_no_mistake(shop: Shop) -> None:
    body = a_body(id="order-7", data={"expires_at": "2026-11-22 23:59:59"})
    shop.call(body)
    shop.world.clock.advance(3 * DAY)
    assert shop.call(body) == Result("exists", 1)
    with pytest.raises(InvalidPayloadError, match=r"data\.expires_at must lie in the future"):
        shop.call({**body, "id": "order-8"})


def test_a_repeat_is_answered_without_omneo(shop: Shop) -> None:
    shop.call(a_body(id="order-7"))
    shop.world.sandbox.omneo.fail(100, status=503)
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)


def test_a_number_as_id_is_the_same_as_its_text(shop: Shop) -> None:
    shop.call(a_body(id=7))
    assert shop.call(a_body(id="7")).status == "exists"


def test_the_same_id_with_another_body_is_the_first_reward_and_a_warning(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("project")
    shop.call(a_body(id="order-7"))
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)
    assert [line for line in outcomes(capfd.readouterr().out) if line["severity"] == "WARNING"] == []
    assert shop.call(a_body(id="order-7", data={"amount": 500})) == Result("exists", 1)
    (warning,) = outcomes(capfd.readouterr().out)
    assert (warning["severity"], "another body" in warning["message"]) == ("WARNING", True)


def moments(shop: Shop, body: dict[str, Any], *, kills: bool) -> int:
    """Return how many moments a call has, by living one through."""
    fate = Fate(-1, kills=kills)
    shop.call(body, services=shop.lives(fate))
    return fate.moment + 1


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("kills", [True, False], ids=["killed", "an answer lost"])
@pytest.mark.parametrize("with_id", [True, False], ids=["with an id", "without an id"])
def test_whatever_moment_it_dies_or_goes_silent_a_retry_leaves_exactly_one_reward(
    shop: Shop, rule: Repeated, kills: bool, with_id: bool
) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    shop.set(reward_max_per_hour=1000)
    count = moments(shop, a_body(id="first" if with_id else ...), kills=kills)
    assert count >= (12 if kills else 6)
    for at in range(count):
        before = len(shop.rewards())
        body = a_body(id=f"order-{at}" if with_id else ..., data={"amount": 1 + at})
        fate = Fate(at, kills=kills)
        try:
            shop.call(body, services=shop.lives(fate))
        except (KilledError, ExtensionError):
            ended_early = True
        else:
            ended_early = False
        assert fate.struck
        assert ended_early or not kills
        if not with_id:
            if kills and at == count - 1:
                continue  # the last write forgets the attempt: Omneo's answer was seen, so what comes after is another call
            shop.world.clock.advance(LIVE.total_seconds())
            if not ended_early:
                continue
        retry_until_answered(shop, body)
        assert len(shop.rewards()) == before + 1, at


@pytest.mark.parametrize("with_id", [True, False], ids=["with an id", "without an id"])
def test_on_either_store_a_death_is_followed_by_one_reward(
    world: World, documents: Documents, with_id: bool
) -> None:
    shop = Shop(world, documents).open(reward_max_per_hour=1000)
    world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    count = moments(shop, a_body(id="first" if with_id else ...), kills=True)
    for at in range(count if with_id else count - 1):
        before = len(shop.rewards())
        body = a_body(id=f"order-{at}" if with_id else ..., data={"amount": 1 + at})
        with pytest.raises(KilledError):
            shop.call(body, services=shop.lives(Fate(at, kills=True)))
        world.clock.advance(LIVE.total_seconds())
        retry_until_answered(shop, body)
        assert len(shop.rewards()) == before + 1, at
    status = "exists" if with_id else "created"
    body = a_body(id="first" if with_id else ...)
    assert shop.call(body, services=shop.another_process()).status == status


def retry_until_answered(shop: Shop, body: dict[str, Any]) -> Result:
    """Call again as Klaviyo does, impatiently, each time in a process that knows nothing."""
    for _ in range(12):
        try:
            return shop.call(body, services=shop.another_process())
        except (WaitError, OwnServiceError):
            shop.world.clock.advance(10)
    raise AssertionError("it was never answered")


@pytest.mark.parametrize("rule", RULES)
def test_a_death_during_the_retry_changes_nothing(shop: Shop, rule: Repeated) -> None:
    """Two lives, one after the other, each ending at any of its moments."""
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    count = moments(shop, a_body(id="first"), kills=True)
    for first in range(0, count, 2):
        for second in range(0, count, 3):
            body = a_body(id=f"{first}-{second}")
            before = len(shop.rewards())
            for at in (first, second):
                try:
                    shop.call(body, services=shop.lives(Fate(at, kills=True)))
                except (KilledError, ExtensionError):
                    shop.world.clock.advance(LATER)
            retry_until_answered(shop, body)
            assert len(shop.rewards()) == before + 1, (first, second)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("with_id", [True, False])
@pytest.mark.parametrize(
    ("fault", "is_blind"),
    [
        ({"kind": "reset", "takes_effect": True}, True),
        ({"status": 502, "takes_effect": True}, True),
        ({"status": 504, "takes_effect": True}, True),
        ({"status": 408, "takes_effect": True}, True),
        ({"status": 500, "takes_effect": True}, False),
        ({"status": 503, "takes_effect": True}, False),
        ({"kind": "truncated", "takes_effect": True}, False),
        ({"kind": "broken_json", "takes_effect": True}, False),
        ({"status": 201, "body": {"data": {}}, "takes_effect": True}, False),
        ({"kind": "reset"}, True),
        ({"status": 504}, True),
        ({"status": 500}, False),
    ],
    ids=str,
)  # fmt: skip
def test_while_omneo_may_still_be_at_work_nobody_makes_another_and_then_it_is_looked_for(
    shop: Shop, rule: Repeated, with_id: bool, fault: dict[str, Any], is_blind: bool
) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", **fault)
    body = a_body(id="order-7" if with_id else ...)
    with pytest.raises(WaitError) as first:
        shop.call(body)
    if is_blind:
        assert first.value.retry_after == pytest.approx(LIFE.total_seconds())
        for _ in range(2):
            with pytest.raises(BusyError):
                shop.call(body)
        shop.world.clock.advance(LATER)
    creations = shop.asked("POST /rewards")
    result = shop.call(body)
    took_effect = fault.get("takes_effect", False)
    assert result == Result("exists" if took_effect else "created", 1)
    assert shop.asked("POST /rewards") == creations + (not took_effect)
    assert len(shop.rewards()) == 1


@pytest.mark.parametrize("id", ["order-7", ...])
def test_the_wait_that_is_asked_for_ends_when_the_next_call_may_look(shop: Shop, id: object) -> None:
    clock = shop.world.clock
    services = sluggish(
        shop.another_process(), clock, 1000.0, lambda line: "POST" in line and "rewards" in line
    )
    began = clock.now
    with (
        lasting(lambda: ANSWER_WITHIN - (clock.now - began).total_seconds()),
        pytest.raises(WaitError) as first,
    ):
        shop.call(a_body(id=id), services=services)
    assert first.value.retry_after is not None
    assert 0 < first.value.retry_after < LIFE.total_seconds()
    over = clock.now + timedelta(seconds=first.value.retry_after)
    clock.now = over - timedelta(
        seconds=POLL_SECONDS + 0.001
    )  # a call with an id waits a little for the one before it
    with pytest.raises(BusyError):
        shop.call(a_body(id=id))
    clock.now = over
    assert shop.call(a_body(id=id)).status == "exists"


@pytest.mark.parametrize("status", [404, 405])
def test_an_address_that_omneo_does_not_know_is_no_fault_of_the_call(shop: Shop, status: int) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", status=status)
    with pytest.raises(WaitError):
        shop.call(a_body(id="order-7"))
    assert shop.call(a_body(id="order-7")).status == "created"


@pytest.mark.parametrize(
    "fault", [{"status": 429}, {"kind": "html403"}, {"status": 401}, {"status": 403}], ids=str
)
@pytest.mark.parametrize("with_id", [True, False])
def test_what_omneo_surely_has_not_made_may_be_tried_again_at_once_without_a_look(
    shop: Shop, fault: dict[str, Any], with_id: bool
) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", **fault)
    body = a_body(id="order-7" if with_id else ...)
    with pytest.raises(WaitError):
        shop.call(body)
    assert shop.call(body).status == "created"
    assert shop.asked("GET /rewards") == 0


@pytest.mark.parametrize("path", ["POST */search-id", "GET */profiles", "GET */definitions/*"])
@pytest.mark.parametrize(
    "fault",
    [{"status": 503}, {"status": 401}, {"status": 429, "headers": {"Retry-After": "7"}}, {"kind": "reset"}],
    ids=str,
)
def test_trouble_before_the_reward_is_asked_for_leaves_nothing_behind(
    shop: Shop, path: str, fault: dict[str, Any]
) -> None:
    shop.world.sandbox.omneo.fail(1, match=path, **fault)
    body = a_body(id="order-7", person_id="canary-nobody")
    with pytest.raises(WaitError) as refused:
        shop.call(body)
    assert refused.value.retry_after == (7 if fault.get("status") == 429 else None)
    assert shop.call(body).status == "created"
    assert shop.asked("GET /rewards") == 0


def test_a_look_that_fails_is_done_again_before_anything_is_made(shop: Shop) -> None:
    omneo = shop.world.sandbox.omneo
    omneo.reward_rules(TENANT, repeated_external_id="creates")
    for id in ("order-7", ...):
        body = a_body(id=id)
        before = len(shop.rewards())
        omneo.fail(1, match="POST */rewards", status=500, takes_effect=True)
        with pytest.raises(WaitError):
            shop.call(body)
        for status, text in ((503, ""), (429, ""), (200, "{")):
            omneo.fail(1, match="GET */rewards", status=status, body=text)
            with pytest.raises(WaitError):
                shop.call(body)
        assert shop.call(body).status == "exists"
        assert len(shop.rewards()) == before + 1


def test_a_reward_is_found_on_any_page(shop: Shop) -> None:
    omneo = shop.world.sandbox.omneo
    omneo.reward_rules(TENANT, repeated_external_id="creates")
    omneo.fail(1, match="POST */rewards", status=500, takes_effect=True)
    with pytest.raises(WaitError):
        shop.call(a_body(id="order-7"))
    for number in range(120):
        shop.call(a_body(id=f"later-{number}"))
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)


@pytest.mark.parametrize("rule", ["422", "409"])
def test_a_reward_that_omneo_knows_and_our_store_does_not_is_found(shop: Shop, rule: Repeated) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    shop.call(a_body(id="order-7"))
    RewardClaims.of(shop.world.services).forget(TENANT)
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)
    assert shop.asked("POST /rewards") == 2  # the third call was ours to answer again


@pytest.mark.parametrize("answer", [
    {"status": 409, "body": {"message": "Conflict"}},
    {"status": 422, "body": {"errors": {"external_id": ["taken"]}}},
    {"status": 422, "body": {"errors": {"rewards.0.external_id": ["taken"]}}},
    {"status": 422, "body": {"message": "The external id has already been taken."}},
])  # fmt: skip
def test_however_omneo_refuses_an_id_it_knows_the_reward_is_found(shop: Shop, answer: dict[str, Any]) -> None:
    shop.call(a_body(id="order-7"))
    RewardClaims.of(shop.world.services).forget(TENANT)
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", **answer)
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)


@pytest.mark.parametrize("rule", ["422", "409"])
def test_where_omneo_refuses_an_id_as_another_persons_the_answer_says_how_to_make_it_ones_own(
    shop: Shop, rule: Repeated
) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    john = shop.another_person()
    shop.call(a_body(id="birthday-2027", **john))
    for _ in range(2):
        with pytest.raises(InvalidPayloadError, match=r"different for each person: put \{\{ person\.id \}\}"):
            shop.call(a_body(id="birthday-2027"))
    assert [reward["profile_id"] for reward in shop.rewards()] == ["other"]
    assert shop.call(a_body(id=f"birthday-2027-{PERSON}")).status == "created"


def test_a_reward_whose_note_fails_is_answered_all_the_same_and_never_made_twice(
    shop: Shop, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("project")
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    services = shop.another_process()
    services.__dict__["documents"] = _Forgetful(services.documents)
    assert shop.call(a_body(id="order-7"), services=services) == Result("created", 1)
    assert [line["severity"] for line in outcomes(capfd.readouterr().out)] == ["ERROR"]
    with pytest.raises(BusyError):
        shop.call(a_body(id="order-7"))
    shop.world.clock.advance(LATER)
    assert shop.call(a_body(id="order-7")) == Result("exists", 1)
    assert len(shop.rewards()) == 1


class _Forgetful(Through):
    """A store that takes a claim and then nothing more."""

    def passing(self, operation: str, call: Any) -> Any:
        if operation == "update":
            raise StoreUnavailableError("gone")
        return call()


def test_a_store_that_is_gone_makes_no_reward(shop: Shop) -> None:
    services = shop.another_process()
    services.__dict__["documents"] = _Gone(services.documents)
    for id in ("order-7", ...):
        with pytest.raises(StoreUnavailableError):
            shop.call(a_body(id=id), services=services)
    assert shop.world.sandbox.omneo.calls.all() == []


class _Gone(Through):
    def passing(self, operation: str, call: Any) -> Any:
        raise StoreUnavailableError("gone")


def test_a_hundred_equal_calls_at_once_are_one_reward(shop: Shop) -> None:
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id="creates")
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", kind="slow", seconds=0.3)
    services = shop.another_process()
    real = type(services)(services.settings)  # nobody's clock here runs faster than the others work
    results = at_once(100, lambda: shop.call(a_body(id="order-7"), services=real))
    assert sorted(result.status for result in results) == ["created"] + ["exists"] * 99
    assert {result.reward_id for result in results} == {1}
    assert len(shop.rewards()) == 1


def test_a_hundred_different_calls_at_once_are_a_hundred_rewards(shop: Shop) -> None:
    services = shop.another_process()
    real = type(services)(services.settings)
    numbers = iter(range(100))
    lock = threading.Lock()

    def call() -> Result:
        with lock:
            number = next(numbers)
        return shop.call(a_body(id=number), services=real)

    assert {result.status for result in at_once(100, call)} == {"created"}
    assert sorted(int(reward["external_id"]) for reward in shop.rewards()) == list(range(100))


def at_once(callers: int, call: Any) -> list[Any]:
    """Return what so many threads got, all calling at the same moment."""
    start = threading.Barrier(callers)

    def one(_: int) -> Any:
        start.wait(timeout=60)
        return call()

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def test_who_meets_a_live_claim_waits_three_seconds_for_its_result_and_no_longer(shop: Shop) -> None:
    claims, person = RewardClaims.of(shop.world.services), Person(PERSON, EMAIL)
    assert claims.take(TENANT, "order-7", person, PROFILE, "b") is not None
    with pytest.raises(BusyError):
        shop.call(a_body(id="order-7"))
    assert sum(shop.world.clock.slept) == pytest.approx(POLL_SECONDS)
    assert shop.world.sandbox.omneo.calls.all() == []


def test_what_is_issued_in_the_last_moment_of_that_wait_is_the_answer(shop: Shop) -> None:
    clock = shop.world.clock
    claims, person = RewardClaims.of(shop.world.services), Person(PERSON, EMAIL)
    claim = claims.take(TENANT, "order-7", person, PROFILE, "b")
    assert isinstance(claim, Claim)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if sum(clock.slept) > POLL_SECONDS - 0.001:
            claims.issued(claim, Issued(reward_id=41, profile_id=PROFILE, body="b"))

    services = replace(shop.another_process(), sleep=sleep)
    assert shop.call(a_body(id="order-7"), services=services) == Result("exists", 41)
    assert sum(clock.slept) == pytest.approx(POLL_SECONDS)


# Without an id


def test_without_an_id_every_call_is_a_reward(shop: Shop) -> None:
    for id in (..., "", None):
        shop.call(a_body(id=id))
    shop.call(a_body())
    assert len(shop.rewards()) == 4
    assert len({reward["meta"][META_KEY] for reward in shop.rewards()}) == 4
    assert [reward["external_id"] for reward in shop.rewards()] == [None] * 4


def test_equal_calls_without_an_id_beside_each_other_are_rewards_of_their_own(shop: Shop) -> None:
    services = shop.another_process()
    real = type(services)(services.settings)
    results = at_once(8, lambda: shop.call(a_body(), services=real))
    assert {result.status for result in results} == {"created"}
    assert len(shop.rewards()) == 8


@pytest.mark.parametrize(
    ("body", "flow"), [(a_body(data={"amount": 11}), "canary-flow"), (a_body(), "another")]
)
def test_another_body_or_flow_does_not_wait_for_an_unseen_answer(
    shop: Shop, body: dict[str, Any], flow: str
) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", kind="reset", takes_effect=True)
    with pytest.raises(WaitError):
        shop.call(a_body())
    assert shop.call(body, flow=flow).status == "created"
    assert len(shop.rewards()) == 2


def test_one_unseen_answer_makes_one_call_look_and_the_next_is_a_reward_again(shop: Shop) -> None:
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", status=500, takes_effect=True)
    with pytest.raises(WaitError):
        shop.call(a_body())
    assert [shop.call(a_body()).status for _ in range(3)] == ["exists", "created", "created"]
    assert len(shop.rewards()) == 3


# Limits


def test_an_amount_above_the_tenants_limit_is_refused_and_at_it_is_not(shop: Shop) -> None:
    shop.set(reward_max_amount=50.0)
    with pytest.raises(InvalidPayloadError, match="reward_max_amount"):
        shop.call(a_body(id="a", data={"amount": "50.01"}))
    assert shop.rewards() == []
    assert shop.call(a_body(id="a", data={"amount": 50})).status == "created"
    shop.set(reward_max_amount=10.0)
    assert shop.call(a_body(id="a", data={"amount": 50})).status == "exists"


def test_more_than_the_limit_of_an_hour_wait_for_the_next(shop: Shop) -> None:
    shop.set(reward_max_per_hour=3)
    shop.world.clock.advance(600)
    for number in range(3):
        shop.call(a_body(id=number))
    for body in (a_body(id=3), a_body()):
        with pytest.raises(CapReachedError, match="reward_max_per_hour") as refused:
            shop.call(body)
        assert refused.value.retry_after == 3000
    assert shop.call(a_body(id=1)).status == "exists"
    assert shop.asked("POST /rewards") == 3
    shop.world.clock.advance(3000)
    assert shop.call(a_body(id=3)).status == "created"


def test_only_rewards_that_are_made_take_a_place(shop: Shop) -> None:
    shop.set(reward_max_per_hour=2)
    omneo = shop.world.sandbox.omneo
    for status in (429, 401, 422):
        omneo.fail(1, match="POST */rewards", status=status)
        with pytest.raises((WaitError, InvalidPayloadError)):
            shop.call(a_body(id="a"))
    with pytest.raises(ProfileNotFoundError):
        shop.call(a_body(person_id="canary-nobody", email=""))
    shop.call(a_body(id="a"))
    RewardClaims.of(shop.world.services).forget(TENANT)
    assert shop.call(a_body(id="a")).status == "exists"  # Omneo said so
    assert shop.call(a_body(id="b")).status == "created"
    with pytest.raises(CapReachedError):
        shop.call(a_body(id="c"))


def test_a_broken_flow_of_fifty_at_once_spends_no_more_than_the_limit(shop: Shop) -> None:
    shop.set(reward_max_per_hour=10)
    services = shop.another_process()
    real = type(services)(services.settings)

    def call() -> str:
        try:
            return shop.call(a_body(), services=real).status
        except (CapReachedError, OwnServiceError) as error:
            return type(error).__name__

    results = at_once(50, call)
    made = results.count("created")
    assert len(shop.rewards()) == made <= 10
    # Whom the crowd turned away took no place: what is left of the hour is there for calls one by one.
    assert [shop.call(a_body(), services=real).status for _ in range(10 - made)] == ["created"] * (10 - made)
    with pytest.raises(CapReachedError):
        shop.call(a_body(), services=real)


# Credentials


@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_omneo_does_not_let_do_this_is_an_operators_matter(
    shop: Shop, status: int, capfd: pytest.CaptureFixture[str]
) -> None:
    logs.configure("project")
    shop.world.sandbox.omneo.fail(1, match="POST */rewards", status=status)
    with pytest.raises(WaitError, match="token"):
        shop.call(a_body(id="order-7"))
    (line,) = outcomes(capfd.readouterr().out)
    assert (line["severity"], str(status) in line["reason"]) == (logging.getLevelName(logging.CRITICAL), True)


# Time


@pytest.mark.parametrize("seconds", [1.0, 2.0, 2.9, 4.0, 1000.0])
@pytest.mark.parametrize(
    "slow", ["", "POST search-id", "GET profiles?", "GET definitions/", "POST rewards", "GET rewards?"]
)
@pytest.mark.parametrize("id", ["order-7", ...])
@pytest.mark.parametrize("rule", ["422", "creates"])
def test_however_slow_omneo_is_the_call_is_over_in_time_and_the_reward_is_one(
    shop: Shop, seconds: float, slow: str, id: object, rule: Repeated
) -> None:
    clock = shop.world.clock
    shop.world.sandbox.omneo.reward_rules(TENANT, repeated_external_id=rule)
    method, _, path = slow.partition(" ")
    body = a_body(id=id, person_id="canary-nobody")
    began = clock.now
    services = sluggish(
        shop.another_process(), clock, seconds, lambda line: line.startswith(method) and path in line
    )
    try:
        with lasting(lambda: ANSWER_WITHIN - (clock.now - began).total_seconds()):
            answered = shop.call(body, services=services).status == "created"
    except (WaitError, OwnServiceError):
        answered = False
    assert (clock.now - began).total_seconds() <= ANSWER_WITHIN
    assert answered or seconds >= 2
    if not answered:
        clock.advance(LIVE.total_seconds())
        retry_until_answered(shop, body)
    assert len(shop.rewards()) == 1


def test_no_reward_is_begun_when_little_time_is_left(shop: Shop) -> None:
    for left in (0.0, 0.5, 1.2, 2.4):
        with lasting(lambda left=left: left), pytest.raises((BusyError, WaitError)):  # type: ignore[misc]  # a default
            shop.call(a_body(id="order-7"))
    assert shop.asked("POST /rewards") == 0
    with lasting(lambda: 2.6):
        assert shop.call(a_body(id="order-7")).status == "created"


@pytest.mark.parametrize("match", ["POST */search-id", "POST */rewards"])
def test_an_omneo_that_hangs_is_left_in_time(shop: Shop, match: str) -> None:
    """The time runs once the call hangs: what came before it takes as long as a busy machine takes."""
    omneo, hangs_since = shop.world.sandbox.omneo, list[float]()
    omneo.fail(1, match=match, kind="hang", seconds=60)

    def left() -> float:
        if not hangs_since and any(call.fault == "hang" for call in omneo.calls.all()):
            hangs_since.append(time.monotonic())
        return 2.8 - (time.monotonic() - hangs_since[0] if hangs_since else 0)

    began = time.monotonic()
    with lasting(left), pytest.raises(WaitError, match="in time"):
        shop.call(a_body(id="order-7"))
    assert time.monotonic() - began < 30  # it hangs for a minute
