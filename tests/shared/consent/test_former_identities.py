"""Whose a Klaviyo profile or its former address was, on both stores."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.consent.former_identities import FormerIdentities, Heir
from shared.consent.former_numbers import Sharer
from shared.storage.documents import Documents

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
MARK = "0123abcd"


@pytest.fixture
def formers(documents: Documents) -> FormerIdentities:
    return FormerIdentities(documents, lambda: NOON)


def test_the_last_whose_it_was_is_told_to_its_tenant_alone(formers: FormerIdentities) -> None:
    formers.note("acme", "01K", "joan")
    formers.note("acme", "01K", "jane")
    assert (formers.profile_of("acme", "01K"), formers.profile_of("acme", "01L")) == ("jane", "")
    assert formers.profile_of("acme-stg", "01K") == ""


def test_a_person_is_forgotten_and_counted(formers: FormerIdentities) -> None:
    formers.note("acme", "01K", "jane")
    formers.note("acme", "01L", "jane")
    formers.note("acme", "01M", "joan")
    assert (formers.forget_profile("acme", "jane"), formers.forget_profile("acme", "jane")) == (2, 0)
    assert (formers.profile_of("acme", "01K"), formers.profile_of("acme", "01M")) == ("", "joan")
    formers.forget("acme")
    assert formers.profile_of("acme", "01M") == ""


def test_who_has_former_addresses_is_told_once_each_beside_whose_the_profile_was(
    formers: FormerIdentities,
) -> None:
    joan, jane = (Heir(name, NOON, NOON + timedelta(minutes=5)) for name in ("joan", "jane"))
    later = replace(jane, until=NOON + timedelta(minutes=9))
    formers.note("acme", "01K", "june")
    formers.note_heir("acme", "01K", joan)
    formers.note_heir("acme", "01K", jane)
    formers.note_heir("acme", "01K", later)  # the same sync, tried again
    assert sorted(formers.heirs_of("acme", "01K"), key=str) == sorted([joan, later], key=str)
    assert formers.profile_of("acme", "01K") == "june"
    assert (formers.heirs_of("acme", "01L"), formers.heirs_of("acme-stg", "01K")) == ([], [])


def test_two_addresses_that_one_heir_was_given_by_the_same_sync_are_told_apart(
    formers: FormerIdentities,
) -> None:
    first = Heir("jane", NOON, NOON + timedelta(minutes=5), MARK)
    second = replace(first, address="fedcba98")
    formers.note_heir("acme", "01K", first)
    formers.note_heir("acme", "01K", second)
    assert sorted(formers.heirs_of("acme", "01K"), key=str) == sorted([first, second], key=str)


def test_who_shares_an_email_does_so_until_they_have_another_or_none(formers: FormerIdentities) -> None:
    june, since = Sharer("june", NOON - timedelta(days=1)), NOON - timedelta(hours=1)
    noted = [formers.note_shared("acme", klaviyo_id, june) for klaviyo_id in ("", "01K", "01K", "01L")]
    assert noted == [False, True, False, True]
    assert formers.note_shared("acme", "01K", Sharer("jane", since))
    assert {*formers.sharers_of("acme", "01K")} == {replace(june, until=NOON), Sharer("jane", since)}
    assert formers.sharers_of("acme", "01L") == [june]
    assert (formers.heirs_of("acme", "01K"), formers.sharers_of("acme-stg", "01K")) == ([], [])
    assert formers.forget_klaviyo_profile("acme", "01L") == 1
    assert (formers.forget_profile("acme", "june"), formers.forget_profile("acme", "jane")) == (1, 1)
    assert formers.sharers_of("acme", "01K") == []


@pytest.mark.parametrize(
    ("seconds", "address", "may"), [(0, "", True), (0, "fedcba98", True), (0, MARK, False), (301, "", False)]
)
def test_what_was_decided_before_omneo_had_the_address_with_the_heir_is_not_the_heirs(
    formers: FormerIdentities, seconds: float, address: str, may: bool
) -> None:
    formers.note_heir("acme", "01K", Heir("jane", NOON, NOON + timedelta(minutes=5), MARK))
    (heir,) = formers.heirs_of("acme", "01K")
    assert heir.may_have_decided(NOON + timedelta(seconds=seconds), address) is may


def test_a_klaviyo_profile_is_forgotten_with_its_former_address(formers: FormerIdentities) -> None:
    formers.note("acme", "01K", "june")
    formers.note_heir("acme", "01K", Heir("jane", NOON, NOON))
    formers.note_heir("acme", "01L", Heir("jane", NOON, NOON))
    assert formers.forget_klaviyo_profile("acme", "01K") == 2
    assert (formers.heirs_of("acme", "01K"), formers.profile_of("acme", "01K")) == ([], "")
    assert formers.forget_profile("acme", "jane") == 1
