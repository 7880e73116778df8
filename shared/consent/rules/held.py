"""The consent that Klaviyo holds, and the calls of ours that have landed by this evidence. Pure.

A suppression by a person (the customer's unsubscribe, or the merchant's hand) is an opt-out; a suppression for a bounce
or a wrong address is not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from shared.consent.rules.calls import with_landing
from shared.consent.rules.decisions import MARKER, read_stamp
from shared.consent.rules.memory import CLOCKS_APART, LANDING, Call, Memory
from shared.consent.rules.whose import our_landings
from shared.consent_events import Channel, Consent

_BOUNCES = frozenset({"HARD_BOUNCE", "INVALID_EMAIL"})
_COMPLAINTS = frozenset({"SPAM_COMPLAINT", "SPAM_REPORT"})
# Klaviyo's clock may differ from ours by this much. A time that is farther in the future does not count.
_AHEAD = timedelta(minutes=1)

Json = Any


@dataclass(frozen=True)
class Subject:
    """The subject of a channel's consent: the address, "" if there is none, and its Klaviyo profile.

    `held` is the address that Klaviyo has on that profile. An opt-out is about this address, even if Omneo has another
    one now.
    """

    klaviyo_id: str
    address: str = field(repr=False)
    subscriptions: Mapping[str, Json] | None = field(default=None, repr=False)
    held: str = field(default="", repr=False)

    @property
    def mailed(self) -> str:
        """The address to which Klaviyo would send."""
        return self.held or self.address


@dataclass(frozen=True)
class Held:
    """Klaviyo's side of one consent. `changed_at` is the newest time of the consent itself. `newest_at` is the newest
    time of the consent and all suppressions, None if the opt-out has no time.
    """

    consent: str
    changed_at: datetime | None = None
    newest_at: datetime | None = None
    is_opted_out: bool = False
    is_suppressed: bool = False
    is_complained: bool = False
    is_marked: bool = False
    shows_whose: bool = False


def held_of(subject: Subject, consent: Consent, now: datetime) -> Held:
    said = kind_of(subject, consent)
    word = str(said.get("consent") or "NEVER_SUBSCRIBED")
    changed = _times(said, ("consent_timestamp", "last_updated"), now)
    rows = said.get("suppression")
    suppressions = [row for row in (rows if isinstance(rows, list) else ()) if isinstance(row, Mapping)]
    by_hand = [row for row in suppressions if row.get("reason") not in _BOUNCES]
    dated = [*changed, *_suppressed_at(by_hand, now)]
    return Held(
        consent=word,
        changed_at=max(changed, default=None),
        # A bounce's time counts against an opt-in, but does not replace the missing time of an opt-out.
        newest_at=max([*dated, *_suppressed_at(suppressions, now)]) if dated else None,
        is_opted_out=word == "UNSUBSCRIBED" or _is_suppressed(word, said, by_hand, now),
        is_suppressed=bool(by_hand),
        is_complained=any(row.get("reason") in _COMPLAINTS for row in suppressions),
        is_marked=str(said.get("custom_method_detail") or "").casefold() == MARKER,
        shows_whose="custom_method_detail" in said,
    )


def _is_suppressed(
    word: str, said: Mapping[str, Json], by_hand: list[Mapping[str, Json]], now: datetime
) -> bool:
    """Return whether a person had the profile suppressed, and did not subscribe after that."""
    if word != "SUBSCRIBED":
        return bool(by_hand)
    since = _times(said, ("consent_timestamp",), now)
    return bool(since) and any(at >= since[0] for at in _suppressed_at(by_hand, now))


def _suppressed_at(rows: list[Mapping[str, Json]], now: datetime) -> list[datetime]:
    return [at for row in rows for at in _times(row, ("timestamp",), now)]


def _times(said: Mapping[str, Json], names: tuple[str, ...], now: datetime) -> list[datetime]:
    """Return the times that count: a time a little in the future becomes now, and a time far in the future does not count."""
    found = [at for name in names if (at := read_stamp(said.get(name))) is not None]
    return [min(at, now) for at in found if at <= now + _AHEAD]


def kind_of(subject: Subject, consent: Consent) -> Mapping[str, Json]:
    kind = "transactional" if consent is Consent.SMS_TRANSACTIONAL else "marketing"
    found: Json = subject.subscriptions
    for name in (consent.channel.value, kind):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def is_opted_out(subject: Subject, channel: Channel, now: datetime) -> bool:
    """Return whether Klaviyo holds a person's opt-out, her own or the merchant's."""
    return held_of(subject, Consent(channel.value), now).is_opted_out


def opted_out_at(subject: Subject, channel: Channel, now: datetime) -> datetime | None:
    """Return the time of the opt-out that Klaviyo holds, None if it holds none, or has no time of it."""
    held = held_of(subject, Consent(channel.value), now)
    return held.newest_at if held.is_opted_out else None


def opted_in_at(subject: Subject, channel: Channel, now: datetime) -> datetime | None:
    """Return the time of the opt-in that Klaviyo holds, None if it holds none."""
    held = held_of(subject, Consent(channel.value), now)
    return held.changed_at if held.consent == "SUBSCRIBED" else None


def with_klaviyo(memory: Memory, subject: Subject, now: datetime) -> Memory:
    """Return the memory with each call marked as landed whose landing Klaviyo shows.

    Without our mark, an opt-in within minutes after our call may be the person's own. So the call counts as open until
    the time when it must have landed.
    """
    for consent in Consent:
        held = held_of(subject, consent, now)
        for call in [one for one in memory.calls if one.consent is consent and one.landed_at is None]:
            if call.profile in (subject.klaviyo_id, "") and (at := _landed_at(memory, call, held, now)):
                memory = with_landing(memory, call, at)
    return memory


def _landed_at(memory: Memory, call: Call, held: Held, now: datetime) -> datetime | None:
    """Return the time of a call's landing, None if it is not known. One landing belongs to one call."""
    if _shows_landing(memory, call, held):
        return held.changed_at
    # The event of a landing is more certain than a consent that Klaviyo shows without our mark.
    told = [
        at
        for at in our_landings(memory, call.direction, call.profile)
        if call.may_have_landed(at) and not _is_of_another(memory, call, at)
    ]
    if told:
        return min(told)
    if held.consent != ("SUBSCRIBED" if call.direction == "in" else "UNSUBSCRIBED"):
        return None
    is_since = held.changed_at is not None and held.changed_at >= call.asked_at - CLOCKS_APART
    if call.direction == "in" and is_since and held.shows_whose and not held.is_marked:
        return None  # this consent is somebody else's act; Klaviyo no longer shows ours
    is_shown = is_since and not _is_of_another(memory, call, held.changed_at)
    if now < call.last_at + LANDING and not (is_shown and (call.direction == "out" or held.is_marked)):
        return None
    return held.changed_at if is_since else call.last_at


def _shows_landing(memory: Memory, call: Call, held: Held) -> bool:
    """Return whether Klaviyo shows an opt-in with our mark that is this call's landing.

    It belongs to the last call before it, if that call was made only once.
    """
    at = held.changed_at
    if call.last_at != call.asked_at:
        return False
    if call.direction != "in" or held.consent != "SUBSCRIBED" or not held.is_marked or at is None:
        return False
    asked = [
        one
        for one in memory.calls
        if (one.consent, one.direction, one.profile) == (call.consent, call.direction, call.profile)
        and one.asked_at - CLOCKS_APART <= at
    ]
    return bool(asked) and asked[-1] is call


def _is_of_another(memory: Memory, call: Call, at: datetime | None) -> bool:
    """Return whether a change in Klaviyo at that time is the known landing of another call of the same kind."""
    about = (call.consent, call.direction, call.profile)
    return at is not None and any(
        (one.consent, one.direction, one.profile) == about
        and one.landed_at is not None
        and abs(one.landed_at - at) <= CLOCKS_APART
        for one in memory.calls
    )
