"""The decisions of people about messages, on both sides: each act changes one of the services, and the oracle notes it."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from deploy.local.sandbox.klaviyo.subscriptions import SUBSCRIBED
from deploy.local.sandbox.omneo.profiles import stamp
from tests.world.oracle import IN, OUT, Decision, Person, way_in_omneo
from tests.world.plans import Act
from tests.world.world import ACCOUNT, TENANT, SimulatedWorld


def in_klaviyo(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let somebody decide in Klaviyo, through the profile that has their address."""
    what, channel = act.what.partition(".")[2], act.how[0] if act.how else "email"
    if person.merged_into:
        return False  # is one with another now
    profile = world.mailbox(person, channel)
    if profile is None:
        return False
    world.klaviyo_moves()
    doing = _KLAVIYO[what]
    try:
        doing(world, profile.id, channel, act)
    except (KeyError, ValueError):
        return False
    events = frozenset(event.id for event in world.account.outbox)
    holder = profile.attributes.get("external_id")
    holders = [other for other in world.persons if other.omneo == holder and other is not person]
    decision = Decision(
        world.timeline.now,
        _WAYS.get(what, ""),
        "klaviyo",
        what=act.what,
        events=events,
        is_by_another=bool(holders),
        profile=profile.id,
    )
    consent = profile.subscriptions.consents[channel]
    is_pending = what == "subscribe" and consent.status != SUBSCRIBED
    if decision.way and not is_pending:
        person.decide(channel, decision)
        for other in holders:
            _is_told_of(other, person, channel, decision)
        if channel == "sms" and decision.way == OUT:
            # A text message shows its number alone: nothing tells which of those who share it has opted out.
            for other in world.persons:
                if (
                    other is not person
                    and other not in holders
                    and person.address(channel) == other.address(channel)
                ):
                    other.others_outs.append((channel, decision.at))
    person.is_bounced = person.is_bounced or (what == "bounce" and act.how[-1] != "soft")
    told = f"told after {', '.join(map(str, act.told))} s" if act.told else "never told"
    world.note(
        f"{person.name} in Klaviyo: {what} {channel}"
        + (" (to be confirmed)" if is_pending else "")
        + f" ({told})"
    )
    world.tell_klaviyo(lambda: act.told, "person")
    return True


def _is_told_of(holder: Person, person: Person, channel: str, decision: Decision) -> None:
    """Note a person's decision through a Klaviyo profile that belongs to somebody else: with the same address, it counts for the other too."""
    if holder.address(channel).casefold() == person.address(channel).casefold():
        holder.decide(channel, replace(decision, is_by_another=True))
    elif decision.way == OUT:
        holder.others_outs.append((channel, decision.at))
    elif channel == "email" and not person.is_living:
        holder.others_ins.append(decision.at)
    elif channel == "email":
        holder.lent.append((person, decision))


def _subscribe(world: SimulatedWorld, profile: str, channel: str, act: Act) -> None:
    world.klaviyo.subscribe(ACCOUNT, profile, channel=channel)


_KLAVIYO: Mapping[str, Callable[[SimulatedWorld, str, str, Act], None]] = {
    "subscribe": _subscribe,
    "confirm": lambda world, profile, channel, act: world.klaviyo.confirm(ACCOUNT, profile, channel=channel),
    "unsubscribe": lambda world, profile, channel, act: world.klaviyo.unsubscribe(
        ACCOUNT, profile, channel=channel
    ),
    "spam": lambda world, profile, channel, act: world.klaviyo.mark_as_spam(ACCOUNT, profile),
    "bounce": lambda world, profile, channel, act: world.klaviyo.bounce(
        ACCOUNT, profile, hard=act.how[-1] != "soft"
    ),
    "suppress": lambda world, profile, channel, act: world.klaviyo.suppress(ACCOUNT, profile),
}
_WAYS = {
    "subscribe": IN,
    "confirm": IN,
    "unsubscribe": OUT,
    "spam": OUT,
    "suppress": OUT,
    "in": IN,
    "out": OUT,
}


def in_omneo(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let somebody decide in Omneo."""
    what, channel = act.what.partition(".")[2], act.how[0] if act.how else "email"
    if world.omneo_profile(person) is None:
        return False
    way, _, stamped = what.partition(" ")
    now = world.timeline.now
    held = world.omneo_tenant.profiles[person.omneo]["attributes"]["comms"]
    is_seen = (
        stamped != "unstamped" or way_in_omneo(held, channel) != way
    )  # an act that changes nothing reports no decision
    comms: dict[str, Any] = {f"{channel}_promo": way == IN}
    if way == IN:
        comms[f"{channel}_optout"] = False
    if stamped != "unstamped":
        ahead = act.how[1] if stamped == "ahead" else 0.0
        comms[f"{channel}_consent_updated_at"] = stamp(now + ahead)
    world.before_omneo_change(person.omneo)
    world.omneo.change_profile(TENANT, person.omneo, tells=False, comms=comms)
    if is_seen:
        decision = Decision(now, way, "omneo", is_dated=not stamped, what=act.what)
        if stamped == "ahead":
            decision.stamp, decision.stamped_at = stamp(now + act.how[1]), now + act.how[1]
        person.decide(channel, decision)
    told = f"told after {', '.join(map(str, act.told))} s" if act.told else "never told"
    by = {"": "", "unstamped": ", without a stamp", "ahead": f", stamped {act.how[1:]} s ahead"}[stamped]
    world.note(f"{person.name} in Omneo: {way} {channel}{by} ({told})")
    world.tell_omneo(lambda: act.told)
    return True
