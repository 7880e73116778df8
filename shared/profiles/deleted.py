"""An Omneo profile was deleted: its Klaviyo profile is suppressed, erased or left alone, as the tenant's settings say.

First the deletion is remembered, so that a sync which comes late does not make the profile again.
"""

import logging

from shared import logs
from shared.consent.echo_notes import EchoNotes
from shared.consent.ledger import ConsentLedger, ConsentRecord, ensure_ledger_key
from shared.consent_events import Channel, Consent
from shared.jobs.jobs import DeleteProfile
from shared.klaviyo.consent_jobs import Person
from shared.klaviyo.profiles import KlaviyoProfile
from shared.profiles.sync import turn_at
from shared.profiles.synced import SyncedProfiles
from shared.services import Services
from shared.tenants.settings import OnProfileDeleted
from shared.tenants.tenants import Tenant


def delete_profile(job: DeleteProfile, tenant: Tenant, services: Services) -> None:
    """Do with the Klaviyo profile what the settings say. Repeating this is harmless.

    Raises:
        ServiceError, DisconnectedError: what Klaviyo or Omneo answered.
    """
    setting = tenant.settings.on_profile_deleted
    with turn_at(job.profile_id, tenant, services):
        SyncedProfiles.of(services).bury(tenant.name, job.profile_id, job.accepted_at)
        if setting is OnProfileDeleted.IGNORE:
            logs.write(logging.INFO, "deleted profile left alone in Klaviyo", reason="ignore")
            return
        found = _found(job, tenant, services)
        if reason := _why_not(found, job, tenant, services):
            logs.write(logging.INFO, "deleted profile left alone in Klaviyo", reason=reason)
        elif found is not None and setting is OnProfileDeleted.ERASE:
            services.klaviyo(tenant).request_deletion(found.id)
            logs.write(logging.INFO, "profile erased in Klaviyo")
        elif found is not None:
            _Suppression(job, tenant, found, services).run()


def _found(job: DeleteProfile, tenant: Tenant, services: Services) -> KlaviyoProfile | None:
    """Return the Klaviyo profile: by the identity that the deleted one held, else by external_id."""
    klaviyo = services.klaviyo(tenant)
    if job.klaviyo_id and (found := klaviyo.profile(job.klaviyo_id)):
        return found
    return klaviyo.find_profile_by_external_id(job.profile_id)


def _why_not(found: KlaviyoProfile | None, job: DeleteProfile, tenant: Tenant, services: Services) -> str:
    """Return why the Klaviyo profile is not touched, "" if it is."""
    if found is None:
        return "not_in_klaviyo"
    if found.external_id and found.external_id.casefold() != job.profile_id.casefold():
        return "of_another"
    # Merged in Omneo, the identity lives on with the profile that was kept.
    holder = services.omneo(tenant).find_profile_by_identity(
        identifier=found.id, handle=tenant.settings.identity_handle
    )
    if holder is not None and holder.id.casefold() != job.profile_id.casefold():
        return "identity_of_another"
    return ""


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
            self._note(Channel.EMAIL)
            klaviyo.suppress(self._found.email)
        consents = self._given_by_phone()
        if self._found.phone_number and consents:
            self._note(Channel.SMS)
            klaviyo.unsubscribe(Person(self._found.id, phone_number=self._found.phone_number), consents)
        logs.write(logging.INFO, "profile suppressed in Klaviyo")

    def _given_by_phone(self) -> list[Consent]:
        sms = self._found.subscriptions.get("sms") or {}
        kinds = (("marketing", Consent.SMS), ("transactional", Consent.SMS_TRANSACTIONAL))
        return [consent for kind, consent in kinds if (sms.get(kind) or {}).get("consent") == "SUBSCRIBED"]

    def _note(self, channel: Channel) -> None:
        """Note the call for its echo, which must not become the opt-out of whoever has the address next; and for the ledger."""
        EchoNotes.of(self._services).note(self._tenant.name, self._found.id, channel, "out")
        marketing = (self._found.subscriptions.get(channel.value) or {}).get("marketing") or {}
        record = ConsentRecord(
            at=self._job.accepted_at,
            channel=channel,
            before="subscribed" if marketing.get("consent") == "SUBSCRIBED" else "unsubscribed",
            after="unsubscribed",
            source="omneo:profile.deleted",
            event_id=self._job.accepted_at.isoformat(),
        )
        tenant = self._tenant
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(self._services.tenants, tenant.name)
        ConsentLedger.of(self._services).record(tenant, self._job.profile_id, record)
