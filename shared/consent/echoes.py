"""Whether a system event is the echo of a consent call that the extension itself has sent, as its notes tell.

Nothing is kept here: what an answer rests on are the notes and the events that are remembered, so that it is the same whatever
came first, and after a crash.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared.consent.rules.decisions import Decided, row_of
from shared.consent_events import Decision, SystemEvent

if TYPE_CHECKING:
    from shared.consent.echo_notes import Key
    from shared.consent.inbox import Entry

# An event so much older than our call cannot have come from it, whichever of the two clocks is ahead.
_BEFORE = timedelta(minutes=1)
# Klaviyo carries out a consent job within about a minute.
_CARRIED_OUT = timedelta(minutes=2)
# A person's own act, which no call of ours can bring about.
_NEVER_OURS = frozenset({"marked_email_as_spam"})

Notes = Mapping["Key", datetime]


def is_echo(event: SystemEvent, notes: Notes, known: Iterable[Decided]) -> bool:
    """Return whether the event comes from a noted call. `known` are the events decided before, of any profile.

    An event or a call in the other direction ends a note: what follows it is a person's. An opt-out counts as one at once, since one
    too many can be undone and a lost one is a wrong; an opt-in only when our first call must have taken effect before.
    """
    keys = _keys(event.topic)
    if keys is None or event.topic in _NEVER_OURS:
        return False
    ours, other = keys
    noted = notes.get(ours)
    if noted is None or event.at < noted - _BEFORE:
        return False
    called_since = notes.get(other)
    ends = []
    if called_since is not None and called_since > noted:
        ends = [called_since if other[1] == "in" else max(called_since, noted + _CARRIED_OUT)]
    ends += [
        one.at for one in known if one.profile == event.profile and _speaks(one) and _key(one.topic) == other
    ]
    return not any(noted < end <= event.at for end in ends)


def doubtful(remembered: Iterable["Entry"], new: Iterable["Entry"], notes: Notes) -> list["Entry"]:
    """Return the entries taken for echoes that one of the new ones, come late, may show to be a person's.

    A person who unsubscribes, subscribes and unsubscribes again after our own unsubscribe call has the last word, in whatever order
    the three arrive.
    """
    echoes = [entry for entry in remembered if entry.decision == Decision.ECHO]
    found: list[Entry] = []
    ends = list(new)
    while ends:
        end = ends.pop()
        late = [entry for entry in echoes if entry not in found and _may_end(end, entry, notes)]
        found += late
        ends += late
    return found


def _may_end(end: "Entry", echo: "Entry", notes: Notes) -> bool:
    keys = _keys(echo.topic)
    if keys is None or end.profile != echo.profile or _key(end.topic) != keys[1]:
        return False
    noted = notes.get(keys[0])
    if noted is not None and echo.at >= noted - _BEFORE:
        return noted < end.at <= echo.at
    # The note is gone, or was made anew: what it ended with cannot be told any more, and an opt-out must not be lost.
    return keys[0][1] == "out" and end.at <= echo.at


def _speaks(one: Decided) -> bool:
    return one.decision not in {Decision.ECHO, Decision.UNKNOWN_PROFILE}


def _key(topic: str) -> "Key | None":
    keys = _keys(topic)
    return keys[0] if keys else None


def _keys(topic: str) -> "tuple[Key, Key] | None":
    """Return under what a call that brings about such an event is noted, and one to the contrary; None if no call does."""
    row = row_of(topic)
    match row.decision:
        case Decision.OPT_IN:
            return (row.channel, "in"), (row.channel, "out")
        case Decision.OPT_OUT:
            return (row.channel, "out"), (row.channel, "in")
        case _:
            return None
