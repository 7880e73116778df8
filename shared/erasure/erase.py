"""Erasing a person: the removal on our side, and the receipt that lists what was removed and what stays.

First the person is noted, so that workers drop jobs which are still queued. Then Klaviyo is asked, because our side still knows the ids.
Last, everything is removed under the person's turns, so that no sync and no flush writes at the same time. A repeat is harmless. After a
death halfway, the next call does the rest.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from shared import logs
from shared.consent.former_identities import FormerIdentities
from shared.consent.former_numbers import FormerNumbers
from shared.consent.heirs import hand_on_waiting
from shared.consent.inbox import Inbox
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories
from shared.consent.to_omneo import consent_turn
from shared.erasure.dead_jobs import erase_dead_jobs
from shared.erasure.parts import without
from shared.erasure.person import Person, find_person
from shared.errors import ConflictError, DisconnectedError, NotInstalledError, ServiceError, WaitError
from shared.jobs.jobs import AnyJob
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.profiles.sharing import KnownBy, other_tenant_of
from shared.profiles.synced import SyncedProfiles
from shared.profiles.turn import turn_at
from shared.profiles.waiting import Waiting
from shared.receipts import Receipts
from shared.resync.sync_imports import SyncImports
from shared.rewards.claims import RewardClaims
from shared.services import Services
from shared.tenants.cache import SECONDS
from shared.tenants.erasures import KEPT, Erasures
from shared.tenants.tenants import Tenant

STAYS = (
    "The consent ledger keeps its records for three years, each under a keyed hash and without a name: they prove what was consented to.",
    "A claim on a reward keeps the reward's number without the person, so that no call issues it twice. A call without an id that was never answered is"
    " remembered for a day.",
    "A keyed hash of each identifier stands for 31 days, so that work from before is not done. A hash of a deleted profile's id stands for 400 days, so"
    " that no run makes the profile again.",
    "The report of a run over the whole base may name the profile by its id until it expires.",
    "Records that wait in the outbox are sent to Klaviyo, and leave it within minutes.",
)
NOT_ASKED = "Klaviyo was not asked to delete the person: their profile stays there. Which one it is may not be known here any more, so delete it in Klaviyo."
NOBODY_TO_ASK_FOR = "No Klaviyo profile is known or found that is this person's alone, so Klaviyo was asked for nobody. If there is one, delete it in Klaviyo."
_DISCONNECTED = "The Klaviyo account is disconnected: install the app again, then erase."
# The note that somebody was erased stays so much longer than needed, so that it is written once a day at most.
_AHEAD = timedelta(days=1)
_CACHED = timedelta(seconds=SECONDS)


def erase(tenant: Tenant, named: str, services: Services, *, in_klaviyo: bool = False) -> dict[str, Any]:
    """Erase the person of an Omneo id or an email address, and return the receipt.

    `in_klaviyo` also asks Klaviyo to delete the person's profiles with all their data. The first erasure in a month waits some seconds,
    until every worker knows that somebody was erased.

    Raises:
        InvalidPayloadError: the text is no id and no address.
        ConflictError, NotInstalledError: Klaviyo cannot be asked, or Omneo would send the person there again, or another tenant on the
            account knows the person. A refusal of Klaviyo is known only after the note; nothing is removed before.
        WaitError: Omneo or Klaviyo cannot answer, or a sync works on the person; the caller should call again.
    """
    tenant = ensure_ledger_key(services.tenants, tenant.name)
    if in_klaviyo and tenant.klaviyo is None:
        raise NotInstalledError("There is no Klaviyo account to ask. Erase without klaviyo.")
    person = find_person(tenant, named, services)
    if in_klaviyo:
        _check_klaviyo_may_be_asked(person, tenant, services)
    at = services.clock()
    erasures = Erasures(services.documents, services.clock)
    erasures.note(tenant.name, person.marks(tenant), at)
    if not _is_known_to_all(tenant, services):
        services.sleep(SECONDS)
        # A worker that did not know of the erasure may have made the person again.
        later = find_person(tenant, named, services)
        person = replace(person, klaviyo_ids=tuple(sorted({*person.klaviyo_ids, *later.klaviyo_ids})))
        erasures.note(tenant.name, person.marks(tenant), at)
    asked = _ask_klaviyo(person, tenant, services) if in_klaviyo else 0
    removed = _remove(person, tenant, services)
    logs.write(logging.WARNING, "a person was erased", kind="erase", removed=removed)
    return {
        "status": "erased",
        "erased_at": at.isoformat(timespec="seconds"),
        "removed": removed,
        "asked_of_klaviyo": asked,
        "lives_in_omneo": person.lives,
        "stays": [*STAYS, *_stays_in_klaviyo(tenant, in_klaviyo=in_klaviyo, asked=asked)],
    }


def _check_klaviyo_may_be_asked(person: Person, tenant: Tenant, services: Services) -> None:
    if person.lives:
        raise ConflictError(
            "Omneo still has the profile, and would send it to Klaviyo again. Delete it in Omneo first."
        )
    if not person.was_sought:
        raise ConflictError(_DISCONNECTED)
    try:
        known_by = KnownBy(person.profile_id, person.emails, person.klaviyo_ids)
        other = other_tenant_of(known_by, tenant, services)
    except DisconnectedError:
        raise ConflictError(_DISCONNECTED) from None
    except WaitError:
        raise
    except ServiceError as error:
        raise ConflictError(
            f"Whether another tenant on the Klaviyo account knows the person cannot be looked up: {error}."
        ) from error
    if other:
        raise ConflictError(
            f"The tenant {other} is on the same Klaviyo account and knows the person too. Delete the person in its Omneo, erase them"
            " there without klaviyo, and then here."
        )


def _is_known_to_all(tenant: Tenant, services: Services) -> bool:
    """Note on the tenant that somebody was erased; return whether every worker's cached tenant shows it already."""
    before: datetime | None = None
    now = services.clock()

    def edit(stored: Tenant) -> Tenant:
        nonlocal before, now
        before, now = stored.erased_until, services.clock()
        if before is not None and before >= now + KEPT:
            return stored
        return stored.model_copy(update={"erased_until": now + KEPT + _AHEAD})

    services.tenants.change(tenant.name, edit)
    # A note that ends meanwhile, or that another erasure wrote a moment ago, does not reach every worker in time.
    return before is not None and now + _CACHED < before <= now + KEPT + _AHEAD - _CACHED


def _stays_in_klaviyo(tenant: Tenant, *, in_klaviyo: bool, asked: int) -> list[str]:
    if in_klaviyo:
        return [] if asked else [NOBODY_TO_ASK_FOR]
    return [] if tenant.klaviyo is None else [NOT_ASKED]


Remove: TypeAlias = Callable[[Person, Tenant, Services], int]


def _of_inbox(person: Person, tenant: Tenant, services: Services) -> int:
    for id in person.klaviyo_ids:  # what waits may be the opt-out of somebody who has the address by now
        hand_on_waiting(id, tenant, services)
    return sum(Inbox.of(services).forget_profile(tenant.name, id) for id in person.klaviyo_ids)


def _of_consent(person: Person, tenant: Tenant, services: Services) -> int:
    id, name = person.profile_id, tenant.name
    store = FormerIdentities.of(services)
    formers = store.forget_profile(name, id)
    formers += sum(store.forget_klaviyo_profile(name, klaviyo_id) for klaviyo_id in person.klaviyo_ids)
    numbers = FormerNumbers.of(services)
    formers += numbers.forget_profile(name, id)
    formers += sum(numbers.forget_klaviyo_profile(name, klaviyo_id) for klaviyo_id in person.klaviyo_ids)
    return ConsentMemories.of(services).forget_profile(name, id) + formers


def _of_synced(person: Person, tenant: Tenant, services: Services) -> int:
    store = SyncedProfiles.of(services)
    removed = store.forget_profile(tenant.name, person.profile_id)
    if not person.lives:  # a run that read the profile before must not make it again
        store.bury(tenant.name, person.profile_id, services.clock())
    return removed


def _of_waiting(person: Person, tenant: Tenant, services: Services) -> int:
    id, name = person.profile_id, tenant.name
    syncs = SyncBacklog.of(services).forget_profile(name, id)
    imports = SyncImports.of(services).forget_profile(name, id)
    return Waiting.of(services).forget_profile(name, id) + syncs + imports


def _of_rewards(person: Person, tenant: Tenant, services: Services) -> int:
    return RewardClaims.of(services).forget_person(tenant.name, person.profile_id)


def _of_backlog(person: Person, tenant: Tenant, services: Services) -> int:
    def is_theirs(job: AnyJob) -> bool:
        return without(job, lambda name, value, _since: person.is_called(name, value)) is None

    return Backlog.of(services).forget_those(tenant.name, is_theirs)


def _of_receipts(person: Person, tenant: Tenant, services: Services) -> int:
    receipts = Receipts.of(services)
    return sum(receipts.forget_person(tenant, {name.value: value}) for name, value in person.identifiers())


# The removals, by the name under which the receipt counts them. Each store with data of a person has a row here.
_BY_PROFILE: Mapping[str, Remove] = {
    "consent": _of_consent,
    "synced": _of_synced,
    "waiting": _of_waiting,
    "rewards": _of_rewards,
}
_BY_PERSON: Mapping[str, Remove] = {
    "inbox": _of_inbox,
    "dead_jobs": erase_dead_jobs,
    "backlog": _of_backlog,
    "receipts": _of_receipts,
}


def _remove(person: Person, tenant: Tenant, services: Services) -> dict[str, int]:
    with ExitStack() as turns:
        if person.profile_id:
            turns.enter_context(turn_at(person.profile_id, tenant, services))
            turns.enter_context(consent_turn(person.profile_id, tenant, services))
        removed = {name: remove(person, tenant, services) for name, remove in _BY_PERSON.items()}
        for name, remove in _BY_PROFILE.items():
            removed[name] = remove(person, tenant, services) if person.profile_id else 0
    return removed


def _ask_klaviyo(person: Person, tenant: Tenant, services: Services) -> int:
    try:
        for id in person.klaviyo_ids:
            services.klaviyo(tenant).request_deletion(id)
    except DisconnectedError:
        raise ConflictError(_DISCONNECTED) from None
    except WaitError:
        raise
    except ServiceError as error:
        raise ConflictError(f"Klaviyo does not delete the person: {error}.") from error
    return len(person.klaviyo_ids)
