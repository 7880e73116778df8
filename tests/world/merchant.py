"""The acts of a merchant on Klaviyo's own pages: merges and deletions of profiles, and the end of a suppression.

No webhook names the profile.
"""

from tests.world.oracle import Person
from tests.world.plans import Act
from tests.world.world import ACCOUNT, SimulatedWorld


def merges(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a merchant merge the person's profile with a second one of theirs, which Klaviyo alone knows: into it, or it into the person's."""
    mine = world.account.owner("external_id", person.omneo)
    if mine is None or not person.is_living:
        return False
    world.klaviyo_moves()
    second = world.klaviyo.profile(
        ACCOUNT, email=f"canary-{world.new_id()[-6:]}@example.org", first_name=f"Canary {person.name}"
    )
    source, kept = (mine, second) if act.how == ("away",) else (second, mine)
    world.klaviyo.merge_profiles(ACCOUNT, source.id, kept.id)
    world.tell_klaviyo(lambda: act.told, "merchant")
    world.note(f"a merchant merges {person.name}'s profile in Klaviyo with a second one: {act.how}")
    return True


def deletes(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a merchant delete the person's profile in Klaviyo."""
    mine = world.account.owner("external_id", person.omneo)
    if mine is None or not person.is_living:
        return False
    world.klaviyo_moves()
    world.klaviyo.delete_profile(ACCOUNT, mine.id)
    person.was_erased = True
    world.note(f"a merchant deletes {person.name}'s profile in Klaviyo")
    return True


def unsuppresses(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a merchant lift the suppression of the person's address, which is nobody's decision."""
    mine = world.mailbox(person, "email")
    if mine is None:
        return False
    world.klaviyo_moves()
    before = len(world.account.outbox)
    world.klaviyo.unsuppress(ACCOUNT, mine.id)
    if len(world.account.outbox) == before:
        return False  # there was none
    person.is_unsuppressed = True
    world.tell_klaviyo(lambda: act.told, "merchant")
    world.note(f"a merchant lifts the suppression of {person.name}'s email")
    return True
