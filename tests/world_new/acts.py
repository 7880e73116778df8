"""What people do in the world, act by act, and what it means: each act changes one of the services and is noted with the oracle.

An act that cannot be done as things stand (there is no such profile, nothing to confirm) is not done, and counts for nothing.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from deploy.local.sandbox.klaviyo_subscriptions import SPAM_COMPLAINT, SUBSCRIBED, UNSUBSCRIBE, Method
from deploy.local.sandbox.omneo_profiles import stamp
from tests.world_new.oracle import IN, OUT, Decision, Person
from tests.world_new.plans import DAY, Act, Beginning
from tests.world_new.timeline import START
from tests.world_new.world import ACCOUNT, TENANT, SimulatedWorld

_BEFORE = START - 10 * DAY


def born(world: SimulatedWorld, number: int, beginning: Beginning) -> None:
    """Let somebody stand as the plan says when the history begins."""
    person = Person(f"person {number}", email=f"canary-{number}@example.org", phone=f"+6140000{number:04}")
    made = world.omneo.create_profile(TENANT, tells=False, **_omneo_fields(person, beginning))
    person.omneo = made["id"]
    world.persons.append(person)
    if beginning.is_new:
        world.tell_omneo(lambda: (1.0,))
    else:
        world.omneo_tenant.happened.clear()
        _known_to_klaviyo(world, person, beginning, made)
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        if way != "unset":
            person.decide(channel, Decision(_BEFORE, way, "omneo", what="the beginning", known_at=_BEFORE))


def _omneo_fields(person: Person, beginning: Beginning) -> Mapping[str, Any]:
    comms: dict[str, Any] = {}
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        if way != "unset":
            comms |= {f"{channel}_promo": way == IN, f"{channel}_consent_updated_at": stamp(_BEFORE)}
    return {
        "email": person.email,
        "mobile_phone": person.phone,
        "mobile_phone_e164": person.phone,
        "first_name": "Canary",
        "attributes": {"comms": comms},
    }


def _known_to_klaviyo(world: SimulatedWorld, person: Person, beginning: Beginning, made: dict[str, Any]) -> None:
    profile = world.klaviyo.profile(
        ACCOUNT, email=person.email, phone_number=person.phone, external_id=person.omneo
    )
    person.klaviyo = profile.id
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        consent = profile.subscriptions.consents[channel]
        if way == IN:
            consent.give(Method(), at=_BEFORE, now=_BEFORE)
        if way == OUT:
            consent.withdraw(at=_BEFORE, now=_BEFORE)
            if channel == "email":
                profile.subscriptions.suppress(UNSUBSCRIBE, _BEFORE)
    made["identities"].append({"handle": "klaviyo", "identifier": profile.id, "id": 1, "is_active": True})


def do(world: SimulatedWorld, act: Act) -> None:
    """Do an act now."""
    person = world.persons[act.who % len(world.persons)]
    channel = act.how[0] if act.how else "email"
    service, _, rest = act.what.partition(".")
    done = _in_klaviyo(world, person, act, rest, channel) if service == "k" else _in_omneo(world, person, act, rest, channel)
    if done:
        world.fired[f"act {act.what}"] += 1
        world.news_at = world.timeline.now


def _in_klaviyo(world: SimulatedWorld, person: Person, act: Act, what: str, channel: str) -> bool:
    profile = world.klaviyo_profile(person)
    if profile is None:
        return False
    world.klaviyo_moves()
    doing = _KLAVIYO[what]
    try:
        doing(world, profile.id, channel, act)
    except (KeyError, ValueError):
        return False
    events = frozenset(event.id for event in world.account.outbox)
    decision = Decision(world.timeline.now, _WAYS.get(what, ""), "klaviyo", what=act.what, events=events)
    consent = profile.subscriptions.consents[channel]
    is_pending = what == "subscribe" and consent.status != SUBSCRIBED
    if decision.way and not is_pending:
        person.decide(channel, decision)
    person.is_bounced = person.is_bounced or (what == "bounce" and act.how[-1] != "soft")
    person.has_complained = profile.subscriptions.is_suppressed(SPAM_COMPLAINT)
    told = f"told after {', '.join(map(str, act.told))} s" if act.told else "never told"
    world.note(f"{person.name} in Klaviyo: {what} {channel}" + (" (to be confirmed)" if is_pending else "") + f" ({told})")
    world.tell_klaviyo(lambda: act.told, "person")
    return True


def _subscribe(world: SimulatedWorld, profile: str, channel: str, act: Act) -> None:
    world.klaviyo.subscribe(ACCOUNT, profile, channel=channel)


_KLAVIYO: Mapping[str, Callable[[SimulatedWorld, str, str, Act], None]] = {
    "subscribe": _subscribe,
    "confirm": lambda world, profile, channel, act: world.klaviyo.confirm(ACCOUNT, profile, channel=channel),
    "unsubscribe": lambda world, profile, channel, act: world.klaviyo.unsubscribe(ACCOUNT, profile, channel=channel),
    "spam": lambda world, profile, channel, act: world.klaviyo.mark_as_spam(ACCOUNT, profile),
    "bounce": lambda world, profile, channel, act: world.klaviyo.bounce(ACCOUNT, profile, hard=act.how[-1] != "soft"),
    "suppress": lambda world, profile, channel, act: world.klaviyo.suppress(ACCOUNT, profile),
}
_WAYS = {"subscribe": IN, "confirm": IN, "unsubscribe": OUT, "spam": OUT, "suppress": OUT, "in": IN, "out": OUT}


def _in_omneo(world: SimulatedWorld, person: Person, act: Act, what: str, channel: str) -> bool:
    if world.omneo_profile(person) is None:
        return False
    way, _, stamped = what.partition(" ")
    now = world.timeline.now
    comms: dict[str, Any] = {f"{channel}_promo": way == IN}
    if way == IN:
        comms[f"{channel}_optout"] = False
    if stamped != "unstamped":
        ahead = act.how[1] if stamped == "ahead" else 0.0
        comms[f"{channel}_consent_updated_at"] = stamp(now + ahead)
    world.before_omneo_change(person.omneo)
    world.omneo.change_profile(TENANT, person.omneo, tells=False, comms=comms)
    person.decide(channel, Decision(now, way, "omneo", is_dated=not stamped, what=act.what))
    told = f"told after {', '.join(map(str, act.told))} s" if act.told else "never told"
    by = {"": "", "unstamped": ", without a stamp", "ahead": f", stamped {act.how[1:]} s ahead"}[stamped]
    world.note(f"{person.name} in Omneo: {way} {channel}{by} ({told})")
    world.tell_omneo(lambda: act.told)
    return True


def scheduled(world: SimulatedWorld, acts: tuple[Act, ...]) -> None:
    """Have the acts done when they are due."""
    for act in acts:
        world.timeline.at(START + act.at, partial(do, world, act))
