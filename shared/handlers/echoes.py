"""Whether a system event is the echo of a consent call that the extension itself has sent, as its notes tell."""

from datetime import datetime, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from shared.domain.consent import row_of
from shared.domain.consent_events import Decision, SystemEvent

if TYPE_CHECKING:
    from shared.echo_notes import EchoNotes, Key

# An event so much older than our call cannot have come from it, whichever of the two clocks is ahead.
_BEFORE = timedelta(minutes=1)
# Klaviyo carries out a consent job within about a minute.
_CARRIED_OUT = timedelta(minutes=2)
# A person's own act, which no call of ours can bring about.
_NEVER_OURS = frozenset({"marked_email_as_spam"})


class Echoes:
    """The notes of one Klaviyo profile, while its events are looked through in the order of their times."""

    def __init__(self, tenant: str, profile: str, notes: "EchoNotes") -> None:
        self._tenant = tenant
        self._profile = profile
        self._notes = notes

    def has(self, event: SystemEvent) -> bool:
        """Return whether the event is such an echo. One in the other direction ends the note: what follows it is a person's."""
        row = row_of(event.topic)
        match row.decision:
            case Decision.OPT_IN:
                ours: Key = (row.channel, "in")
                other: Key = (row.channel, "out")
            case Decision.OPT_OUT:
                ours, other = (row.channel, "out"), (row.channel, "in")
            case _:
                return False
        noted = self._standing.get(ours)
        if (
            noted is not None
            and event.at >= noted - _BEFORE
            and event.topic not in _NEVER_OURS
            and not self._is_overtaken(noted, other, event.at)
        ):
            return True
        self._end(other, event.at)
        return False

    def _is_overtaken(self, noted: datetime, other: "Key", at: datetime) -> bool:
        """Return whether we have called the other way since, so that an event after that is a person's.

        An opt-in only when our own must have taken effect before. An opt-out counts as a person's at once: one too many can be
        undone, a lost one is a wrong.
        """
        since = self._standing.get(other)
        if since is None or since <= noted or at < since:
            return False
        return at > noted + _CARRIED_OUT or (other[1] == "in" and at > since)

    def _end(self, key: "Key", at: datetime) -> None:
        noted = self._standing.get(key)
        if noted is not None and noted < at:
            channel, direction = key
            self._notes.end(self._tenant, self._profile, channel, direction, before=at)
            del self._standing[key]

    @cached_property
    def _standing(self) -> dict["Key", datetime]:
        return dict(self._notes.of(self._tenant, self._profile))
