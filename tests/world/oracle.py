"""What people did, and when we were told: the only thing that the laws judge by. Nothing here looks at the bundle or its notes."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

IN, OUT = "in", "out"
_CALL = 10.0  # seconds that a call may have been on its way, with what was decided before it
_WRITE = 4.0  # seconds that a write to Omneo may be on its way, with what was read before it
_LANDS = 360.0  # seconds within which Klaviyo may carry out what we have asked for


@dataclass
class Decision:
    """Somebody's decision on one channel. Times are Unix seconds.

    `is_dated` says whether its time can be read by us: a Klaviyo event's or a sane stamp's. `known_at` is when the work that was told of
    it was done.
    """

    at: float
    way: str  # in or out
    side: str  # klaviyo or omneo
    is_dated: bool = True
    what: str = ""
    known_at: float | None = None
    events: frozenset[str] = frozenset()  # the ids of Klaviyo's events of it
    is_by_another: bool = False  # whether Klaviyo still had the address on the profile of another

    @property
    def is_silent(self) -> bool:
        """Whether it was made in Klaviyo, which held it already and recorded no event: nobody else can know that it was said again."""
        return self.side == "klaviyo" and not self.events


@dataclass
class Person:
    """Somebody, by the ids that both sides know them by; "" where a side does not. `decisions` by channel."""

    name: str
    omneo: str = ""
    klaviyo: str = ""
    email: str = ""
    phone: str = ""
    decisions: dict[str, list[Decision]] = field(default_factory=lambda: {"email": [], "sms": []})
    is_bounced: bool = False
    is_living: bool = True
    is_excluded: bool = False
    was_deleted: bool = False
    was_told_dead: bool = False  # whether a deletion was told while the person was not there
    was_erased: bool = False  # in Klaviyo, by a merchant
    is_unsuppressed: bool = False  # by a merchant, who thereby answers for it
    died_at: float = 0.0
    former_emails: list[str] = field(default_factory=list)
    untold: bool = False  # whether an act of theirs in Omneo is never told
    merged_into: str = ""
    absorbed: list["Person"] = field(default_factory=list)  # who were merged into this person
    has_complained: bool = False  # of spam
    events: dict[str, tuple[str, float]] = field(
        default_factory=dict
    )  # what Klaviyo recorded of their own acts, by id: topic and time
    asked: list[tuple[str, str, float, float]] = field(
        default_factory=list
    )  # our consent calls: channel, way, asked at, landed at
    written: list[tuple[str, float]] = field(
        default_factory=list
    )  # opt-outs that we have written to Omneo: channel, at

    def decide(self, channel: str, decision: Decision) -> None:
        """Note a decision."""
        self.decisions[channel].append(decision)

    def last(self, channel: str) -> Decision | None:
        """Return the last decision on a channel."""
        rows = self.decisions[channel]
        return max(rows, key=lambda row: row.at) if rows else None

    def wanted(self, channel: str, apart: float) -> set[str]:
        """Return how both sides may end: in, out, or either where nobody could know; none where there was no decision.

        `apart` is by how many seconds times of two sides may differ. An opt-out that nobody can know of may count or not.
        """
        rows = self.decisions[channel]
        last = max((row for row in rows if not row.is_silent), key=lambda row: row.at, default=None)
        if last is None:
            return set()
        if last.way == OUT:
            return {OUT}
        if any(row.is_silent and row.way == OUT and row.at >= last.at for row in rows):
            return {IN, OUT}
        if last.is_by_another:
            return {
                IN,
                OUT,
            }  # a sign-up in the moments until both have their new addresses is told of the other
        if any((theirs := other.last(channel)) is not None and theirs.way == OUT for other in self.absorbed):
            return {IN, OUT}  # the address, or the profile, is one of somebody who had opted out
        return {IN, OUT} if self._may_be_out(channel, last, apart) else {IN}

    def _may_be_out(self, channel: str, last: Decision, apart: float) -> bool:
        for other in self.decisions[channel]:
            if other.way == IN:
                continue
            slack = apart if other.side != last.side else 1.0
            if int(other.at) >= int(last.at) - slack:
                return True  # a tie
            if not other.is_dated and (other.known_at is None or other.known_at >= last.at):
                return True  # when it was is not known, and it may be the later one
        if any(
            (theirs, way) == (channel, OUT) and asked - _CALL <= last.at <= landed + apart
            for theirs, way, asked, landed in self.asked
        ):
            return True  # our own unsubscribe was under way, and has landed on top of it
        if channel == "sms" and any(
            (theirs, way) == (channel, IN) and asked - apart <= last.at <= asked + _LANDS
            for theirs, way, asked, _ in self.asked
        ):
            return True  # of a text message's sign-up nothing shows that it is not our own subscribe, which she opted out after
        if last.side == "omneo" and any(
            theirs == channel and last.at <= at <= last.at + _WRITE for theirs, at in self.written
        ):
            return True  # our own write was on its way, and Omneo has no write that minds what was written meanwhile
        return not last.is_dated and any(row.way == OUT for row in self.decisions[channel])

    def shares(self, channel: str, others: Iterable["Person"]) -> bool:
        """Return whether somebody else has the address too, so that a consent of it may be either's."""
        own = self.address(channel)
        return bool(own) and any(
            other is not self and other.is_living and own.casefold() == other.address(channel).casefold()
            for other in others
        )

    def leaves_opt_out_to(self, heir: "Person", channel: str) -> bool:
        """Return whether somebody has an email now that this person, who is deleted, had when opting out: Klaviyo's opt-out is of the email."""
        last = self.last(channel)
        if channel != "email" or self.is_living or last is None or last.way == IN:
            return False
        return heir.email.casefold() in {email.casefold() for email in (self.email, *self.former_emails)}

    def address(self, channel: str) -> str:
        """Return where the person is written to on a channel."""
        return self.email if channel == "email" else self.phone

    def is_ours_perhaps(self, channel: str, way: str, at: float) -> bool:
        """Return whether a call of ours was under way then, of which an event of that moment may be the landing.

        Nobody can tell them apart without asking Klaviyo about each, and both ask for the same: that we asked, there is no event for.
        """
        return any(
            (theirs, towards) == (channel, way) and asked - 60 <= at <= max(landed + 60, asked + _LANDS)
            for theirs, towards, asked, landed in self.asked
        )

    def told_out(self, channel: str, by: float) -> Decision | None:
        """Return the opt-out that we had been told of by then and that no opt-in has followed, None if there is none."""
        rows = self.decisions[channel]
        known = [row for row in rows if row.way == OUT and row.known_at is not None and row.known_at <= by]
        newest = max(known, key=lambda row: row.at, default=None)
        if newest is None or any(row.way == IN and row.at >= newest.at for row in rows):
            return None
        return newest


def way_in_omneo(comms: dict[str, Any], channel: str) -> str:
    """Return in or out, a bounce left aside."""
    is_out = comms[f"{channel}_promo"] is False or comms[f"{channel}_optout"] is True
    return OUT if is_out else IN
