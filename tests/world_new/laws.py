"""What must hold when it is quiet, judged by what people did. Nothing here reads our notes, but for the ledger, which is itself judged."""

from typing import Any

from deploy.local.sandbox.klaviyo_accounts import Profile
from deploy.local.sandbox.klaviyo_subscriptions import (
    HARD_BOUNCE,
    SPAM_COMPLAINT,
    SUBSCRIBED,
    UNSUBSCRIBE,
    USER_SUPPRESSED,
)
from shared.consent_ledger import ConsentLedger
from shared.domain.consent_events import Channel
from tests.world_new.oracle import IN, OUT, Person
from tests.world_new.world import SimulatedWorld

APART = 4.0  # seconds by which nobody can tell which of two acts on two sides came first
_PERSONS_OWN = (UNSUBSCRIBE, SPAM_COMPLAINT, USER_SUPPRESSED)


def judge_consent(world: SimulatedWorld) -> None:
    """Law 1: both sides show each person's last act on each channel."""
    for person in world.persons:
        for channel in ("email", "sms"):
            _judge_channel(world, person, channel)


def _judge_channel(world: SimulatedWorld, person: Person, channel: str) -> None:
    profile, omneo = world.klaviyo_profile(person), world.omneo_profile(person)
    wanted = person.wanted(channel, APART)
    if not wanted or omneo is None:
        return
    last = person.last(channel)
    what = last.what if last else ""
    klaviyo_way = way_in_klaviyo(profile, channel)
    omneo_way = way_in_omneo(omneo["attributes"]["comms"], channel)
    shown = f"{person.name}'s {channel}: Klaviyo {klaviyo_way}, Omneo {omneo_way}"
    may_wait = world.plan.double_opt_in or _is_undeliverable(profile, omneo, channel)
    if wanted == {OUT}:
        if klaviyo_way == IN or omneo_way != OUT:
            world.breaks(f"law 1: {shown}; the last act was {what}")
    elif may_wait and klaviyo_way == OUT:
        return  # Klaviyo asks the person first, does not mail a dead address, and a complaint is never lifted by us
    elif klaviyo_way != omneo_way:
        world.breaks(f"law 1: {shown}; the last act was {what}")
    elif klaviyo_way not in wanted:
        world.breaks(f"law 1: {shown}; the last act was {what}")


def way_in_klaviyo(profile: Profile | None, channel: str) -> str:
    """Return in or out; who was never asked is out."""
    if profile is None:
        return OUT
    subscriptions = profile.subscriptions
    if subscriptions.consents[channel].status != SUBSCRIBED:
        return OUT
    suppressed = channel == "email" and any(subscriptions.is_suppressed(reason) for reason in _PERSONS_OWN)
    return OUT if suppressed else IN


def way_in_omneo(comms: dict[str, Any], channel: str) -> str:
    """Return in or out, a bounce left aside."""
    is_out = comms[f"{channel}_promo"] is False or comms[f"{channel}_optout"] is True
    return OUT if is_out else IN


def _is_undeliverable(profile: Profile | None, omneo: dict[str, Any], channel: str) -> bool:
    if omneo["attributes"]["comms"][f"{channel}_bounced"] is True:
        return True
    if profile is None or channel != "email":
        return False
    return profile.subscriptions.is_suppressed(HARD_BOUNCE) or profile.subscriptions.is_suppressed(SPAM_COMPLAINT)


def judge_ledger(world: SimulatedWorld) -> None:
    """Law 5: the ledger's last line is what Omneo holds."""
    ledger = ConsentLedger(world.documents, world.clock)
    tenant = world.tenant()
    for person in world.persons:
        omneo = world.omneo_profile(person)
        if omneo is None or tenant.ledger_key is None:
            continue
        records = ledger.of(tenant, person.omneo, 100)
        for channel in Channel:
            last = next((row for row in records if row.channel == channel), None)
            if last is None:
                continue
            held = way_in_omneo(omneo["attributes"]["comms"], channel.value)
            said = {"subscribed": IN, "unsubscribed": OUT}.get(last.after)
            if said is not None and said != held:
                world.breaks(f"law 5: the ledger ends with {last.after} ({last.source}) and Omneo has {person.name}'s {channel} {held}")


def judge_calls(world: SimulatedWorld, since: float) -> None:
    """Law 5: nothing goes round for ever."""
    late = [line for at, line in world.calls if at >= since]
    if late:
        world.breaks(f"law 5: {len(late)} calls although all is quiet: {sorted(set(late))[:4]}")


def judge_interactions(world: SimulatedWorld, *, may_repeat: bool) -> None:
    """Law 4: every consent event that we were told of has its one interaction, or stands among the dead jobs."""
    rows = world.omneo_tenant.interactions
    for person in world.persons:
        made = [row for row in rows if row["profile_id"] == person.omneo]
        told = world.told_events & person.events.keys()
        for event in told:
            topic = person.events[event].rsplit(".", 1)[-1]
            count = sum(event in str(row) for row in made)
            if count == 0 and event in world.persons_events:
                world.breaks(f"law 4: {topic} of {person.name} has no interaction")
            if count > 1 and not may_repeat:
                world.breaks(f"law 4: {topic} of {person.name} has {count} interactions")
