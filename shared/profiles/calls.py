"""Calls about Omneo profiles: Omneo's webhooks and the target that asks for a sync. Each becomes a job that carries the profile's id.

Calls about one profile that come close together become one sync: the job's name holds the profile and the window of the moment, as the name of a
flush does. The job reads the profile when it runs.
"""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from shared import logs
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.decisions import direction_in
from shared.consent.rules.learning import with_opt_in_told, with_opt_out_told
from shared.consent.stamps_ahead import StampsAhead
from shared.consent.to_omneo import note_decisions
from shared.consent_events import Channel
from shared.errors import InvalidPayloadError
from shared.jobs.jobs import DeleteProfile, SyncProfile
from shared.jobs.rules.windows import Window, hashed
from shared.profiles.rules.calls import (
    CREATED,
    DELETED,
    UPDATED,
    profile_id_of_event,
    profile_id_of_target,
    stored_klaviyo_id,
)
from shared.profiles.rules.sync_plan import comms_of
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.jobs.queue import TaskQueue
    from shared.services import Services

Clock = Callable[[], datetime]
IGNORED = {"status": "ignored"}


def accept_profile_event(
    tenant: Tenant, event: str, body: object, services: "Services", *, traceparent: str
) -> dict[str, str]:
    """Queue the job of a profile event, and return the answer. `event` is the header X-Omneo-Event.

    Of the body nothing is kept but that a consent stamp lies ahead now, the newest stamp of an opt-in, and the time of an opt-out that our
    own write may have replaced in Omneo: nothing else shows them any more.

    A call that needs no job is accepted too: Omneo would send a refused call again.

    Raises:
        InvalidPayloadError: the event or the profile is not named.
        StoreUnavailableError, QueueUnavailableError: nothing was queued; Omneo should call again.
    """
    if not event:
        raise InvalidPayloadError("Name the event in X-Omneo-Event, as in profile.updated.")
    if tenant.klaviyo is None:
        return _ignored("not installed")
    queue, clock = services.queue, services.clock
    if event in (CREATED, UPDATED):
        profile_id = profile_id_of_event(body)
        _note_consents(tenant, profile_id, body, services)
        job = sync_soon(tenant, profile_id, queue=queue, clock=clock, traceparent=traceparent)
        return {"status": "queued", "id": job.id}
    if event == DELETED:
        return {"status": "queued", "id": _delete(tenant, body, queue, clock(), traceparent).id}
    return _ignored("another event")


def _note_consents(tenant: Tenant, profile_id: str, body: object, services: "Services") -> None:
    comms = comms_of(body) if isinstance(body, Mapping) else None
    if not comms:
        return
    notes = StampsAhead.of(services)
    if ahead := notes.ahead_in(comms):
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(services.tenants, tenant.name)
        notes.note(tenant, profile_id, ahead)
    decided = {channel for channel in Channel if direction_in(comms, channel)} - {*ahead}
    if decided:

        def told(memories: Memories) -> Memories:
            return {
                channel: with_opt_in_told(with_opt_out_told(memories[channel], comms), comms)
                for channel in decided
            }

        store = ConsentMemories.of(services)
        before = store.find(tenant.name, profile_id)
        if before != (after := {**before, **told(before)}):
            note_decisions(before, after, comms, profile_id=profile_id, tenant=tenant, services=services)
            store.change(tenant.name, profile_id, told)


def accept_upsert(
    tenant: Tenant, body: object, *, queue: "TaskQueue", clock: Clock, traceparent: str
) -> SyncProfile:
    """Queue a sync of the profile that the body names, and return the job, once it is safe. Raises as above."""
    return sync_soon(tenant, profile_id_of_target(body), queue=queue, clock=clock, traceparent=traceparent)


def sync_soon(
    tenant: Tenant,
    profile_id: str,
    *,
    queue: "TaskQueue",
    clock: Clock,
    traceparent: str = "",
    leaves_undated: bool = False,
    may_wait: bool = True,
) -> SyncProfile:
    """Queue the sync of the window that it is now; of a window that may be over, the sync may have been.

    One that leaves opt-ins without a date (`leaves_undated`) never takes the place of one that does not, nor does one that may wait behind
    others take the place of one that may not.
    """
    kind = ("sync-dated" if leaves_undated else "sync") if may_wait else "sync-at-once"
    window = Window.at(clock())
    while True:
        now = clock()
        job = SyncProfile(
            tenant=tenant.name,
            # One id for all syncs of a profile: given up several times over, they are one dead job.
            id=sync_id(tenant.name, profile_id),
            accepted_at=now,
            profile_id=profile_id,
            until=window.end,
            leaves_undated=leaves_undated,
            may_wait=may_wait,
            traceparent=traceparent,
        )
        name = window.task_name(kind, tenant.name, profile_id)
        delay = max(0.0, (window.due - now).total_seconds())
        if queue.put_named(job, tenant, name=name, delay=delay) or not window.may_be_over(clock()):
            logs.note(job=job.id, kind=job.kind)
            return job
        window = window.next


def sync_id(tenant: str, profile_id: str) -> str:
    """Return the id of every sync of the profile."""
    return hashed("sync", tenant, profile_id)[:32]


def deletion_id(tenant: str, profile_id: str) -> str:
    """Return the id of every deletion of the profile."""
    return hashed("delete", tenant, profile_id)[:32]


def _delete(
    tenant: Tenant, body: object, queue: "TaskQueue", now: datetime, traceparent: str
) -> DeleteProfile:
    profile_id = profile_id_of_event(body)
    klaviyo_id = stored_klaviyo_id(body, tenant.settings.identity_handle) if isinstance(body, dict) else ""
    job = DeleteProfile(
        tenant=tenant.name,
        id=deletion_id(tenant.name, profile_id),
        accepted_at=now,
        profile_id=profile_id,
        klaviyo_id=klaviyo_id,
        traceparent=traceparent,
    )
    queue.put(job, tenant)
    logs.note(job=job.id, kind=job.kind)
    return job


def _ignored(reason: str) -> dict[str, str]:
    logs.write(logging.INFO, "webhook ignored", reason=reason)
    return IGNORED
