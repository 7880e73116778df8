"""An Omneo profile was deleted: its Klaviyo profile is suppressed, erased or left alone, as the tenant's settings say.

The webhook of a deletion may come late. So Omneo is asked first whether the profile exists again, and then whether another profile has its
address. If other tenants use the Klaviyo account, as production and its staging twin may, they are asked whether they know the person. The
deletion is remembered before any call to Klaviyo, so that a late sync does not make the profile again.
"""

import logging
from datetime import timedelta

from shared import logs
from shared.consent.asking import AskedConsent, Asking
from shared.consent.ledger import ConsentRecord
from shared.consent.memories import ConsentMemories
from shared.consent.rules.calls import is_being_carried_out
from shared.consent.rules.memory import LANDING
from shared.consent.to_omneo import record_decisions
from shared.consent_events import Consent
from shared.errors import WaitError
from shared.jobs.jobs import DeleteProfile
from shared.klaviyo.consent_jobs import Person
from shared.klaviyo.profiles import KlaviyoProfile
from shared.matching import other_holder
from shared.profiles.calls import sync_soon
from shared.profiles.sharing import KnownBy, other_tenant_of
from shared.profiles.synced import SyncedProfiles
from shared.profiles.turn import turn_at
from shared.services import Services
from shared.tenants.settings import OnProfileDeleted
from shared.tenants.tenants import Tenant, is_staging

# For so long after a deletion Omneo may still show the profile.
OMNEO_LAGS = timedelta(seconds=10)


def delete_profile(job: DeleteProfile, tenant: Tenant, services: Services) -> None:
    """Suppress, erase or keep the Klaviyo profile, as the settings say. A repeat is harmless.

    Raises:
        WaitError: Omneo still shows the profile, perhaps because it is late; or a sync works on the profile.
        ServiceError, DisconnectedError: Klaviyo or Omneo refused, or could not answer.
    """
    with turn_at(job.profile_id, tenant, services):
        if _lives(job, tenant, services):
            _leave_alone("lives")
            SyncedProfiles.of(services).unbury(tenant.name, job.profile_id)
            _sync(job.profile_id, tenant, services)
            return
        SyncedProfiles.of(services).bury(tenant.name, job.profile_id, job.accepted_at)
        if tenant.settings.on_profile_deleted is OnProfileDeleted.IGNORE:
            _leave_alone("ignore")
            return
        found = _found(job, tenant, services)
        if not found:
            _leave_alone("not_in_klaviyo")
            return
        first, *others = found
        _let_go(first, job, tenant, services)
        for one in others:
            # A separate job: Klaviyo may accept one such call a second.
            other = DeleteProfile(
                tenant=tenant.name,
                id=job.id,
                accepted_at=job.accepted_at,
                profile_id=job.profile_id,
                klaviyo_id=one.id,
                traceparent=job.traceparent,
            )
            services.queue.put(other, tenant)


def _let_go(found: KlaviyoProfile, job: DeleteProfile, tenant: Tenant, services: Services) -> None:
    """Do what the settings say with a Klaviyo profile that belongs only to the deleted person."""
    if reason := _why_not(found, job, tenant, services):
        _leave_alone(reason)
    elif other := _other_tenant(found, job, tenant, services):
        _leave_alone(f"known_to_tenant {other}")
    elif tenant.settings.on_profile_deleted is OnProfileDeleted.ERASE:
        _wait_for_opt_ins(job, tenant, services)
        services.klaviyo(tenant).request_deletion(found.id)
        logs.write(logging.INFO, "profile erased in Klaviyo")
    else:
        _Suppression(job, tenant, found, services).run()
        _wait_for_opt_ins(job, tenant, services)  # one that lands lifts the suppression: it is done again


def _lives(job: DeleteProfile, tenant: Tenant, services: Services) -> bool:
    profile = services.omneo(tenant).profile(job.profile_id)
    if profile is None or not profile.lives:
        return False
    lag = OMNEO_LAGS - (services.clock() - job.accepted_at)
    if lag > timedelta():
        raise WaitError("Omneo still shows the profile", service="Omneo", retry_after=lag.total_seconds())
    return True


def _wait_for_opt_ins(job: DeleteProfile, tenant: Tenant, services: Services) -> None:
    memories = ConsentMemories.of(services).find(tenant.name, job.profile_id)
    if any(is_being_carried_out(memory, services.clock(), "in") for memory in memories.values()):
        seconds = LANDING.total_seconds()
        raise WaitError(
            "an opt-in of the deleted profile is being carried out", service="Klaviyo", retry_after=seconds
        )


def _leave_alone(reason: str) -> None:
    logs.write(logging.INFO, "deleted profile left alone in Klaviyo", reason=reason)


def _sync(profile_id: str, tenant: Tenant, services: Services) -> None:
    sync_soon(tenant, profile_id, queue=services.queue, clock=services.clock)


def _found(job: DeleteProfile, tenant: Tenant, services: Services) -> list[KlaviyoProfile]:
    """Return the Klaviyo profiles: by the identity that the deleted profile held, and by external_id; without both the one that was
    synced last.

    They are two where a profile was merged into the deleted one, and no sync has come since. A second tenant on the account, who knows
    the person too, writes its own external_id.
    """
    klaviyo = services.klaviyo(tenant)
    found = klaviyo.profile(job.klaviyo_id) if job.klaviyo_id else None
    if found is not None and found.external_id.casefold() == job.profile_id.casefold():
        return [found]
    named = klaviyo.find_profile_by_external_id(job.profile_id)
    if found is not None or named is not None:
        return [*{one.id: one for one in (found, named) if one is not None}.values()]
    synced = SyncedProfiles.of(services).find(tenant.name, job.profile_id)
    is_here = synced.account == tenant.klaviyo_account_id and synced.klaviyo_id not in ("", job.klaviyo_id)
    last = klaviyo.profile(synced.klaviyo_id) if is_here else None
    return [last] if last is not None else []


def _why_not(found: KlaviyoProfile, job: DeleteProfile, tenant: Tenant, services: Services) -> str:
    """Return why the Klaviyo profile is not touched, "" if it is. The profile that has its address is synced, and takes it over."""
    omneo, handle = services.omneo(tenant), tenant.settings.identity_handle
    # Merged in Omneo, the identity lives on with the profile that was kept.
    holder = other_holder(found, "", handle=handle, omneo=omneo)
    if holder is not None and holder.id.casefold() != job.profile_id.casefold():
        _sync(holder.id, tenant, services)
        return "of_another"
    heir = omneo.find_profile_by_email(found.email) if found.email else None
    if heir is None or not heir.lives or heir.id.casefold() == job.profile_id.casefold():
        return ""
    _sync(heir.id, tenant, services)
    return "address_of_another"


def _other_tenant(found: KlaviyoProfile, job: DeleteProfile, tenant: Tenant, services: Services) -> str:
    """Return another tenant that still has the person as a customer.

    For a production tenant, a copy in a staging twin does not count.
    """
    known_by = KnownBy(job.profile_id, (found.email,) if found.email else (), (found.id,))
    return other_tenant_of(
        known_by, tenant, services, counts=lambda name: is_staging(tenant.name) or not is_staging(name)
    )


class _Suppression:
    """Nothing is sent to the profile any more: its email is suppressed, and its phone number unsubscribed."""

    def __init__(self, job: DeleteProfile, tenant: Tenant, found: KlaviyoProfile, services: Services) -> None:
        self._job = job
        self._tenant = tenant
        self._found = found
        self._services = services

    def run(self) -> None:
        klaviyo = self._services.klaviyo(self._tenant)
        if self._found.email:
            self._note(Consent.EMAIL, suppresses=True)
            klaviyo.suppress(self._found.email)
        consents = self._given_by_phone()
        if self._found.phone_number and consents:
            self._note(Consent.SMS)
            klaviyo.unsubscribe(Person(self._found.id, phone_number=self._found.phone_number), consents)
        logs.write(logging.INFO, "profile suppressed in Klaviyo")

    def _given_by_phone(self) -> list[Consent]:
        sms = self._found.subscriptions.get("sms") or {}
        kinds = (("marketing", Consent.SMS), ("transactional", Consent.SMS_TRANSACTIONAL))
        return [consent for kind, consent in kinds if (sms.get(kind) or {}).get("consent") == "SUBSCRIBED"]

    def _note(self, consent: Consent, *, suppresses: bool = False) -> None:
        """Remember the call: its event must not become an opt-out of the next owner of the address; and note it in the ledger."""
        channel, at = consent.channel, self._job.accepted_at
        asked = AskedConsent(self._job.profile_id, self._found.id, consent, "out", at, suppresses=suppresses)
        Asking(self._tenant, self._services).begin(asked)
        marketing = (self._found.subscriptions.get(channel.value) or {}).get("marketing") or {}
        record = ConsentRecord(
            at=self._job.accepted_at,
            channel=channel,
            before="subscribed" if marketing.get("consent") == "SUBSCRIBED" else "unsubscribed",
            after="unsubscribed",
            source="omneo:profile.deleted",
            event_id=self._job.accepted_at.isoformat(),
        )
        record_decisions([record], self._job.profile_id, self._tenant, self._services)
