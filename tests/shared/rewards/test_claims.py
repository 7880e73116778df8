"""Claims on rewards, attempts without an id, and the hourly count, on both stores: one winner, whoever dies, and nothing personal kept."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any, TypeVar

import pytest

from shared.errors import BusyError, DocumentChangedError, StoreUnavailableError
from shared.rewards.attempts import KEPT as ATTEMPTS_KEPT
from shared.rewards.attempts import LIVE, RewardAttempts, State, state_of
from shared.rewards.claims import KEPT, LIFE, Claim, Issued, Person, RewardClaims
from shared.rewards.counts import SHARDS, Place, RewardCounts
from shared.storage.documents import Documents
from tests.support import stores
from tests.support.through import Through
from tests.support.world import Clock

T = TypeVar("T")

documents = stores.documents
stored_bytes = stores.stored_bytes

ID = "canary-order-7"
JANE = Person(klaviyo_id="canary-01HX", email="canary-jane@example.org")
ISSUED = Issued(reward_id=41, profile_id="p-1", body="b")


def ids() -> Callable[[], str]:
    numbers, lock = count(1), threading.Lock()

    def new_id() -> str:
        with lock:
            return f"made-up-{next(numbers)}"

    return new_id


@pytest.fixture
def claims(documents: Documents, clock: Clock) -> RewardClaims:
    return RewardClaims(documents, clock, ids())


@pytest.fixture
def attempts(documents: Documents, clock: Clock) -> RewardAttempts:
    return RewardAttempts(documents, clock, ids())


def counts(documents: Documents, clock: Clock, random: float = 0.0) -> RewardCounts:
    return RewardCounts(documents, clock, lambda: random)


def all_at_once(callers: int, ask: Callable[[], T]) -> list[T]:
    """Return what so many callers got, all asking at the same moment."""
    start = threading.Barrier(callers)

    def one(_: int) -> T:
        start.wait(timeout=60)
        return ask()

    with ThreadPoolExecutor(callers) as pool:
        return list(pool.map(one, range(callers)))


def taken(
    claims: RewardClaims,
    *,
    id: str = ID,
    tenant: str = "acme",
    person: Person = JANE,
    profile: str = "p-1",
    body: str = "b",
) -> Claim | Issued | None:
    return claims.take(tenant, id, person, profile, body)


def held(claims: RewardClaims, **changes: Any) -> Claim:
    claim = taken(claims, **changes)
    assert isinstance(claim, Claim)
    return claim


def begun(attempts: RewardAttempts, call: str = "call", profile: str = "p-1") -> Claim:
    return attempts.follow("acme", call) or attempts.begin("acme", call, profile)


class TestWithAnId:
    def test_of_sixteen_who_ask_at_once_one_holds(self, claims: RewardClaims) -> None:
        got = all_at_once(16, lambda: taken(claims))
        assert sum(isinstance(claim, Claim) for claim in got) == 1

    def test_the_first_need_not_look_and_whoever_follows_a_death_must(
        self, claims: RewardClaims, clock: Clock
    ) -> None:
        first = held(claims)
        assert (first.in_doubt, first.key) == (False, ID)
        clock.advance(LIFE.total_seconds() - 0.001)
        assert taken(claims) is None
        clock.advance(0.001)
        second = held(claims)
        assert (second.in_doubt, second.key) == (True, ID)
        assert taken(claims) is None

    @pytest.mark.parametrize("round", range(3))
    def test_of_sixteen_who_follow_a_death_at_once_one_holds(
        self, claims: RewardClaims, clock: Clock, round: int
    ) -> None:
        held(claims)
        clock.advance(LIFE.total_seconds() + round)
        got = all_at_once(16, lambda: taken(claims))
        assert sum(isinstance(claim, Claim) for claim in got) == 1

    def test_an_issued_reward_is_remembered_for_400_days(self, claims: RewardClaims, clock: Clock) -> None:
        claims.issued(held(claims), ISSUED)
        assert taken(claims, body="another body") == ISSUED
        clock.advance(KEPT.total_seconds() - 0.001)
        assert taken(claims) == ISSUED
        clock.advance(0.001)
        assert held(claims).in_doubt

    def test_a_reward_may_have_an_id_of_text(self, claims: RewardClaims) -> None:
        issued = Issued(reward_id="r-41", profile_id="p-1", body="b")
        claims.issued(held(claims), issued)
        assert taken(claims) == issued

    def test_what_is_given_back_is_new_to_the_next(self, claims: RewardClaims) -> None:
        claims.give_back(held(claims))
        assert not held(claims).in_doubt

    def test_what_is_left_in_doubt_can_be_looked_for_at_once(self, claims: RewardClaims) -> None:
        claims.leave_in_doubt(held(claims))
        assert held(claims).in_doubt
        assert taken(claims) is None

    def test_where_omneo_may_be_at_work_the_claim_stays(self, claims: RewardClaims, clock: Clock) -> None:
        claim = held(claims)
        clock.advance(10)
        assert claims.wait_out(claim) == LIFE.total_seconds() - 10
        assert taken(claims) is None

    @pytest.mark.parametrize("way", ["give_back", "leave_in_doubt", "wait_out"])
    def test_who_comes_back_late_leaves_the_new_holder_alone(
        self, claims: RewardClaims, clock: Clock, way: str
    ) -> None:
        late = held(claims)
        clock.advance(LIFE.total_seconds())
        held(claims)
        getattr(claims, way)(late)
        assert taken(claims) is None

    @pytest.mark.parametrize("way", ["give_back", "leave_in_doubt"])
    def test_who_ends_a_claim_in_the_moment_of_a_take_over_leaves_the_new_holder_alone(
        self, claims: RewardClaims, documents: Documents, clock: Clock, way: str
    ) -> None:
        late = held(claims)
        clock.advance(LIFE.total_seconds())
        overtaken = stores.Overtaken(documents, lambda: held(claims))
        getattr(RewardClaims(overtaken, clock, ids()), way)(late)
        assert taken(claims) is None

    @pytest.mark.parametrize("way", ["give_back", "leave_in_doubt"])
    def test_what_is_given_back_between_a_look_and_a_write_stays_given_back(
        self, claims: RewardClaims, documents: Documents, clock: Clock, way: str
    ) -> None:
        claim = held(claims)
        overtaken = stores.Overtaken(documents, lambda: claims.give_back(claim))
        getattr(RewardClaims(overtaken, clock, ids()), way)(claim)
        assert held(claims).in_doubt is False

    def test_who_takes_over_what_is_given_back_in_that_moment_gets_nothing(
        self, claims: RewardClaims, documents: Documents, clock: Clock
    ) -> None:
        late = held(claims)
        clock.advance(LIFE.total_seconds())
        overtaken = stores.Overtaken(documents, lambda: claims.give_back(late))
        assert taken(RewardClaims(overtaken, clock, lambda: "second")) is None
        assert held(claims).in_doubt is False

    def test_who_is_overtaken_while_taking_what_nobody_held_gets_nothing(
        self, claims: RewardClaims, documents: Documents, clock: Clock
    ) -> None:
        overtaken = stores.Overtaken(documents, lambda: held(claims), before=("create",))
        assert taken(RewardClaims(overtaken, clock, lambda: "second")) is None

    def test_a_reward_noted_late_leaves_the_one_that_another_notes_in_that_moment(
        self, claims: RewardClaims, documents: Documents, clock: Clock
    ) -> None:
        late = held(claims)
        clock.advance(LIFE.total_seconds())
        claims.give_back(held(claims))
        others = Issued(reward_id=42, profile_id="p-1", body="b")
        overtaken = stores.Overtaken(
            documents, lambda: claims.issued(held(claims), others), before=("create",)
        )
        RewardClaims(overtaken, clock, ids()).issued(late, ISSUED)
        assert taken(claims) == others

    def test_a_claim_in_doubt_that_means_another_profile_stays_in_doubt(
        self, claims: RewardClaims, clock: Clock
    ) -> None:
        held(claims)
        john = Person("canary-02HX", "canary-john@example.org")
        held(claims, person=john, profile="p-2")
        clock.advance(LIFE.total_seconds())
        assert taken(claims, person=john, profile="p-1") is None
        assert held(claims).in_doubt

    def test_a_reward_noted_late_is_noted_all_the_same(self, claims: RewardClaims, clock: Clock) -> None:
        late = held(claims)
        clock.advance(LIFE.total_seconds())
        claims.give_back(held(claims))
        claims.issued(late, ISSUED)
        assert taken(claims) == ISSUED

    def test_who_is_overtaken_while_taking_over_gets_nothing(
        self, claims: RewardClaims, documents: Documents, clock: Clock
    ) -> None:
        held(claims)
        clock.advance(LIFE.total_seconds())
        overtaken = stores.Overtaken(documents, lambda: held(claims))
        assert taken(RewardClaims(overtaken, clock, lambda: "second")) is None

    def test_tenants_and_ids_do_not_meet(self, claims: RewardClaims) -> None:
        names = [("acme", ID), ("acme-stg", ID), ("acme", f"{ID}/b"), ("acme", ".."), ("acme", "")]
        got = [taken(claims, id=id, tenant=tenant) for tenant, id in names]
        assert all(isinstance(claim, Claim) and not claim.in_doubt for claim in got)

    def test_an_id_is_another_claim_for_another_profile(self, claims: RewardClaims) -> None:
        john = Person("canary-02HX", "canary-john@example.org")
        claims.issued(held(claims), ISSUED)
        assert held(claims, person=john, profile="p-2").in_doubt is False
        assert taken(claims, person=john, profile="p-1") == ISSUED  # whoever calls: the profile has it

    def test_whom_a_call_meant_is_remembered_before_anything_is_made(
        self, claims: RewardClaims, clock: Clock
    ) -> None:
        assert claims.meant("acme", ID, JANE) == ""
        held(claims)
        clock.advance(LIFE.total_seconds())
        assert claims.meant("acme", ID, JANE) == "p-1"
        assert claims.meant("acme", ID, Person(JANE.klaviyo_id, JANE.email.upper())) == "p-1"
        others = [
            ("acme-stg", ID, JANE),
            ("acme", "other", JANE),
            ("acme", ID, Person("", JANE.email)),
            ("acme", ID, Person(JANE.klaviyo_id, "")),
        ]
        assert [claims.meant(*other) for other in others] == [""] * 4

    def test_a_call_cannot_mean_another_profile_than_its_equal_before(self, claims: RewardClaims) -> None:
        held(claims)
        assert taken(claims, profile="p-2") is None
        assert claims.meant("acme", ID, JANE) == "p-1"
        john = Person("canary-02HX", "canary-john@example.org")
        assert (
            held(claims, person=john, profile="p-2").in_doubt is False
        )  # the refused one left nothing behind

    def test_where_nothing_was_made_whom_it_meant_is_open_again(self, claims: RewardClaims) -> None:
        claims.give_back(held(claims))
        assert claims.meant("acme", ID, JANE) == ""
        assert held(claims, profile="p-2").profile_id == "p-2"

    def test_where_something_may_have_been_made_it_stays(self, claims: RewardClaims) -> None:
        claims.leave_in_doubt(held(claims))
        assert claims.meant("acme", ID, JANE) == "p-1"

    def test_a_document_that_makes_no_sense_is_taken_over_in_doubt(
        self, claims: RewardClaims, documents: Documents
    ) -> None:
        claim = held(claims)
        documents.update(claim.collection, claim.id, {"state": "done", "reward_id": None})
        assert held(claims).in_doubt

    def test_a_person_is_forgotten_however_many_calls_meant_them(
        self, claims: RewardClaims, documents: Documents
    ) -> None:
        john = Person("canary-02HX", "canary-john@example.org")
        held(claims, id="johns", person=john, profile="p-2")
        claim = held(claims)
        claims.issued(claim, ISSUED)
        for number in range(100):
            documents.create(claim.collection, f"person-{number}", {"profile_id": "p-1"})
        assert claims.forget_person("acme", "p-1") == 102
        assert documents.count(claim.collection, where={"profile_id": "p-1"}) == 0
        assert claims.meant("acme", ID, JANE) == ""
        assert claims.meant("acme", "johns", john) == "p-2"

    def test_neither_id_nor_email_is_stored(
        self, claims: RewardClaims, stored_bytes: Callable[[], bytes]
    ) -> None:
        claims.issued(held(claims), ISSUED)
        assert b"p-1" in stored_bytes()
        assert b"canary" not in stored_bytes()

    def test_a_tenant_is_forgotten_and_no_other(self, claims: RewardClaims) -> None:
        for tenant in ("acme", "acme-stg"):
            claims.issued(held(claims, tenant=tenant), ISSUED)
        claims.forget("acme")
        assert not held(claims).in_doubt
        assert taken(claims, tenant="acme-stg") == ISSUED


class _Crowded(Through):
    """A store in which somebody else is always faster."""

    def passing(self, operation: str, call: Callable[[], T]) -> T:
        if operation == "update":
            raise DocumentChangedError("canary")
        return call()


def _is_early(attempts: RewardAttempts) -> bool:
    """Return whether what became of an equal call cannot be looked for yet."""
    try:
        attempts.follow("acme", "call")
    except BusyError:
        return True
    return False


class TestWithoutAnId:
    def test_equal_calls_beside_each_other_are_rewards_of_their_own(self, attempts: RewardAttempts) -> None:
        got = all_at_once(8, lambda: begun(attempts))
        assert len({claim.key for claim in got if not claim.in_doubt}) == 8

    def test_an_equal_call_after_a_seen_answer_is_a_reward_of_its_own(self, attempts: RewardAttempts) -> None:
        first = begun(attempts)
        attempts.issued(first, ISSUED)
        second = begun(attempts)
        assert (second.in_doubt, second.key == first.key) == (False, False)

    def test_an_equal_call_after_an_unseen_answer_waits_and_then_looks_for_the_same_reward(
        self, attempts: RewardAttempts, clock: Clock
    ) -> None:
        first = begun(attempts)
        assert attempts.wait_out(first) == LIFE.total_seconds()
        assert _is_early(attempts)
        assert begun(attempts, "another call").in_doubt is False
        clock.advance(LIFE.total_seconds())
        second = begun(attempts, profile="p-2")
        assert (second.in_doubt, second.key, second.profile_id) == (True, first.key, "p-1")

    @pytest.mark.parametrize(
        ("seconds", "state"),
        [
            (0.0, State.UNDER_WAY),
            (11.999, State.UNDER_WAY),
            (12.0, State.UNCERTAIN),
            (89.999, State.UNCERTAIN),
            (90.0, State.LEFT_BEHIND),
            (25 * 3600 - 0.001, State.LEFT_BEHIND),
            (25 * 3600.0, State.PAST),
        ],
    )
    def test_an_attempt_passes_through_its_states(
        self, attempts: RewardAttempts, documents: Documents, clock: Clock, seconds: float, state: State
    ) -> None:
        claim = begun(attempts)
        clock.advance(seconds)
        noted = documents.get(claim.collection, claim.id)
        assert noted is not None
        assert state_of(noted, clock()) is state

    def test_only_one_of_many_follows_it_and_the_rest_are_rewards_of_their_own(
        self, attempts: RewardAttempts, clock: Clock
    ) -> None:
        first = begun(attempts)
        attempts.wait_out(first)
        clock.advance(LIFE.total_seconds())
        got = all_at_once(8, lambda: begun(attempts))
        assert [claim.key for claim in got if claim.in_doubt] == [first.key]
        assert len({claim.key for claim in got}) == 8

    def test_an_attempt_whose_process_died_is_followed_as_well(
        self, attempts: RewardAttempts, clock: Clock
    ) -> None:
        first = begun(attempts)
        clock.advance(LIVE.total_seconds())
        assert _is_early(attempts)
        clock.advance((LIFE - LIVE).total_seconds())
        assert begun(attempts).key == first.key

    @pytest.mark.parametrize("gone", [True, False], ids=["given back", "taken over"])
    def test_who_is_overtaken_while_following_makes_a_reward_of_its_own(
        self, attempts: RewardAttempts, documents: Documents, clock: Clock, gone: bool
    ) -> None:
        first = begun(attempts)
        attempts.leave_in_doubt(first)
        overtaken = stores.Overtaken(
            documents, lambda: attempts.give_back(first) if gone else attempts.follow("acme", "call")
        )
        assert RewardAttempts(overtaken, clock, ids()).follow("acme", "call") is None

    def test_what_omneo_is_done_with_can_be_looked_for_at_once(self, attempts: RewardAttempts) -> None:
        first = begun(attempts)
        attempts.leave_in_doubt(first)
        second = begun(attempts)
        assert (second.in_doubt, second.key) == (True, first.key)

    def test_what_is_given_back_leaves_nothing(self, attempts: RewardAttempts, documents: Documents) -> None:
        first = begun(attempts)
        attempts.give_back(first)
        assert documents.count(first.collection) == 0

    def test_after_a_day_an_equal_call_is_another_call(
        self, attempts: RewardAttempts, documents: Documents, clock: Clock
    ) -> None:
        first = begun(attempts)
        clock.advance(ATTEMPTS_KEPT.total_seconds())
        assert not begun(attempts).in_doubt
        assert documents.get(first.collection, first.id) is None

    def test_a_tenant_is_forgotten(self, attempts: RewardAttempts, documents: Documents) -> None:
        first = begun(attempts)
        attempts.forget("acme")
        assert documents.count(first.collection) == 0


class TestCounting:
    @pytest.mark.parametrize("most", [1, 3, 8, 20])
    def test_an_hour_has_exactly_its_places(self, documents: Documents, clock: Clock, most: int) -> None:
        places = [counts(documents, clock, i / most).reserve("acme", most) for i in range(most)]
        assert None not in places
        assert counts(documents, clock).reserve("acme", most) is None
        assert documents.count("tenants/acme/reward_counts") <= SHARDS
        clock.advance(counts(documents, clock).seconds_to_next_hour() - 0.001)
        assert counts(documents, clock).reserve("acme", most) is None
        clock.advance(0.001)
        assert counts(documents, clock).reserve("acme", most) is not None

    @pytest.mark.parametrize(("passed", "left"), [(0.0, 3600.0), (59.5, 3540.5), (3599.75, 0.25)])
    def test_the_next_hour_begins_at_its_first_second(
        self, documents: Documents, clock: Clock, passed: float, left: float
    ) -> None:
        clock.advance(passed)
        assert counts(documents, clock).seconds_to_next_hour() == left

    def test_a_place_given_back_is_free_again(self, documents: Documents, clock: Clock) -> None:
        (place, *_) = [counts(documents, clock).reserve("acme", 3) for _ in range(3)]
        assert place is not None
        assert counts(documents, clock).reserve("acme", 3) is None
        counts(documents, clock).give_back(place)
        assert counts(documents, clock).reserve("acme", 3) == place
        assert counts(documents, clock).reserve("acme", 3) is None

    def test_giving_back_what_was_never_taken_frees_nothing(self, documents: Documents, clock: Clock) -> None:
        place = Place("tenants/acme/reward_counts", "2026-11-21T10-0")
        for _ in range(3):
            counts(documents, clock).give_back(place)
        assert counts(documents, clock).reserve("acme", 1) == place
        for _ in range(3):
            counts(documents, clock).give_back(place)
        assert counts(documents, clock).reserve("acme", 1) is not None
        assert counts(documents, clock).reserve("acme", 1) is None

    def test_a_count_that_makes_no_sense_counts_as_none(self, documents: Documents, clock: Clock) -> None:
        place = counts(documents, clock).reserve("acme", 1)
        assert place is not None
        documents.update(place.collection, place.id, {"count": None})
        assert counts(documents, clock).reserve("acme", 1) is not None
        assert counts(documents, clock).reserve("acme", 1) is None

    @pytest.mark.parametrize("crowded", ["2026-11-21T10-0", "2026-11-21T10-1"])
    def test_where_others_are_faster_every_time_the_call_is_to_come_again_and_not_in_the_next_hour(
        self, documents: Documents, clock: Clock, crowded: str
    ) -> None:
        for random in (0.0, 0.5):
            assert counts(documents, clock, random).reserve("acme", 2) is not None
        documents.update("tenants/acme/reward_counts", crowded, {"count": 0})
        with pytest.raises(StoreUnavailableError):
            RewardCounts(_Crowded(documents), clock, lambda: 0.0).reserve("acme", 2)
        assert counts(documents, clock).reserve("acme", 2) is not None

    def test_twenty_at_once_never_take_more_than_there_are(self, documents: Documents, clock: Clock) -> None:
        numbers = iter(i / 20 for i in range(20))
        lock = threading.Lock()

        def random() -> float:
            with lock:
                return next(numbers)

        counting = RewardCounts(documents, clock, random)
        got: list[Any] = all_at_once(20, lambda: counting.reserve("acme", 12))
        assert sum(place is not None for place in got) == 12

    def test_tenants_count_apart(self, documents: Documents, clock: Clock) -> None:
        assert counts(documents, clock).reserve("acme", 1) is not None
        assert counts(documents, clock).reserve("acme-stg", 1) is not None
        counts(documents, clock).forget("acme")
        assert counts(documents, clock).reserve("acme", 1) is not None
        assert counts(documents, clock).reserve("acme-stg", 1) is None

    def test_a_limit_raised_within_the_hour_holds_at_once(self, documents: Documents, clock: Clock) -> None:
        assert [counts(documents, clock).reserve("acme", 2) is None for _ in range(3)] == [False, False, True]
        assert [counts(documents, clock).reserve("acme", 5) is None for _ in range(4)] == [
            False, False, False, True,
        ]  # fmt: skip
