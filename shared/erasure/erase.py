"""Erasing a person: what is removed on our side, and the receipt that says what was and what stays.

First it is noted who, so that work which is still queued is dropped; then everything is removed under the person's turns, so that no sync
and no flush writes beside it. Repeating it is harmless, and so is a death halfway: the next call removes the rest.
"""

import logging
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, TypeAlias

from shared import logs
from shared.consent.former_identities import FormerIdentities
from shared.consent.inbox import Inbox
from shared.consent.ledger import ensure_ledger_key
from shared.consent.memories import ConsentMemories
from shared.consent.to_omneo import consent_turn
from shared.erasure.dead_jobs import erase_dead_jobs
from shared.erasure.person import Person, find_person
from shared.errors import ConflictError, DisconnectedError, NotInstalledError, ServiceError, WaitError
from shared.profiles.sync import turn_at
from shared.profiles.synced import SyncedProfiles
from shared.profiles.waiting import Waiting
from shared.receipts import Receipts
from shared.rewards.claims import RewardClaims
from shared.services import Services
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


def erase(tenant: Tenant, named: str, services: Services, *, in_klaviyo: bool = False) -> dict[str, Any]:
    """Erase the person whom an Omneo id or an email address names, and return the receipt.

    `in_klaviyo` also asks Klaviyo to delete the person's profiles and all that is known of them there.

    Raises:
        InvalidPayloadError: it names nobody.
        ConflictError, NotInstalledError: Klaviyo is to be asked, and cannot be, or Omneo would send the person there again.
        WaitError: Omneo, Klaviyo, or a sync that is at the person; call again.
    """
    if in_klaviyo and tenant.klaviyo is None:
        raise NotInstalledError("There is no Klaviyo account to ask. Erase without klaviyo.")
    tenant = ensure_ledger_key(services.tenants, tenant.name)
    person = find_person(tenant, named, services)
    if in_klaviyo and person.lives:
        raise ConflictError(
            "Omneo still has the profile, and would send it to Klaviyo again. Delete it in Omneo first."
        )
    at = services.clock()
    Erasures(services.documents, services.clock).note(tenant.name, person.marks(tenant), at)
    services.tenants.change(tenant.name, lambda now: now.model_copy(update={"erased_until": at + KEPT}))
    removed = _remove(person, tenant, services)
    asked = _ask_klaviyo(person, tenant, services) if in_klaviyo else 0
    logs.write(logging.WARNING, "a person was erased", kind="erase", removed=removed)
    return {
        "status": "erased",
        "erased_at": at.isoformat(timespec="seconds"),
        "removed": removed,
        "asked_of_klaviyo": asked,
        "lives_in_omneo": person.lives,
        "stays": list(STAYS),
    }


Remove: TypeAlias = Callable[[Person, Tenant, Services], int]


def _of_inbox(person: Person, tenant: Tenant, services: Services) -> int:
    return sum(Inbox.of(services).forget_profile(tenant.name, id) for id in person.klaviyo_ids)


def _of_consent(person: Person, tenant: Tenant, services: Services) -> int:
    id, name = person.profile_id, tenant.name
    formers = FormerIdentities.of(services).forget_profile(name, id)
    return ConsentMemories.of(services).forget_profile(name, id) + formers


def _of_synced(person: Person, tenant: Tenant, services: Services) -> int:
    store = SyncedProfiles.of(services)
    removed = store.forget_profile(tenant.name, person.profile_id)
    if not person.lives:  # a run that has read the profile before must not make it again
        store.bury(tenant.name, person.profile_id, services.clock())
    return removed


def _of_waiting(person: Person, tenant: Tenant, services: Services) -> int:
    return Waiting.of(services).forget_profile(tenant.name, person.profile_id)


def _of_rewards(person: Person, tenant: Tenant, services: Services) -> int:
    return RewardClaims.of(services).forget_person(tenant.name, person.profile_id)


def _of_receipts(person: Person, tenant: Tenant, services: Services) -> int:
    receipts = Receipts.of(services)
    return sum(receipts.forget_person(tenant, {name.value: value}) for name, value in person.identifiers())


# What is removed where, by the name under which the receipt counts it. A store that keeps something of a person has a row here.
_BY_PROFILE: Mapping[str, Remove] = {
    "consent": _of_consent,
    "synced": _of_synced,
    "waiting": _of_waiting,
    "rewards": _of_rewards,
}
_BY_PERSON: Mapping[str, Remove] = {
    "inbox": _of_inbox,
    "dead_jobs": erase_dead_jobs,
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
        raise ConflictError(
            "The Klaviyo account is disconnected: install the app again, then erase."
        ) from None
    except WaitError:
        raise
    except ServiceError as error:
        raise ConflictError(f"Klaviyo does not delete the person: {error}.") from error
    return len(person.klaviyo_ids)
