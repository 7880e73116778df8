"""`erase NAME`: who is asked for and never an argument, that it asks before it acts, and the receipt."""

import json
from datetime import UTC, datetime

import pytest

from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.tenants.erasures import KEPT
from tests.support.commands import Done, run_command
from tests.support.world import EMAIL, TENANT, World

PROFILE = "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01"


@pytest.fixture
def shop(world: World) -> World:
    """Return a world with a person who was synced before, in which somebody was erased lately: the first erasure waits."""
    world.tenant(erased_until=datetime.now(UTC) + KEPT)
    world.sandbox.omneo.profile(TENANT, id=PROFILE, email=EMAIL)
    SyncedProfiles.of(world.services).keep(TENANT, PROFILE, SyncedProfile(read_at=world.clock()))
    return world


def erase(world: World, *words: str, given: str) -> Done:
    """Run the command."""
    return run_command("erase", TENANT, *words, environment=world.environment, given=given)


def is_known(world: World) -> bool:
    """Return whether anything is remembered of the person."""
    return SyncedProfiles.of(world.services).find(TENANT, PROFILE).read_at is not None


@pytest.mark.parametrize("who", [PROFILE, f" {EMAIL}\n"])
def test_a_person_is_named_on_standard_input_and_the_receipt_names_nobody(shop: World, who: str) -> None:
    done = erase(shop, "--yes", given=who)
    assert done.status == 0, done.err
    assert "synced: 1" in done.out
    assert "ledger" in done.out
    assert "canary" not in done.out + done.err
    assert not is_known(shop)


def test_the_receipt_is_json_on_demand(shop: World) -> None:
    done = erase(shop, "--yes", "--json", given=PROFILE)
    assert json.loads(done.out)["removed"]["synced"] == 1


@pytest.mark.parametrize(
    ("words", "given", "says"),
    [
        ([], PROFILE, "--yes"),
        (["--yes"], "", "empty"),
        (["--yes"], " \n", "empty"),
        (["--yes"], "canary jane", "by the Omneo profile's id, or by the email address"),
        (["--yes", EMAIL], PROFILE, "argument too many"),
        (["--yes", "--klaviyo"], PROFILE, "Delete it in Omneo first"),
    ],
)
def test_what_is_not_clear_erases_nothing(shop: World, words: list[str], given: str, says: str) -> None:
    done = erase(shop, *words, given=given)
    assert done.status != 0
    assert says in done.err
    assert "canary" not in done.out + done.err
    assert is_known(shop)
