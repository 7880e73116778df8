"""What a history is made of, as values: who lives, who acts when, and what goes wrong. Drawn from a seed, or written down by hand.

Nothing here knows how an act is done (`acts`) or how a fault looks (`wire`, `queue`). Times are seconds since the history began.
"""

from dataclasses import dataclass, replace
from random import Random
from typing import Any

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


@dataclass(frozen=True)
class Act:
    """Somebody does something. `who` is the place of a person; `told` is when each telling of it comes, in seconds after."""

    at: float
    what: str
    who: int = 0
    told: tuple[float, ...] = (2.0,)
    how: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Fault:
    """Something goes wrong with the first call at or after `at`, or with every call for as long as it `lasts`.

    `about` is a pattern of calls, as in "POST */interactions".
    """

    at: float
    where: str  # klaviyo, omneo, store, queue, worker
    kind: str
    lasts: float = 0.0
    about: str = "*"


@dataclass(frozen=True)
class Beginning:
    """How a person stands when the history begins: the same on both sides, or in Omneo alone where `is_new`."""

    email: str = "in"  # in, out or unset
    sms: str = "out"
    is_new: bool = False
    is_known_by_email: bool = False  # where new: whether Klaviyo knows somebody with that email


@dataclass(frozen=True)
class Plan:
    """A whole history. `landings` are the seconds that Klaviyo takes over its consent jobs, one after the other, again and again.

    `echo` is how many seconds later Klaviyo tells what such a job has done, None if it is left to chance.
    """

    people: tuple[Beginning, ...] = (Beginning(),)
    acts: tuple[Act, ...] = ()
    faults: tuple[Fault, ...] = ()
    landings: tuple[float, ...] = (1.0,)
    echo: float | None = None
    skews: tuple[float, ...] = (0.0, 0.0)  # of the clocks of the instances
    chance: int | None = (
        None  # decides how long calls take and what the queue does; None: nothing is left to chance
    )
    master_list: bool = False
    double_opt_in: bool = False
    returns_own_changes: bool = False
    repeats_consent_events: bool = True  # whether Klaviyo records a consent that changes nothing
    page_size: int = 100  # profiles that a run reads of Omneo's list at once
    many_syncs: int = 1_200  # that wait: then they go in bulk imports, of as many at most

    def without(self, part: str, index: int) -> "Plan":
        """Return the plan without one of its acts or faults."""
        rows = getattr(self, part)
        return replace(self, **{part: rows[:index] + rows[index + 1 :]})


CONSENT_ACTS = (
    ("k.subscribe", 4), ("k.unsubscribe", 4), ("k.spam", 1), ("k.bounce", 1), ("k.suppress", 1),
    ("o.in", 4), ("o.out", 4), ("o.in unstamped", 1), ("o.out unstamped", 2), ("o.in ahead", 1), ("o.out ahead", 1),
)  # fmt: skip
CONFIRMS = ("k.confirm", 3)
PERSON_ACTS = (
    ("p.create", 4), ("p.email", 4), ("p.phone", 2), ("p.share email", 1), ("p.share phone", 2), ("p.swap", 3), ("p.give email", 3),
    ("p.drop email", 1), ("p.drop phone", 1), ("p.bad email", 1), ("p.bad phone", 1), ("p.delete", 3), ("p.restore", 4), ("p.merge", 2),
    ("p.exclude", 1), ("p.include", 2), ("k.stranger", 2),
)  # fmt: skip
SHOP_ACTS = (("s.reward", 4), ("s.event", 3), ("s.event by id", 3), ("s.record", 5))
OPERATOR_ACTS = (
    ("op.resync", 2),
    ("op.repair", 2),
    ("op.reconcile", 1),
    ("op.heal", 2),
    ("op.reinstall", 2),
    ("op.rotate", 1),
)
RENAME = "p.rename"  # not drawn by chance: no other act changes what bulk imports carry
IMPORT_CALLS = (
    "POST /api/profile-bulk-import-jobs",
    "GET /api/profile-bulk-import-jobs/*",
    "GET /api/profiles",
)
MERCHANT_ACTS = ("k.merge", "k.delete", "k.unsuppress")
ANSWERS = (
    "401", "503", "429", "500", "502 html", "403 html", "404 html", "200 empty", "200 broken", "lost before", "lost after", "timeout before", "timeout after",
    "cut off", "slow", "dies before", "dies after",
)  # fmt: skip
STORE = ("unavailable before", "unavailable after", "dies before", "dies after")
QUEUE = ("unavailable before", "unavailable after", "dies before", "dies after")

CALLED = (
    "GET /acme/api/v3/profiles/*", "POST /acme/api/v3/profiles/search-id", "PUT /acme/api/v3/profiles/*/attributes/comms",
    "POST /acme/api/v3/interactions", "GET /api/profiles/*", "POST /api/profile-import", "POST /api/profile-subscription-bulk-create-jobs",
    "POST /api/profile-subscription-bulk-delete-jobs", "queue put", "queue put_named", "store get", "store create", "store update",
    "store delete", "store find",
)  # fmt: skip
ALL_ACTS = (
    tuple(name for name, _ in (*CONSENT_ACTS, CONFIRMS, *PERSON_ACTS, *SHOP_ACTS, *OPERATOR_ACTS))
    + MERCHANT_ACTS
)
ALL_FAULTS = (
    *(f"{service}: {kind}" for service in ("klaviyo", "omneo") for kind in ANSWERS),
    *(f"store: {kind}" for kind in STORE),
    *(f"queue: {kind}" for kind in (*QUEUE, "twice", "late", "throttled")),
    "omneo: lags",
)
ALL_DEATHS = tuple(f"dies {when} {call}" for when in ("before", "after") for call in CALLED)


def drawn(seed: int) -> Plan:
    """Return the history of a seed."""
    chance = Random(seed)
    theme = chance.choices(("consent", "persons", "shop"), (60, 27, 13))[0]
    people = tuple(_beginning(chance) for _ in range(chance.choices((1, 2, 3), _HOW_MANY[theme])[0]))
    double_opt_in = chance.random() < 0.08
    acts = _acts(chance, len(people), _likely(theme, double_opt_in=double_opt_in))
    plan = Plan(
        people=people,
        acts=acts,
        faults=_faults(chance, acts),
        landings=tuple(_landing(chance) for _ in range(5)),
        skews=(round(chance.uniform(-2, 2), 1), round(chance.uniform(-2, 2), 1)),
        chance=seed,
        master_list=chance.random() < 0.25,
        double_opt_in=double_opt_in,
        returns_own_changes=chance.random() < 0.1,
        repeats_consent_events=chance.random() < 0.7,
    )
    # Drawn last, so that the other seeds live on as they did before merchants acted.
    merchants = _of_merchants(chance, acts, len(people))
    return replace(plan, acts=(*acts, *merchants), page_size=chance.choice((4, 100)))


def in_bulk(plan: Plan, seed: int) -> Plan:
    """Return a history in which everybody's name changes, again and again, while Klaviyo throttles syncs: what waits then goes in bulk imports."""
    chance = Random(f"in bulk {seed}")
    plan = replace(
        plan, people=(*plan.people, Beginning("in", "in"), Beginning("unset", "in"), Beginning("in", "unset"))
    )
    # Only of whom a sync was done once may later ones wait.
    acts = [*plan.acts, *(_rename(chance, 1.0, who) for who in range(len(plan.people)))]
    faults = [*plan.faults]
    for after in chance.choices(plan.acts, k=chance.randint(2, 4)):
        at, lasts = round(after.at + chance.uniform(0, 60), 1), round(chance.uniform(20, 60), 1)
        faults.append(Fault(at, "klaviyo", "429", lasts, about="POST /api/profile-import*"))
        # The first sync is refused, and the others wait for that; some change again while the import of what waited is under way.
        acts.append(_rename(chance, at, 0))
        acts += [_rename(chance, at + chance.uniform(12, lasts), who) for who in range(len(plan.people))]
        acts += [
            _rename(chance, at + lasts + chance.uniform(20, 150), who)
            for who in range(len(plan.people))
            if chance.random() < 0.4
        ]
        if chance.random() < 0.4:
            kind, about = chance.choice(ANSWERS), chance.choice(IMPORT_CALLS)
            faults.append(Fault(at, "klaviyo", kind, about=about))
        if chance.random() < 0.3:
            about = chance.choice(("store create", "store update", "store delete", "queue put*"))
            faults.append(Fault(round(at + lasts, 1), about.split()[0], chance.choice(STORE), about=about))
    return replace(plan, acts=tuple(acts), faults=tuple(faults), many_syncs=chance.choice((1, 2)))


def _rename(chance: Random, at: float, who: int) -> Act:
    told = round(chance.uniform(0.5, 4), 1)
    return Act(round(at, 1), RENAME, who, (told,), (chance.random() < 0.2,))


def _of_merchants(chance: Random, acts: tuple[Act, ...], people: int) -> tuple[Act, ...]:
    """Return what a merchant does in Klaviyo beside the other acts, in one history of eight."""
    if chance.random() >= 0.125:
        return ()
    what, after = chance.choice(MERCHANT_ACTS), chance.choice(acts)
    at = round(after.at + _gap(chance), 1)
    how = (chance.choice(("away", "here")),) if what == "k.merge" else ()
    return (Act(at, what, chance.randrange(people), _told(chance), how),)


_HOW_MANY = {"consent": (8, 2, 0), "persons": (2, 6, 2), "shop": (7, 3, 0)}


def _likely(theme: str, *, double_opt_in: bool) -> dict[str, float]:
    """Return the acts that may happen, and how likely each is beside the others."""
    consent = dict((*CONSENT_ACTS, *((CONFIRMS,) if double_opt_in else ())))
    share = {"consent": 1.0, "persons": 0.5, "shop": 0.3}[theme]
    likely = {name: weight * share for name, weight in consent.items()}
    likely |= {name: float(weight) for name, weight in (PERSON_ACTS if theme == "persons" else ())}
    likely |= {name: float(weight) for name, weight in (SHOP_ACTS if theme == "shop" else ())}
    return likely | {name: weight * 0.08 for name, weight in OPERATOR_ACTS}


def _beginning(chance: Random) -> Beginning:
    ways = ("in", "out")
    is_new = chance.random() < 0.2
    return Beginning(chance.choice(ways), chance.choice(ways), is_new, is_new and chance.random() < 0.5)


def _landing(chance: Random) -> float:
    return round(chance.choice((chance.uniform(1, 10), chance.uniform(10, 60), chance.uniform(60, 180))), 1)


def _gap(chance: Random) -> float:
    """Return the seconds between two acts: seconds, so that calls of ours are under way; minutes; or hours."""
    gaps = (
        chance.uniform(0, 3),
        chance.uniform(3, 40),
        chance.uniform(40, 400),
        chance.uniform(1, 30) * HOUR,
    )
    return round(chance.choices(gaps, (2, 5, 3, 0.4))[0], 1)


def _told(chance: Random) -> tuple[float, ...]:
    """Return when it is told: soon, late, twice, or never."""
    draw = chance.random()
    if draw < 0.7:
        return (round(chance.uniform(0.5, 6), 1),)
    if draw < 0.82:
        return (round(chance.uniform(6, 300), 1),)
    if draw < 0.86:
        return (round(chance.uniform(1, 40) * HOUR, 1),)
    if draw < 0.97:
        first = chance.uniform(0.5, 20)
        return (round(first, 1), round(first + chance.choice((0.1, 5, 60, HOUR)) * chance.random(), 1))
    return ()


def _acts(chance: Random, people: int, likely: dict[str, float]) -> tuple[Act, ...]:
    acts, at = [], 5.0
    names, weights = tuple(likely), tuple(likely.values())
    for _ in range(chance.randint(2, 9)):
        at = round(at + _gap(chance), 1)
        [what] = chance.choices(names, weights)
        told = _told(chance)
        if what[0] == "s":
            told = told or (1.0,)
        if what == "s.reward" and chance.random() < 0.4:
            told = (told[0], round(told[0] + chance.uniform(0, 1.5), 1))  # a flow that runs twice at once
        acts.append(Act(at, what, chance.randrange(people), told, _how(chance, what)))
    return tuple(acts)


def _how(chance: Random, what: str) -> tuple[Any, ...]:
    channel = "sms" if chance.random() < 0.25 and what in _BOTH_CHANNELS else "email"
    if what.endswith("ahead"):
        return channel, round(chance.choice((chance.uniform(30, 600), chance.uniform(1, 10) * HOUR)))
    if what == "k.bounce":
        return channel, chance.choice(("hard", "hard", "soft"))
    if what == "p.create":
        return chance.choice(("in", "out")), chance.choice(("in", "out"))
    if what == "p.merge":
        return (chance.choice(("takes the email", "")),)
    if what == "s.record":
        return chance.randrange(2), chance.choice((1, 1, 3))
    return (channel,) if what[:2] in ("k.", "o.") else ()


_BOTH_CHANNELS = frozenset(
    name
    for name, _ in CONSENT_ACTS
    if name[0] == "o" or name in ("k.subscribe", "k.unsubscribe", "k.confirm")
)


def _death(chance: Random, act: Act) -> Fault:
    """Return a death at one of the calls that matter most."""
    about = chance.choice(CALLED)
    where = about.split()[0] if about[0] in "qs" else ("omneo" if "acme" in about else "klaviyo")
    return Fault(act.at, where, chance.choice(("dies before", "dies after")), about=about)


def _slowness(chance: Random, act: Act) -> Fault:
    """Return a call that takes long in the midst of the work that an act brings: time for somebody to act meanwhile."""
    service, about = chance.choice(
        (("klaviyo", "GET /api/profiles/*"), ("omneo", "GET *"), ("omneo", "POST *"), ("klaviyo", "POST *"))
    )
    return Fault(act.at + 5, service, "slow", about=about)


def _faults(chance: Random, acts: tuple[Act, ...]) -> tuple[Fault, ...]:
    faults = []
    for _ in range(chance.choices((0, 1, 2, 4), (4, 3, 2, 1))[0]):
        act = chance.choice(acts)
        soon = chance.choice((chance.uniform(0, 2), chance.uniform(0, 30), chance.uniform(0, 300)))
        at = act.at + (act.told[0] if act.told else 0.0) + soon
        [where] = chance.choices(("klaviyo", "omneo", "store", "queue"), (4, 4, 2, 1))
        kind = chance.choice({"store": STORE, "queue": QUEUE}.get(where, ANSWERS))
        lasts = 0.0
        if kind in ("503", "lost before", "lost after") and chance.random() < 0.3:
            lasts = round(chance.choice((30.0, 300.0, HOUR)) * chance.random(), 1)
        faults.append(Fault(round(at, 1), where, kind, lasts))
    if chance.random() < 0.15:
        faults.append(_slowness(chance, chance.choice(acts)))
    if chance.random() < 0.2:
        faults.append(_death(chance, chance.choice(acts)))
    if chance.random() < 0.25:
        act = chance.choice(acts)
        faults.append(Fault(act.at, "omneo", "lags", round(chance.uniform(5, 60), 1)))
    return tuple(faults)
