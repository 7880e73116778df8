"""The people of the world: they are created, change their addresses, and are merged, deleted, restored and excluded in
Omneo. Each act changes Omneo and is noted with the person. A webhook reports it when its plan says so.
"""

from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo.subscriptions import UNSUBSCRIBE, Method
from deploy.local.sandbox.omneo.profiles import stamp
from tests.world.oracle import IN, OUT, Decision, Person
from tests.world.plans import DAY, Act, Beginning
from tests.world.timeline import START
from tests.world.world import ACCOUNT, TENANT, SimulatedWorld

_BEFORE = START - 10 * DAY


def born(world: SimulatedWorld, number: int, beginning: Beginning) -> None:
    """Let somebody stand as the plan says when the history begins."""
    person = Person(f"person {number}", email=f"canary-{number}@example.org", phone=f"+6140000{number:04}")
    made = world.omneo.create_profile(TENANT, tells=False, **_omneo_fields(person, beginning))
    person.omneo = made["id"]
    world.persons.append(person)
    if beginning.is_new:
        if beginning.is_known_by_email:
            world.klaviyo.profile(ACCOUNT, email=person.email)
        world.tell_omneo(lambda: (1.0,))
    else:
        world.omneo_tenant.happened.clear()
        _known_to_klaviyo(world, person, beginning, made)
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        if way != "unset":
            person.decide(channel, Decision(_BEFORE, way, "omneo", what="the beginning", known_at=_BEFORE))


def _omneo_fields(person: Person, beginning: Beginning, at: float = _BEFORE) -> Mapping[str, Any]:
    comms: dict[str, Any] = {}
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        if way != "unset":
            comms |= {f"{channel}_promo": way == IN, f"{channel}_consent_updated_at": stamp(at)}
    return {
        "email": person.email,
        "mobile_phone": person.phone,
        "mobile_phone_e164": person.phone,
        "first_name": f"Canary {person.name}",
        "title": title_of(person),
        "attributes": {"comms": comms},
    }


def title_of(person: Person) -> str | None:
    """Return the title that only some people have: the next owner of a profile must not keep the title of the former one."""
    return f"Canary {person.name}" if person.name[-1] in "13579" else None


def _known_to_klaviyo(
    world: SimulatedWorld, person: Person, beginning: Beginning, made: dict[str, Any]
) -> None:
    profile = world.klaviyo.profile(
        ACCOUNT,
        email=person.email,
        phone_number=person.phone,
        external_id=person.omneo,
        first_name=f"Canary {person.name}",
    )
    if title := title_of(person):
        profile.properties["omneo_title"] = title
    person.klaviyo = profile.id
    for channel, way in (("email", beginning.email), ("sms", beginning.sms)):
        consent = profile.subscriptions.consents[channel]
        if way == IN:
            consent.give(Method(), at=_BEFORE, now=_BEFORE)
        if way == OUT:
            consent.withdraw(at=_BEFORE, now=_BEFORE)
            if channel == "email":
                profile.subscriptions.suppress(UNSUBSCRIBE, _BEFORE)
    row = {
        "handle": "klaviyo",
        "identifier": profile.id,
        "id": 1,
        "is_active": True,
        "created_at": stamp(_BEFORE),
    }
    made["identities"].append(row)


def enters(world: SimulatedWorld, act: Act) -> bool:
    """Let somebody new be made in Omneo."""
    number = len(world.persons) + 1
    if number > _MOST:
        return False
    email, sms, *former = act.how
    person = Person(f"person {number}", email=f"canary-{number}@example.org", phone=f"+6140000{number:04}")
    if former:
        person.email, _ = world.persons[former[0]].gave_up[-1]
    made = world.omneo.create_profile(
        TENANT, tells=False, **_omneo_fields(person, Beginning(email, sms), world.timeline.now)
    )
    person.omneo = made["id"]
    world.persons.append(person)
    for channel, way in (("email", email), ("sms", sms)):
        person.decide(channel, Decision(world.timeline.now, way, "omneo", what="p.create"))
    return _told(world, person, act, "is made")


def changes(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let somebody change in Omneo."""
    if world.omneo_profile(person) is None:
        return False
    what = act.what.partition(".")[2]
    return _CHANGES[what](world, person, act)


def _change(world: SimulatedWorld, person: Person, **fields: Any) -> None:
    world.before_omneo_change(person.omneo)
    world.omneo.change_profile(TENANT, person.omneo, tells=False, **fields)


def _new_email(world: SimulatedWorld, person: Person, act: Act) -> bool:
    return _has_email(world, person, act, f"canary-{world.new_id()[-6:]}@example.org")


def _has_email(world: SimulatedWorld, person: Person, act: Act, email: str | None) -> bool:
    _change(world, person, email=email)
    person.gave_up.append((person.email, world.timeline.now))
    person.email = email or ""
    person.got.append((person.email, world.timeline.now))
    return _told(world, person, act, f"has email {email}")


def _has_phone(world: SimulatedWorld, person: Person, act: Act, phone: str | None) -> bool:
    _change(world, person, mobile_phone=phone, mobile_phone_e164=phone)
    person.had_numbers.append(world.timeline.now)
    person.phone = phone or ""
    return _told(world, person, act, f"has phone {phone}")


def _new_phone(world: SimulatedWorld, person: Person, act: Act) -> bool:
    return _has_phone(world, person, act, f"+6140001{int(world.new_id(), 16) % 10000:04}")


def _renamed(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a person have another last name, or none any more."""
    (is_emptied,) = act.how
    name = "" if is_emptied else f"Canary {world.new_id()[-6:]}"
    _change(world, person, last_name=name)
    person.last_names.append(name)
    return _told(world, person, act, f"has last name {name}")


def _other(world: SimulatedWorld, person: Person) -> Person | None:
    place = world.persons.index(person)
    others = world.persons[place + 1 :] + world.persons[:place]
    return next((other for other in others if other.is_living), None)


def _shares_email(world: SimulatedWorld, person: Person, act: Act) -> bool:
    other = _other(world, person)
    return other is not None and bool(other.email) and _has_email(world, person, act, other.email)


def _shares_phone(world: SimulatedWorld, person: Person, act: Act) -> bool:
    other = _other(world, person)
    return other is not None and bool(other.phone) and _has_phone(world, person, act, other.phone)


def _swaps(world: SimulatedWorld, person: Person, act: Act) -> bool:
    other = _other(world, person)
    if other is None or not other.email or not person.email or other.email == person.email:
        return False
    mine, theirs = person.email, other.email
    return _has_email(world, person, act, theirs) and _has_email(world, other, act, mine)


def _gives(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let a person's email become another's, and the person have a new one."""
    other = _other(world, person)
    if other is None or not person.email:
        return False
    given = person.email
    return _new_email(world, person, act) and _has_email(world, other, act, given)


def _dies(world: SimulatedWorld, person: Person, act: Act) -> bool:
    world.graves[person.omneo] = dict(world.omneo_tenant.profiles[person.omneo])
    world.omneo.delete_profile(TENANT, person.omneo, tells=False)
    person.is_living = False
    person.was_deleted, person.died_at = True, world.timeline.now

    def told() -> None:
        person.was_told_dead = person.was_told_dead or not person.is_living

    for seconds in act.told:
        world.timeline.after(seconds, told)
    return _told(world, person, act, "is deleted")


def _merges(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Merge the person's profile into another's, which keeps its own decisions and takes over the identities, sometimes the email."""
    other = _other(world, person)
    if other is None:
        return False
    source = world.omneo_tenant.profiles[person.omneo]
    target = world.omneo_tenant.profiles[other.omneo]
    target["identities"] += [
        {**row, "merged_from": person.omneo, "profile_id": other.omneo} for row in source["identities"]
    ]
    email = person.email
    person.merged_into = other.name
    person.merge_known_at = world.timeline.now + min(act.told, default=float("inf"))
    other.absorbed += [person, *person.absorbed]
    world.omneo.delete_profile(TENANT, person.omneo, tells=False)
    person.is_living = False
    done = _told(world, person, act, f"is merged into {other.name}")
    if act.how == ("takes the email",) and email:
        return _has_email(world, other, act, email)
    _change(world, other)
    return done and _told(world, other, act, "took in another")


def _excluded(world: SimulatedWorld, person: Person, act: Act) -> bool:
    _change(world, person, profile_type="connection")
    person.is_excluded = True
    return _told(world, person, act, "is excluded")


def _included(world: SimulatedWorld, person: Person, act: Act) -> bool:
    if not person.is_excluded:
        return False
    _change(world, person, profile_type="active")
    person.is_excluded = False
    return _told(world, person, act, "is included again")


def rises(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Restore a person whose profile was deleted."""
    kept = world.graves.pop(person.omneo, None)
    if kept is None:
        return False
    world.omneo_tenant.profiles[person.omneo] = kept
    _change(world, person)
    person.is_living = True
    return _told(world, person, act, "is restored")


def stranger(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Add a person to Klaviyo who is not in Omneo: with a new email, and the phone of another person."""
    number = len(world.strangers) + 1
    if (
        number > _MOST
        or len(person.phone) <= 6
        or world.account.owner("phone_number", person.phone) is not None
    ):
        return False
    email = f"canary-stranger-{number}@example.org"
    made = world.klaviyo.profile(
        ACCOUNT, email=email, phone_number=person.phone, first_name=f"Canary stranger {number}"
    )
    made.subscriptions.consents["email"].give(Method(), at=world.timeline.now, now=world.timeline.now)
    world.strangers.append(Person(f"stranger {number}", klaviyo=made.id, email=email, phone=person.phone))
    world.note(f"Klaviyo knows stranger {number} by the phone of {person.name}")
    return True


def _told(world: SimulatedWorld, person: Person, act: Act, what: str) -> bool:
    told = f"told after {', '.join(map(str, act.told))} s" if act.told else "never told"
    world.note(f"{person.name} {what} in Omneo ({told})")
    person.untold = person.untold or not act.told
    world.tell_omneo(lambda: act.told)
    return True


_MOST = 5
_CHANGES: Mapping[str, Callable[[SimulatedWorld, Person, Act], bool]] = {
    "email": _new_email,
    "phone": _new_phone,
    "share email": _shares_email,
    "share phone": _shares_phone,
    "swap": _swaps,
    "give email": _gives,
    "drop email": lambda world, person, act: _has_email(world, person, act, None),
    "drop phone": lambda world, person, act: _has_phone(world, person, act, None),
    "bad email": lambda world, person, act: _has_email(world, person, act, "canary no address"),
    "bad phone": lambda world, person, act: _has_phone(world, person, act, "12"),
    "delete": _dies,
    "merge": _merges,
    "exclude": _excluded,
    "include": _included,
    "rename": _renamed,
}
