"""Whose a Klaviyo profile was that is gone, on both stores."""

from datetime import UTC, datetime

import pytest

from shared.consent.former_identities import FormerIdentities
from shared.storage.documents import Documents

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


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
