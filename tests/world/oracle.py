"""The acts of people, and the times of their reports to us.

The laws judge only by these. It never reads the bundle or its notes.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

IN, OUT = "in", "out"
_CALL = 10.0  # seconds that a call may have been on its way, with what was decided before it
_WRITE = 4.0  # seconds that a write to Omneo may be on its way, with what was read before it
_SAME = 5.0  # seconds within which two sign-ups in Klaviyo may be one
_LANDS = 360.0  # seconds within which Klaviyo may carry out what we have asked for
_MOVED = 8.0  # seconds after Klaviyo has another address on a profile in which nobody can tell of which of the two an act is: the answer is on its way, and clocks differ
_AHEAD = 7.0  # seconds by which a stamp must lie ahead to be known for one that does: clocks differ
_AT_ONCE = 12.0  # seconds after an act within which Omneo may show an older state of the person


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
    profile: str = ""  # of Klaviyo's, through which it was made
    handled_at: float | None = None  # when the work that brings Klaviyo's events of it to Omneo was done
    stamp: str = ""  # where it lies ahead
    stamped_at: float = 0.0  # the time of that stamp
    is_seen_ahead: bool = False  # whether Omneo has shown or told us that stamp while it lay ahead

    def is_handled_after(self, at: float) -> bool:
        """Return whether nobody had brought it to Omneo by then."""
        return self.handled_at is None or self.handled_at > at

    def seems_made_at(self) -> float:
        """Return the time of its stamp if nobody can know that it was made before: neither a webhook nor a read showed the stamp while it
        lay ahead. Else return its time. Omneo's `updated_at` of the profile would tell, if it is known to move with a change of consents
        alone; where it does not, every opt-in would seem to lie ahead.
        """
        return self.stamped_at if self.stamp and not self.is_seen_ahead else self.at

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
    others_outs: list[tuple[str, float]] = field(
        default_factory=list
    )  # on which channel and when another opted out through the profile that Klaviyo had as this person's
    others_ins: list[float] = field(
        default_factory=list
    )  # when another person, who is no longer in Omneo, signed up through it
    is_bounced: bool = False
    is_living: bool = True
    is_excluded: bool = False
    was_deleted: bool = False
    was_told_dead: bool = False  # whether a deletion was reported while the person was not there
    was_erased: bool = False  # in Klaviyo, by a merchant
    is_unsuppressed: bool = False  # by a merchant, who thereby answers for it
    died_at: float = 0.0
    merge_known_at: float = float("inf")  # when we are told that the person was merged into another
    first_seen_at: float = float("inf")  # when a sync or a flush has first looked at the person
    gave_up: list[tuple[str, float]] = field(
        default_factory=list
    )  # former emails, and when Omneo had another
    last_names: list[str] = field(default_factory=list)  # in Omneo, one after the other
    got: list[tuple[str, float]] = field(default_factory=list)  # emails, and since when Omneo has had them
    seen: list[float] = field(default_factory=list)  # when Omneo has shown the person to us
    lent: list[tuple["Person", Decision]] = field(
        default_factory=list
    )  # decisions of others with an email that Klaviyo had on this person's profile
    mailed: str = ""  # the email that Klaviyo has on the person's profile
    texted: str = ""  # the phone number that it has there
    moved: list[tuple[str, float]] = field(
        default_factory=list
    )  # on which channel and when Klaviyo came to have another address there
    had_numbers: list[float] = field(default_factory=list)  # when Omneo came to have another phone number
    untold: bool = False  # whether an act of theirs in Omneo is never told
    merged_into: str = ""
    absorbed: list["Person"] = field(default_factory=list)  # who were merged into this person
    events: dict[str, tuple[str, float]] = field(
        default_factory=dict
    )  # Klaviyo's events of their own acts, by id: topic and time
    asked: list[tuple[str, str, float, float]] = field(
        default_factory=list
    )  # our consent calls: channel, way, asked at, landed at
    written: list[tuple[str, float]] = field(
        default_factory=list
    )  # opt-outs that we have written to Omneo: channel, at

    def shown(self, text: bytes, at: float) -> None:
        """Note that Omneo has shown or told us these profiles."""
        if self.omneo.encode() not in text:
            return
        for row in (row for rows in self.decisions.values() for row in rows if row.stamp):
            if at <= row.stamped_at - _AHEAD and row.stamp.encode() in text:
                row.is_seen_ahead = True

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
            is_email = channel == "email"
            may_be_in = is_email and (
                any(at >= last.at for at in self.ins_of_others) or self._is_unseen_of(last)
            )
            may_be_in = may_be_in or self._seems_in_since(channel, last.at)
            return {IN, OUT} if may_be_in else {OUT}
        return {IN, OUT} if self._may_not_count(channel, last, apart) else {IN}

    def _seems_in_since(self, channel: str, at: float) -> bool:
        ins = [row for row in self.decisions[channel] if row.way == IN and row.stamp]
        return any(row.seems_made_at() >= at for row in ins)

    @property
    def ins_of_others(self) -> list[float]:
        """The times when others signed up through this person's Klaviyo profile, if nobody can know that it was another person."""
        unseen = [one.at for other, one in self.lent if one.way == IN and other._is_unseen_of(one)]
        return [*self.others_ins, *unseen]

    def _is_unseen_of(self, decision: Decision) -> bool:
        """Return whether nobody can know that a decision, made through the profile that Klaviyo had as another's, was this person's.

        Omneo had the email with this person for moments in which nobody looked, and with another again before the event was handled.
        """
        if not decision.is_by_another:
            return False
        given = min(((at, email) for email, at in self.gave_up if at >= decision.at), default=None)
        if given is None or not decision.is_handled_after(given[0]):
            return False
        got_at = max((at for email, at in self.got if email == given[1] and at <= decision.at), default=0.0)
        return not any(got_at <= at <= given[0] for at in self.seen)

    def _may_not_count(self, channel: str, last: Decision, apart: float) -> bool:  # noqa: PLR0911 - one reason after the other
        """Return whether an opt-in, the last act, may have ended as an opt-out all the same."""
        if any(row.is_silent and row.way == OUT and row.at >= last.at for row in self.decisions[channel]):
            return True
        if last.side == "klaviyo" and self._has_just_moved(channel, last.at):
            return True  # it may be a sign-up of the present owner of the former address
        if channel == "sms" and self._signed_up_at_former_number(last):
            return True  # a consent to text messages is for its number
        if last.is_by_another:
            return True  # a sign-up in the moments until both have their new addresses is told of the other
        if any(theirs == channel and at >= last.at - apart for theirs, at in self.others_outs):
            return True  # nothing shows whose opt-out that was
        if any(OUT in other.wanted(channel, apart) for other in self.absorbed):
            return True  # the address or the profile belonged to a person who had opted out, as far as anybody can know
        return self._may_be_out(channel, last, apart)

    def _may_be_out(self, channel: str, last: Decision, apart: float) -> bool:
        return (
            self._is_near_an_opt_out(channel, last, apart)
            or self._is_under_a_call_of_ours(channel, last, apart)
            or (not last.is_dated and any(row.way == OUT for row in self.decisions[channel]))
        )

    def _is_near_an_opt_out(self, channel: str, last: Decision, apart: float) -> bool:
        for other in self.decisions[channel]:
            if other.way == IN:
                continue
            slack = apart if other.side != last.side else 1.0
            if int(other.at) >= int(last.at) - slack:
                return True  # a tie
            if not other.is_dated and (other.known_at is None or other.known_at >= last.at):
                return True  # when it was is not known, and it may be the later one
        return False

    def _is_under_a_call_of_ours(self, channel: str, last: Decision, apart: float) -> bool:
        ours = [(way, asked, landed) for theirs, way, asked, landed in self.asked if theirs == channel]
        unsubscribes = [(asked, landed) for way, asked, landed in ours if way == OUT]
        subscribes = [(asked, landed) for way, asked, landed in ours if way == IN]
        if any(asked - _CALL <= last.at <= landed + apart for asked, landed in unsubscribes):
            return True  # our own unsubscribe was under way, and has landed on top of it
        known_at = last.known_at
        if any(
            (known_at is None or asked <= known_at) and last.at <= landed + apart
            for asked, landed in unsubscribes
        ):
            return True  # our own unsubscribe was asked for before anybody told us of it
        if last.side == "klaviyo" and any(abs(landed - last.at) <= _SAME for _, landed in subscribes):
            return True  # nothing tells it from the landing of our own subscribe
        if channel == "sms" and any(asked - apart <= last.at <= asked + _LANDS for asked, _ in subscribes):
            return True  # of a text message's sign-up nothing shows that it is not our own subscribe, which she opted out after
        # Our own write was on its way, and Omneo has no write that minds what was written meanwhile.
        return last.side == "omneo" and any(
            theirs == channel and last.at <= at <= last.at + _WRITE for theirs, at in self.written
        )

    def signed_up_unheard(self, channel: str) -> bool:
        """Return whether Klaviyo alone knows of the last sign-up: it recorded no event, and every opt-out is older.

        Only opt-outs are looked for on its profiles, so Omneo may go on holding the opt-out.
        """
        rows = self.decisions[channel]
        unheard = [row.at for row in rows if row.is_silent and row.way == IN]
        outs = [row.at for row in rows if row.way == OUT]
        return bool(unheard) and all(at < max(unheard) for at in outs)

    def complains(self, channel: str) -> bool:
        """Return whether the person has complained of spam, and not signed up in Klaviyo since."""
        rows = [row for row in self.decisions[channel] if row.side == "klaviyo" and not row.is_silent]
        told = [row for row in rows if row.what == "k.spam" or row.way == IN]
        return max(told, key=lambda row: row.at).way == OUT if told else False

    def shares(self, channel: str, others: Iterable["Person"]) -> bool:
        """Return whether somebody else has the address too, so that a consent of it may be either's."""
        own = self.address(channel)
        return bool(own) and any(
            other is not self and other.is_living and own.casefold() == other.address(channel).casefold()
            for other in others
        )

    def _has_just_moved(self, channel: str, at: float) -> bool:
        return any(theirs == channel and moved <= at <= moved + _MOVED for theirs, moved in self.moved)

    def _signed_up_at_former_number(self, last: Decision) -> bool:
        """Return whether a sign-up in Klaviyo was brought to Omneo only after Omneo had another number."""
        if (last.side, last.way) != ("klaviyo", IN):
            return False
        return any(last.at <= at and last.is_handled_after(at) for at in self.had_numbers)

    def opted_out_unseen(self, channel: str) -> bool:
        """Return whether the last act is an opt-out in Omneo that nobody can see as the newest. It has no stamp, we had
        never looked at the person, and a sign-up in Klaviyo came before it, without an event or with an event that came
        after it. Then Omneo shows a stamp that is older than the sign-up, and nothing shows that this stamp is out of
        date.
        """
        last = self.last(channel)
        return last is not None and last.way == OUT and self.is_unseen(channel, last)

    def is_unseen(self, channel: str, out: Decision) -> bool:
        """Return whether an opt-out is such a one.

        A person who opted out long before and then signs up in Klaviyo looks the same.
        """
        return any(self._unseen_sign_ups(channel, out))

    def signed_up_without_an_event(self, channel: str) -> bool:
        """Return whether a sign-up before such an opt-out, the last act, has no event, so that nothing brings it to Omneo."""
        last = self.last(channel)
        return last is not None and any(row.is_silent for row in self._unseen_sign_ups(channel, last))

    def _unseen_sign_ups(self, channel: str, out: Decision) -> Iterable[Decision]:
        """Yield the sign-ups in Klaviyo that may seem newer than an opt-out without a stamp.

        They do not if Omneo shows a newer stamp.
        """
        if out.side != "omneo" or out.is_dated or out.at >= self.first_seen_at:
            return
        rows = [row for row in self.decisions[channel] if row.at < out.at]
        stamp = max((row.at for row in rows if row.side == "omneo" and row.is_dated), default=0.0)
        for row in rows:
            is_sign_up = (row.side, row.way) == ("klaviyo", IN) and row.at >= stamp - _WRITE
            if is_sign_up and (row.is_silent or row.is_handled_after(out.at)):
                yield row

    def gave_up_to(self, heir: "Person", channel: str) -> bool:
        """Return whether a sign-up in Klaviyo, the last act, was brought to Omneo only when another had the email: it may be the other's."""
        last = self.last(channel)
        if channel != "email" or last is None or (last.side, last.way) != ("klaviyo", IN):
            return False
        theirs = {email.casefold() for email in (heir.email, *(email for email, _ in heir.gave_up))}
        given = [at for email, at in self.gave_up if email.casefold() in theirs]
        return heir is not self and any(last.at <= at and last.is_handled_after(at) for at in given)

    def leaves_opt_out_to(self, heir: "Person", channel: str) -> bool:
        """Return whether another person has, or had, an email of this person, and nobody can tell which of the two made
        an opt-out with it.

        If this person is deleted, the opt-out stays with the email in Klaviyo. Otherwise one of two things holds: the
        opt-out was reported only when the other had the email, or it was made while Klaviyo got another email on this
        person's profile. Later decisions of the other count.
        """
        last = self.last(channel)
        if channel != "email":
            return False
        theirs = {email.casefold() for email in (heir.email, *(email for email, _ in heir.gave_up))}
        if not self.is_living and last is not None and last.way == OUT:
            mine = (self.email, *(email for email, _ in self.gave_up))
            return any(email.casefold() in theirs for email in mine)
        outs = [row for row in self.decisions[channel] if row.way == OUT and row.side == "klaviyo"]
        decided = heir.last(channel)
        if decided is not None and decided.is_dated:
            outs = [row for row in outs if row.at >= decided.at - _AT_ONCE]
        given = [at for email, at in self.gave_up if email.casefold() in theirs]
        return any(self._is_of_either(out, at) for out in outs for at in given)

    def _is_of_either(self, out: Decision, given_at: float) -> bool:
        if out.at > given_at:
            return self._has_just_moved("email", out.at)
        is_handled = out.handled_at is not None and out.handled_at < given_at
        return not is_handled or (out.handled_at or 0.0) - out.at < _AT_ONCE

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
        known = [
            row
            for row in rows
            if row.way == OUT
            and row.known_at is not None
            and row.known_at <= by
            and not self.is_unseen(channel, row)
        ]
        newest = max(known, key=lambda row: row.at, default=None)
        ins = [row.seems_made_at() for row in rows if row.way == IN] + (
            self.ins_of_others if channel == "email" else []
        )
        if newest is None or any(at >= newest.at for at in ins):
            return None
        return newest


def way_in_omneo(comms: dict[str, Any], channel: str) -> str:
    """Return in or out, a bounce left aside."""
    is_out = comms[f"{channel}_promo"] is False or comms[f"{channel}_optout"] is True
    return OUT if is_out else IN
