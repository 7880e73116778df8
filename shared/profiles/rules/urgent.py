"""The syncs that must not wait behind others: those that bring Klaviyo an opt-out. Pure."""

from collections.abc import Mapping
from datetime import datetime

from shared.consent.rules.decisions import direction_in, read_stamp, stamp_name
from shared.consent.rules.memory import Comms, Memory, Seen
from shared.consent_events import Channel


def brings_an_opt_out(comms: Comms, memories: Mapping[Channel, Memory], synced_at: datetime | None) -> bool:
    """Return whether Omneo shows an opt-out that no sync has handled. It is handled if a sync that read the profile at
    `synced_at` is done, and Omneo still shows the same as then.
    """
    for channel, memory in memories.items():
        shown = Seen(direction_in(comms, channel), read_stamp(comms.get(stamp_name(channel))))
        if shown.direction == "out" and not _was_synced(shown, memory, synced_at):
            return True
    return False


def _was_synced(shown: Seen, memory: Memory, synced_at: datetime | None) -> bool:
    if shown != memory.seen or memory.seen_at is None or synced_at is None:
        return False
    return memory.seen_at <= synced_at
