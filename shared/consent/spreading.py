"""The inbox's traffic: events are spread over their profiles' inboxes, and each inbox is flushed once a window.

The entry is written first, then the clock is read, and the flush of the window that holds that moment is queued under its own name: so
all events of ten seconds become one flush, and no entry waits for a flush that has already read the inbox.
"""

import logging
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from shared import logs
from shared.consent.rules.delivery import read_row
from shared.errors import CannotSucceedError
from shared.jobs.jobs import FlushInbox, ReadEvents, SpreadEvents, SweepInbox
from shared.jobs.rules.windows import hashed
from shared.jobs.windows import once_a_window
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.consent.inbox import Inbox
    from shared.jobs.queue import TaskQueue

SWEPT_AFTER = timedelta(minutes=2)
# An older event stands on the dead-letter desk: its flush was given up.
SWEPT_UNTIL = timedelta(hours=24)


def spread(
    job: SpreadEvents, tenant: Tenant, *, inbox: "Inbox", queue: "TaskQueue", clock: Callable[[], datetime]
) -> None:
    """Put each event in the inbox of its profile, and queue a flush of the inbox. Repeating this is harmless.

    Raises:
        StoreUnavailableError, QueueUnavailableError: some of it was not done; repeat all of it.
    """
    from shared.consent.inbox import Receipt

    received: Counter[str] = Counter()
    waiting: dict[str, None] = {}
    for event in job.events:
        receipt = inbox.add(tenant.name, job.account, event)
        received[receipt.value] += 1
        if receipt is not Receipt.HANDLED:  # an open one may have lost its flush when a run of this job died
            waiting[event.profile] = None
    for profile in waiting:
        flush_soon(tenant, profile, queue=queue, clock=clock, traceparent=job.traceparent)
    logs.note(events=len(job.events), received=dict(received))


def read_and_spread(
    job: ReadEvents, tenant: Tenant, *, inbox: "Inbox", queue: "TaskQueue", clock: Callable[[], datetime]
) -> None:
    """Read events once more that could not be read as they came, and spread those that can be by now.

    Raises:
        CannotSucceedError: some cannot.
        StoreUnavailableError, QueueUnavailableError: as `spread`.
    """
    events = [read_row(row, sent_at=job.sent_at, now=job.accepted_at) for row in job.rows]
    known = tuple(event for event in events if event is not None)
    read = SpreadEvents(
        tenant=job.tenant,
        accepted_at=job.accepted_at,
        account=job.account,
        events=known,
        traceparent=job.traceparent,
    )
    spread(read, tenant, inbox=inbox, queue=queue, clock=clock)
    if unread := len(events) - len(known):
        raise CannotSucceedError(
            f"Klaviyo has told of {unread} consent events without an id, a profile or a time that can be read, so nothing was changed for "
            "them. Look them up in Klaviyo by their topics, and set the consents in Omneo."
        )


def flush_soon(
    tenant: Tenant, profile: str, *, queue: "TaskQueue", clock: Callable[[], datetime], traceparent: str = ""
) -> None:
    """Queue a flush that reads the inbox after this moment, one for all that ask within ten seconds."""

    def flush(now: datetime) -> FlushInbox:
        return _flush(tenant, profile, now, traceparent)

    once_a_window(flush, tenant, "flush", tenant.name, profile, queue=queue, clock=clock)


def sweep(
    job: SweepInbox, tenant: Tenant, *, inbox: "Inbox", queue: "TaskQueue", clock: Callable[[], datetime]
) -> None:
    """Queue a flush for every inbox in which something has waited for minutes, at most one an hour."""
    now = clock()
    profiles = {
        entry.profile
        for entry in inbox.older_than(tenant.name, now - SWEPT_AFTER)
        if now - entry.received_at < SWEPT_UNTIL
    }
    hour = f"sweep {now:%Y-%m-%dT%H}"
    for profile in sorted(profiles):
        name = hashed("flush", tenant.name, profile, hour)
        queue.put_named(_flush(tenant, profile, now, job.traceparent), tenant, name=name, delay=0.0)
    logs.note(swept=len(profiles))
    if profiles:
        logs.write(logging.WARNING, "inboxes had to be swept", swept=len(profiles))


def _flush(tenant: Tenant, profile: str, now: datetime, traceparent: str) -> FlushInbox:
    # One id for all flushes of a profile: given up several times over, they are one dead job.
    id = hashed("flush", tenant.name, profile)[:32]
    return FlushInbox(tenant=tenant.name, id=id, accepted_at=now, profile=profile, traceparent=traceparent)
