"""What the remembered entries of an Omneo profile tell: which events they are, and whose decision stands there.

Pure: entries and consent arrive as arguments. What an event means stands in `rules/decisions.py`.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from shared.consent.rules import decisions as consent
from shared.consent.rules.decisions import Decided
from shared.consent_events import Channel, Decision, SystemEvent

if TYPE_CHECKING:
    from shared.consent.inbox import Entry


def event_of(entry: "Entry") -> SystemEvent:
    """Return the event that an entry is about."""
    return SystemEvent(
        id=entry.event_id,
        topic=entry.topic,
        profile=entry.profile,
        at=entry.at,
        bounce=entry.bounce,
        method=entry.method,
    )


def decided_of(entry: "Entry") -> Decided:
    """Return the event of an entry and what it came to."""
    decision = Decision(entry.decision)
    return Decided(entry.event_id, entry.topic, entry.profile, entry.at, decision, entry.clears_bounce)


def foreign_stamps(comms: consent.Comms, before: Iterable["Entry"]) -> dict[Channel, datetime | None]:
    """Return, by channel, the stamp of the newest decision on the Omneo profile that none of these entries has written.

    An entry whose time is the profile's stamp has written it, and remembers the one that stood there before.
    """
    found: dict[Channel, datetime | None] = {}
    for channel in Channel:
        stamp = consent.read_stamp(comms.get(consent.stamp_name(channel)))
        ours = [
            entry
            for entry in before
            if entry.at == stamp
            and consent.row_of(entry.topic).channel is channel
            and consent.is_stamped(Decision(entry.decision))
        ]
        found[channel] = ours[-1].foreign_stamp if ours else stamp
    return found
