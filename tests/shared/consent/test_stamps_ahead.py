"""Which stamps lay ahead when Omneo told of them, on both stores."""

from datetime import UTC, datetime, timedelta

import pytest

from shared.consent.ledger import new_ledger_key
from shared.consent.rules.decisions import write_stamp
from shared.consent.rules.memory import Memory, Seen
from shared.consent.stamps_ahead import StampsAhead
from shared.consent_events import Channel
from shared.storage.documents import Documents
from shared.tenants.tenants import Tenant
from tests.support.world import World

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
NOTHING = {channel: Memory(channel) for channel in Channel}


@pytest.fixture
def stamps(documents: Documents) -> StampsAhead:
    return StampsAhead(documents, lambda: NOON)


@pytest.fixture
def acme(world: World) -> Tenant:
    return world.tenant().model_copy(update={"ledger_key": new_ledger_key()})


def stamped(seconds: float, name: str = "email") -> dict[str, str]:
    """Return Omneo's comms with a stamp, so many seconds from noon."""
    return {f"{name}_consent_updated_at": write_stamp(NOON + timedelta(seconds=seconds))}


@pytest.mark.parametrize(("seconds", "is_ahead"), [(-1, False), (5, False), (6, True), (36000, True)])
def test_a_stamp_lies_ahead_by_more_than_clocks_are_apart(
    stamps: StampsAhead, seconds: float, is_ahead: bool
) -> None:
    ahead = {Channel.EMAIL: NOON + timedelta(seconds=seconds)} if is_ahead else {}
    assert stamps.ahead_in(stamped(seconds)) == ahead
    assert stamps.ahead_in({"email_promo": True, "email_consent_updated_at": None}) == {}


def test_what_lay_ahead_is_known_of_that_profile_channel_and_stamp_alone(
    stamps: StampsAhead, acme: Tenant
) -> None:
    comms = stamped(60)
    for _ in range(2):  # Omneo tells twice
        stamps.note(acme, "jane", stamps.ahead_in(comms))
    assert stamps.told(acme, "JANE", comms, NOTHING) == {Channel.EMAIL: NOON + timedelta(seconds=60)}
    assert stamps.told(acme, "joan", comms, NOTHING) == {}
    assert stamps.told(acme, "jane", stamped(61), NOTHING) == {}
    assert stamps.told(acme, "jane", stamped(60, "sms"), NOTHING) == {}
    assert stamps.told(acme.model_copy(update={"ledger_key": None}), "jane", comms, NOTHING) == {}
    stamps.forget("acme")
    assert stamps.told(acme, "jane", comms, NOTHING) == {}


def test_a_stamp_that_a_memory_has_seen_is_not_looked_up_again(stamps: StampsAhead, acme: Tenant) -> None:
    comms = stamped(60)
    stamps.note(acme, "jane", stamps.ahead_in(comms))
    seen = Memory(Channel.EMAIL, seen=Seen("in", NOON + timedelta(seconds=60)))
    assert stamps.told(acme, "jane", comms, {**NOTHING, Channel.EMAIL: seen}) == {}
