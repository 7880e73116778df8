"""One memory of consent: everything that is known of an Omneo profile's consent on one channel. Pure, as are the modules that work on it.

A `Memory` holds the decisions (Klaviyo's events, Omneo's stamps, an opt-out in Omneo that was seen without a stamp) and our own calls to
Klaviyo.

    learning.py     adds what Klaviyo and Omneo have shown, and what was written to Omneo
    calls.py        adds our calls to Klaviyo, and their results
    whose.py        tells which events are a person's, which come from our own calls, and which are sent twice
    results.py      tells what follows: the newest decision, what to write to Omneo, when to compare both sides

`comparison.py` decides which calls to make to Klaviyo, because that also needs Klaviyo's side. `numbers.py` tells which opt-in is
for another's phone number. No other module decides about consent.

Klaviyo carries a call out seconds to minutes later, in any order, and stamps the consent then. So a call is remembered before it is made.
Until Klaviyo shows that it has landed, it may have landed or not. In doubt an opt-out counts as the person's and an opt-in as ours, so every
doubt ends as an opt-out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from shared.consent.rules.decisions import Decided
from shared.consent_events import Channel, Consent, Decision, Direction

# Klaviyo carries a call out within this, as a rule: so long after it both sides are looked at.
LANDING = timedelta(minutes=3)
# Until then a call that is not seen to have landed may still be under way.
UNDER_WAY = 2 * LANDING
# For so long an opt-in may be the effect of our call: where Klaviyo asks the person to confirm, it waits for that.
MAY_BE_OURS = timedelta(hours=72)
# How far apart the clocks of Klaviyo, Omneo and our machines may be.
CLOCKS_APART = timedelta(seconds=5)


Key: TypeAlias = tuple[str, str]
Comms: TypeAlias = Mapping[str, Any]

DECISIONS: Mapping[Direction | None, Decision] = {"in": Decision.OPT_IN, "out": Decision.OPT_OUT}


@dataclass(frozen=True)
class Call:
    """A consent that we have asked Klaviyo for.

    `profile` is Klaviyo's id, "" if it had none yet. `decided_at` is the decision that the call is for, None if it has no date.
    `asked_at` is when it was first asked, `last_at` when last: in between nobody knows which of them took effect. `is_accepted` says that
    Klaviyo's answer was seen. `landed_at` is Klaviyo's time of the effect, None until it is seen. `times` is how often the same was asked.
    """

    consent: Consent
    direction: Direction
    profile: str
    decided_at: datetime | None
    asked_at: datetime
    last_at: datetime
    is_accepted: bool = False
    landed_at: datetime | None = None
    suppresses: bool = False
    times: int = 1

    def is_under_way(self, now: datetime) -> bool:
        """Return whether it may still land."""
        return self.landed_at is None and now < self.last_at + UNDER_WAY

    @property
    def most_landings(self) -> int:
        """How often it may land: as often as it was asked, where nobody knows which of the calls took effect."""
        return self.times if self.last_at != self.asked_at else 1

    def may_have_landed(self, at: datetime, within: timedelta = UNDER_WAY) -> bool:
        """Return whether a change in Klaviyo at that time may be its effect."""
        if self.landed_at is not None:
            return abs(at - self.landed_at) <= CLOCKS_APART
        return self.asked_at - CLOCKS_APART <= at <= self.last_at + within


@dataclass(frozen=True)
class Seen:
    """The fields that Omneo last showed, or that were last written to it: which way, None if it never was recorded, and the stamp."""

    direction: Direction | None
    stamp: datetime | None


@dataclass(frozen=True)
class Word:
    """A decision: which way, and when."""

    direction: Direction
    at: datetime


@dataclass(frozen=True)
class Memory:
    """Everything that is known of one channel.

    `omneo_in` is the newest stamp of an opt-in that was decided in Omneo; `omneo_out` the same of an opt-out, or when it was first seen
    if no stamp tells. `seen_at` is when Omneo first showed `seen`, or was given it. `ahead` is a stamp that lay ahead of the clock when it was seen, and never counts.
    `merged_at` is when another Klaviyo profile was last asked to be merged into hers, which may bring its consent along. `own_in` is the
    time of the opt-in that hers showed before any was, None if it showed none. `others_out` is the time of an opt-out that came along from
    a former owner, for a phone number that is not hers, None if none did. `mailed` is the mark of the email, or of the phone number, that a
    sync last left in Klaviyo, "" if none did. `told_in` is the newest stamp with which a webhook of Omneo's has shown an opt-in,
    `told_out` the same of an opt-out.
    """

    channel: Channel
    events: tuple[Decided, ...] = ()
    calls: tuple[Call, ...] = ()
    omneo_in: datetime | None = None
    omneo_out: datetime | None = None
    seen: Seen | None = None
    seen_at: datetime | None = None
    ahead: datetime | None = None
    merged_at: datetime | None = None
    own_in: datetime | None = None
    others_out: datetime | None = None
    mailed: str = ""
    told_in: datetime | None = None
    told_out: datetime | None = None

    def may_be_merged(self, at: datetime) -> bool:
        """Return whether an opt-in of that time that Klaviyo shows may have come with another profile that was merged into hers."""
        return self.merged_at is not None and at <= self.merged_at and at != self.own_in


def latest(*moments: datetime | None) -> datetime | None:
    """Return the latest of some moments, None if there is none."""
    return max((moment for moment in moments if moment is not None), default=None)


def key_of(event: Decided) -> Key:
    """Return the key of an event; it contains the topic, because one id may come under two topics."""
    return event.id, event.topic
