"""The look: some minutes after a consent call, both sides are compared, and a difference is mended.

Klaviyo carries a call out later. If a person decides something between the call and its landing, the call may undo that decision, and no
webhook says so. For many profiles, Klaviyo is read first, a hundred in one call; then only the profiles that need it are compared from both
sides.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from shared import logs
from shared.consent.looks import look_at
from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.held import Subject, is_opted_out, with_klaviyo
from shared.consent.rules.memory import LANDING, Memory
from shared.consent.rules.results import last_word
from shared.consent_events import Channel
from shared.errors import CannotSucceedError
from shared.jobs.jobs import CompareConsent
from shared.klaviyo.profiles import KlaviyoProfile
from shared.matching import other_holder
from shared.profiles.consent_calls import ConsentCalls, Trouble, compared
from shared.profiles.planning import planned
from shared.profiles.rules.sync_plan import SyncPlan, comms_of
from shared.profiles.sharing import production_knowing
from shared.profiles.subjects import subject_of
from shared.profiles.synced import SyncedProfiles
from shared.profiles.turn import turn_at
from shared.services import Services
from shared.tenants.tenants import Tenant


def compare_consent(job: CompareConsent, tenant: Tenant, services: Services) -> None:
    """Compare both sides of the profiles' consents, and mend them. Repeating this is harmless.

    Raises:
        CannotSucceedError, RefusedError: a part can never be done; the other parts were done.
        ServiceError, DisconnectedError: a service is missing; do all of it again.
    """
    if tenant.klaviyo is None:
        return
    if len(job.profile_ids) == 1:
        with turn_at(job.profile_ids[0], tenant, services):
            _look(job, tenant, services)
        return
    for profile_id in _undone(job.profile_ids, tenant, services):
        look_at(tenant, profile_id, services.clock(), services, traceparent=job.traceparent)


def _look(job: CompareConsent, tenant: Tenant, services: Services) -> None:
    (profile_id,) = job.profile_ids
    read_at = services.clock()
    profile = services.omneo(tenant).profile_fields(profile_id)
    comms = None if profile is None else comms_of(profile)
    if profile is None or comms is None:
        logs.write(logging.INFO, "consents not compared", reason="gone" if profile is None else "not_shown")
        return
    attributes = _attributes(profile, profile_id, tenant, services)
    trouble: Trouble | None = None
    decisions: dict[str, str] = {}
    for klaviyo_id in _klaviyo_ids(ConsentMemories.of(services).find(tenant.name, profile_id)):
        found = services.klaviyo(tenant).profile(klaviyo_id)
        if found is None or _is_anothers(found, klaviyo_id, profile_id, tenant, services):
            continue
        # Keep the id of the question: Klaviyo may answer with the profile into which that one was merged.
        asked = replace(found, id=klaviyo_id)
        subjects = {channel: subject_of(asked, channel, attributes) for channel in Channel}
        _, steps = compared(profile_id, comms, subjects, read_at=read_at, tenant=tenant, services=services)
        calls = ConsentCalls(tenant, profile_id, subjects, comms, read_at, services, job.traceparent)
        trouble = calls.make(steps) or trouble
        decisions |= {step.consent.value: f"{step.outcome}: {step.reason}" for step in steps}
    _look_again(job, tenant, services)
    logs.write(logging.INFO, "consents compared", decisions=decisions)
    if trouble is not None:
        raise trouble


def _is_anothers(
    found: KlaviyoProfile, klaviyo_id: str, profile_id: str, tenant: Tenant, services: Services
) -> bool:
    """Return whether a merchant has merged the profile of this id into another living person's, or a customer's of production."""
    if found.id == klaviyo_id:
        return False
    handle, omneo = tenant.settings.identity_handle, services.omneo(tenant)
    is_here = other_holder(found, profile_id, handle=handle, omneo=omneo) is not None
    return is_here or bool(production_knowing(found, tenant, services))


def _look_again(job: CompareConsent, tenant: Tenant, services: Services) -> None:
    """Queue a second look if a call has not landed yet; a call that was just made has its own look."""
    now = services.clock()
    memories = ConsentMemories.of(services).find(tenant.name, job.profile_ids[0])
    is_open = any(
        call.is_under_way(now) and now >= call.last_at + LANDING
        for memory in memories.values()
        for call in memory.calls
    )
    if is_open and not job.again:
        moment = now + LANDING
        look_at(tenant, job.profile_ids[0], moment, services, again=True, traceparent=job.traceparent)


def _attributes(
    profile: Mapping[str, Any], profile_id: str, tenant: Tenant, services: Services
) -> Mapping[str, Any]:
    """Return the attributes that a sync would send; none for an excluded profile, for which a sync sends only opt-outs."""
    try:
        plan = planned(profile, tenant, SyncedProfiles.of(services).find(tenant.name, profile_id))
    except CannotSucceedError:
        return {}
    return plan.mapped.attributes if isinstance(plan, SyncPlan) else {}


def _klaviyo_ids(memories: Memories) -> list[str]:
    """Return the Klaviyo profiles of our calls and of the events, the newest first."""
    told = [(call.last_at, call.profile) for memory in memories.values() for call in memory.calls]
    told += [(event.at, event.profile) for memory in memories.values() for event in memory.events]
    return list(dict.fromkeys(profile for _, profile in sorted(told, reverse=True) if profile))[:3]


def _undone(profile_ids: Iterable[str], tenant: Tenant, services: Services) -> Iterator[str]:
    """Yield the profiles whose consent in Klaviyo differs from the last known decision; note the landings of all others."""
    store, now = ConsentMemories.of(services), services.clock()
    memories = {id: store.find(tenant.name, id) for id in profile_ids}
    asked = {id: found[0] for id, known in memories.items() if (found := _klaviyo_ids(known))}
    if not asked:
        return
    held = {one.id: one for one in services.klaviyo(tenant).profiles_by("id", asked.values())}
    for id, klaviyo_id in asked.items():
        profile = held.get(klaviyo_id)
        if profile is None:
            continue
        subjects = {
            Channel.EMAIL: Subject(profile.id, profile.email, profile.subscriptions),
            Channel.SMS: Subject(profile.id, profile.phone_number, profile.subscriptions),
        }
        if any(_is_undone(memories[id][channel], subjects[channel], now) for channel in Channel):
            yield id
        else:
            store.change(tenant.name, id, partial(_with_landings, subjects=subjects, now=now))


def _with_landings(memories: Memories, *, subjects: Mapping[Channel, Subject], now: datetime) -> Memories:
    return {channel: with_klaviyo(memory, subjects[channel], now) for channel, memory in memories.items()}


def _is_undone(memory: Memory, subject: Subject, now: datetime) -> bool:
    word = last_word(memory)
    if word is None or not memory.calls:
        return False
    return is_opted_out(subject, memory.channel, now) is not (word.direction == "out")
