"""What is remembered of synced profiles, on both stores."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from shared.profiles.synced import DELETED_KEPT, SyncedProfile, SyncedProfiles
from shared.storage.documents import Documents

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
JANE = "canary-5d1f6a3e"
SYNCED = SyncedProfile(
    account="AcmeAc",
    klaviyo_id="01HX",
    filled=frozenset({"first_name", "properties.omneo_tier"}),
    left={"email": "5d1f", "external_id": "6a3e"},
    read_at=NOON,
)


class Clock:
    """A clock that a test moves."""

    now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def profiles(documents: Documents, clock: Clock) -> SyncedProfiles:
    return SyncedProfiles(documents, clock)


def test_nothing_is_remembered_of_a_profile_that_was_never_synced(profiles: SyncedProfiles) -> None:
    assert profiles.find("acme", JANE) == SyncedProfile()


def test_what_was_synced_comes_back_and_is_replaced_as_a_whole(profiles: SyncedProfiles) -> None:
    profiles.keep("acme", JANE, SYNCED)
    assert profiles.find("acme", JANE) == SYNCED
    profiles.keep("acme", JANE, SyncedProfile(account="Other"))
    assert profiles.find("acme", JANE) == SyncedProfile(account="Other")


def test_a_deletion_is_remembered_beside_the_rest_and_long_enough(
    profiles: SyncedProfiles, clock: Clock
) -> None:
    profiles.bury("acme", "never synced", NOON)
    profiles.keep("acme", JANE, SYNCED)
    profiles.bury("acme", JANE, NOON)
    assert profiles.find("acme", "never synced").deleted_at == NOON
    assert (profiles.find("acme", JANE).deleted_at, profiles.find("acme", JANE).left) == (NOON, SYNCED.left)
    clock.now += DELETED_KEPT - timedelta(seconds=1)
    assert profiles.find("acme", JANE).deleted_at == NOON
    clock.now += timedelta(seconds=1)
    assert profiles.find("acme", JANE) == SyncedProfile()


def test_a_profile_that_was_restored_is_kept_for_good(profiles: SyncedProfiles, clock: Clock) -> None:
    profiles.bury("acme", JANE, NOON)
    profiles.keep("acme", JANE, SYNCED)
    clock.now += 2 * DELETED_KEPT
    assert profiles.find("acme", JANE) == SYNCED


def test_what_was_left_is_forgotten_alone(profiles: SyncedProfiles) -> None:
    profiles.keep("acme", JANE, SYNCED)
    for profile_id in (JANE, "never synced"):
        profiles.forget_left("acme", profile_id)
    assert profiles.find("acme", JANE) == replace(SYNCED, left={})
    assert profiles.find("acme", "never synced") == SyncedProfile()


def test_tenants_are_apart_and_one_is_forgotten_alone(profiles: SyncedProfiles) -> None:
    for number in range(3):
        profiles.keep("acme", f"{JANE}{number}", SYNCED)
    profiles.keep("acme-stg", JANE, SYNCED)
    assert profiles.find("acme", JANE) == SyncedProfile()
    profiles.forget("acme")
    assert [profiles.find("acme", f"{JANE}{number}") for number in range(3)] == [SyncedProfile()] * 3
    assert profiles.find("acme-stg", JANE) == SYNCED


def test_the_omneo_id_is_not_in_the_store(
    profiles: SyncedProfiles, stored_bytes: Callable[[], bytes]
) -> None:
    profiles.keep("acme", JANE, SYNCED)
    assert b"01HX" in stored_bytes()
    assert b"canary" not in stored_bytes()


def test_what_only_another_revision_knows_is_passed_over(
    profiles: SyncedProfiles, documents: Documents
) -> None:
    profiles.keep("acme", JANE, SYNCED)
    (found,) = documents.find("tenants/acme/synced_profiles")
    documents.update("tenants/acme/synced_profiles", found.id, {"told": {"email": {"direction": "in"}}})
    assert profiles.find("acme", JANE) == SYNCED


def test_who_lives_again_is_no_longer_remembered_as_deleted(profiles: SyncedProfiles, clock: Clock) -> None:
    profiles.keep("acme", JANE, SYNCED)
    profiles.bury("acme", JANE, NOON)
    profiles.unbury("acme", JANE)
    profiles.unbury("acme", "never synced")
    clock.now += 2 * DELETED_KEPT
    assert profiles.find("acme", JANE) == SYNCED
