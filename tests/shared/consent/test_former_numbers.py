"""What is known of a phone number that changes hands, on both stores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from pydantic import SecretStr

from shared.consent.former_numbers import (
    FormerNumbers,
    GivenUp,
    NumberHistory,
    OptOut,
    Sharer,
    mark_of_number,
)
from shared.storage.documents import Documents
from tests.support.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MARK, OTHER = "0123abcd", "fedcba98"
GIVEN = GivenUp(MARK, "01K", NOON, NOON + timedelta(minutes=5))


@pytest.fixture
def numbers(documents: Documents) -> FormerNumbers:
    return FormerNumbers(documents, lambda: NOON)


def test_a_number_has_its_history_with_its_tenant_alone(numbers: FormerNumbers) -> None:
    out = OptOut(NOON, "01K", "joan")
    numbers.note_given_up("acme", GIVEN)
    numbers.note_given_up("acme", replace(GIVEN, until=NOON + timedelta(minutes=9)))  # the same sync, again
    numbers.note_opt_out("acme", MARK, out)
    numbers.note_owner("acme", MARK, "jane")
    later = replace(GIVEN, until=NOON + timedelta(minutes=9))
    assert numbers.history("acme", MARK) == NumberHistory((later,), (out,), ("jane",))
    assert numbers.given_up_by("acme", "01K") == [later]
    assert not numbers.history("acme", OTHER)
    assert not numbers.history("acme-stg", MARK)


def test_an_owner_alone_is_no_history(numbers: FormerNumbers) -> None:
    numbers.note_owner("acme", MARK, "jane")
    assert not numbers.history("acme", MARK)


@pytest.mark.parametrize(
    ("seconds", "address", "may"),
    [(-1, "", False), (0, "", True), (0, OTHER, True), (0, MARK, False), (301, "", False)],
)
def test_what_was_decided_while_omneo_had_the_number_with_the_former_owner_is_not_the_next_ones(
    seconds: float, address: str, may: bool
) -> None:
    assert GIVEN.may_be_of_next(NOON + timedelta(seconds=seconds), address) is may


def test_an_opt_out_is_for_whoever_follows_the_profile_that_it_was_told_of_and_not_for_whom_it_came_from() -> (
    None
):
    history = NumberHistory((GIVEN,), (OptOut(NOON, "01K", "joan"),))
    assert history.opt_outs_for("jane", "01L") == [NOON]
    assert history.opt_outs_for("JOAN", "01L") == []


def test_an_opt_out_of_one_owner_is_not_that_of_the_owner_after_the_next() -> None:
    second = GivenUp(MARK, "01L", NOON, NOON + timedelta(hours=5))
    outs = (
        OptOut(NOON, "01K", "joan"),
        OptOut(NOON + timedelta(hours=1), "01L", "jane"),
        OptOut(NOON, "01X", ""),
    )
    history = NumberHistory((GIVEN, second), outs)
    assert history.former("01M") == [second]
    assert history.opt_outs_for("june", "01M") == [NOON + timedelta(hours=1), NOON]
    assert history.former("01L") == [GIVEN]


def test_who_shares_a_number_does_so_until_they_have_another_or_none(numbers: FormerNumbers) -> None:
    june, since = Sharer("june", NOON - timedelta(days=1)), NOON - timedelta(hours=1)
    assert [numbers.note_shared("acme", number, june) for number in (MARK, MARK, OTHER)] == [
        True,
        False,
        True,
    ]
    numbers.note_shared("acme", MARK, Sharer("jane", since))
    numbers.note_shared("acme", "", Sharer("joan", since))
    assert {*numbers.history("acme", MARK).sharers} == {replace(june, until=NOON), Sharer("jane", since)}
    assert numbers.history("acme", OTHER).sharers == (june,)
    assert not numbers.history("acme", MARK)
    assert (numbers.forget_profile("acme", "june"), numbers.forget_profile("acme", "joan")) == (2, 0)
    assert numbers.history("acme", MARK).sharers == (Sharer("jane", since),)


@pytest.mark.parametrize(
    ("hours", "until", "is_theirs"), [(-1, None, False), (1, None, True), (1, 2, True), (3, 2, False)]
)
def test_what_is_decided_while_a_number_is_shared_may_be_any_sharers(
    hours: int, until: int | None, is_theirs: bool
) -> None:
    end = None if until is None else NOON + timedelta(hours=until)
    assert Sharer("june", NOON, end).may_have_decided(NOON + timedelta(hours=hours)) is is_theirs


def test_a_person_and_a_klaviyo_profile_are_forgotten_and_counted(numbers: FormerNumbers) -> None:
    numbers.note_given_up("acme", GIVEN)
    numbers.note_opt_out("acme", MARK, OptOut(NOON, "01K", "joan"))
    numbers.note_opt_out("acme", OTHER, OptOut(NOON, "01L", "june"))
    numbers.note_owner("acme", MARK, "jane")
    assert (numbers.forget_profile("acme", "jane"), numbers.forget_profile("acme", "joan")) == (1, 1)
    assert (
        numbers.forget_klaviyo_profile("acme", "01K"),
        numbers.forget_klaviyo_profile("acme", "01L"),
    ) == (1, 1)
    # The opt-outs may be those of the numbers' next owners: they stay, of nobody.
    assert numbers.history("acme", MARK) == NumberHistory(opt_outs=(OptOut(NOON, "", ""),))
    assert numbers.history("acme", OTHER) == NumberHistory(opt_outs=(OptOut(NOON, "", ""),))
    assert numbers.history("acme", MARK).opt_outs_for("june", "01M") == [NOON]
    assert (numbers.forget_profile("acme", "joan"), numbers.forget_klaviyo_profile("acme", "01K")) == (0, 0)
    numbers.note_given_up("acme", GIVEN)
    numbers.forget("acme")
    assert not numbers.history("acme", MARK)


def test_the_mark_of_a_number_is_under_the_tenants_own_key(world: World) -> None:
    acme = world.tenant()
    tenants = [
        acme.model_copy(update={"ledger_key": key})
        for key in (SecretStr("canary-one"), SecretStr("canary-two"), None)
    ]
    marks = {mark_of_number(tenant, "+61400000001") for tenant in tenants[:2]}
    assert len(marks) == 2
    with pytest.raises(ValueError, match="ledger key"):
        mark_of_number(tenants[2], "+61400000001")
