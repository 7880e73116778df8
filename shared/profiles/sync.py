"""The profile sync from Omneo to Klaviyo: read the newest profile, send it, ask for consent where the rule says so, and write the Klaviyo
id back as an identity.

What goes where is decided in `rules/sync_plan.py` and `consent/rules/plan.py`, of which `explain` asks the same questions.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from shared import logs
from shared.consent.inbox import Inbox
from shared.consent.rules.decisions import is_stamped, read_stamp, row_of, stamp_name
from shared.consent.rules.plan import ConsentRules, Step, Subject, Told, consent_steps
from shared.consent.rules.to_klaviyo import Outcome
from shared.consent_events import Channel, Consent
from shared.errors import CannotSucceedError, NotFoundError, RefusedError, WaitError
from shared.jobs.jobs import SyncProfile
from shared.json_logic.exclude_logic import ExcludeLogicError
from shared.profiles.consent_calls import ConsentCalls
from shared.profiles.klaviyo_import import Imported, import_profile
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.omneo_paths import at_path
from shared.profiles.rules.phones import region_of
from shared.profiles.rules.sync_plan import Absence, SyncPlan, SyncRules, comms_of, plan_sync
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.services import Services
from shared.tenants.tenants import Tenant

TURN = timedelta(minutes=5)  # as long as a worker may run
_SECONDS = 3.0
_IDENTIFIERS = {Channel.EMAIL: "email", Channel.SMS: "phone_number"}

Json = Any


def sync_profile(job: SyncProfile, tenant: Tenant, services: Services) -> None:
    """Make the Klaviyo profile what the Omneo profile is now. Repeating this is harmless.

    Raises:
        CannotSucceedError, RefusedError: some of it can never be done; what can be was.
        ServiceError, DisconnectedError: a service is missing; do all of it again.
    """
    with turn_at(job.profile_id, tenant, services):
        synced = SyncedProfiles.of(services).find(tenant.name, job.profile_id)
        if synced.read_at is not None and synced.read_at >= job.until:
            logs.write(logging.INFO, "profile was synced since", reason="superseded")
            return
        read_at = services.clock()
        profile = services.omneo(tenant).profile_fields(job.profile_id)
        plan = planned(profile, tenant, synced)
        if isinstance(plan, SyncPlan):
            _Sync(job, tenant, profile or {}, plan, synced, read_at, services).run()
        else:
            logs.write(logging.INFO, "profile not synced", reason=plan.value)


@contextmanager
def turn_at(profile_id: str, tenant: Tenant, services: Services) -> Iterator[None]:
    """Hold the profile's turn: two at once could let the older state be the last.

    Raises:
        WaitError: somebody else has it.
    """
    turn = services.leases.acquire(f"sync {tenant.name} {profile_id}", lasting=TURN)
    if turn is None:
        raise WaitError("another sync is at the profile", service="The extension", retry_after=_SECONDS)
    try:
        yield
    finally:
        services.leases.release(turn)


def planned(
    profile: Mapping[str, Json] | None, tenant: Tenant, synced: SyncedProfile
) -> SyncPlan | Exclusion | Absence:
    """Return what would go to Klaviyo, or why nothing would: see `plan_sync`.

    Raises:
        CannotSucceedError: whether the profile is excluded cannot be told.
    """
    settings = tenant.settings
    country = tenant.klaviyo.account_country if tenant.klaviyo else ""
    rules = SyncRules(
        logic=settings.profile_exclude_logic,
        mappings=settings.mappings,
        region=region_of(settings.default_region, country),
        identity_handle=settings.identity_handle,
    )
    # What was filled in another account has not been filled in this one.
    filled = synced.filled if synced.account == tenant.klaviyo_account_id else frozenset()
    try:
        return plan_sync(profile, rules, filled_before=filled, deleted_at=synced.deleted_at)
    except ExcludeLogicError as error:
        raise CannotSucceedError(f"{error} The profile was not synced.") from error


def consent_rules(tenant: Tenant) -> ConsentRules:
    """Return the tenant's settings about consent."""
    settings = tenant.settings
    unset = {
        Channel.EMAIL: settings.email_consent_unset.value,
        Channel.SMS: settings.sms_consent_unset.value,
    }
    return ConsentRules(unset, settings.sms_transactional)


def is_foreign_stamp(
    channel: Channel, comms: Mapping[str, Json], profile_id: str, tenant: Tenant, services: Services
) -> bool:
    """Return whether the stamp that Omneo holds is of a decision that did not come from Klaviyo."""
    stamp = read_stamp(comms.get(stamp_name(channel)))
    return not any(
        entry.at == stamp
        and row_of(entry.topic).channel is channel
        and entry.decision
        and is_stamped(entry.decision)
        for entry in Inbox.of(services).of_omneo(tenant.name, profile_id)
    )


def subjects_of(plan: SyncPlan, imported: Imported) -> dict[Channel, Subject]:
    """Return whose consent each channel is about: that of whoever has the address in Klaviyo, else the profile's own."""
    subjects = {}
    for channel, name in _IDENTIFIERS.items():
        owner = imported.owners.get(name)
        address = str(plan.mapped.attributes.get(name) or "")
        if owner is None and name in imported.left_out:
            address = ""
        profile = owner or imported.profile
        subjects[channel] = Subject(profile.id, address, profile.subscriptions)
    return subjects


def steps_of(
    profile_id: str,
    comms: Mapping[str, Json],
    subjects: Mapping[Channel, Subject],
    *,
    told: Mapping[Consent, Told],
    tenant: Tenant,
    services: Services,
) -> list[Step]:
    """Return what is to be done about each consent. `comms` is what Omneo holds, `told` what was asked of Klaviyo before."""
    return consent_steps(
        comms,
        subjects,
        rules=consent_rules(tenant),
        told=told,
        is_foreign=lambda channel: is_foreign_stamp(channel, comms, profile_id, tenant, services),
        now=services.clock(),
    )


@dataclass(frozen=True)
class _Sync:
    """One sync of one profile, which was read, under its turn."""

    job: SyncProfile
    tenant: Tenant
    profile: Mapping[str, Json]
    plan: SyncPlan
    before: SyncedProfile
    read_at: datetime
    services: Services

    def run(self) -> None:
        imported = import_profile(self.services.klaviyo(self.tenant), self.plan.mapped, self.plan.klaviyo_id)
        told = dict(self.before.told)

        def keep(said: Mapping[Consent, Told]) -> None:
            told.update(said)
            self._keep(imported, told, self.before.read_at)

        subjects = subjects_of(self.plan, imported)
        steps = self._steps(subjects)
        asked = [step for step in steps if not (self.job.leaves_undated and _is_undated(step))]
        calls = ConsentCalls(
            self.tenant,
            self.job.profile_id,
            subjects,
            self.before.told,
            self.services,
            keep,
            self.job.traceparent,
        )
        trouble = calls.make(asked)
        self._write_identity(imported.profile.id)
        # What was left is still to be asked for by a sync that takes it.
        self._keep(imported, told, self.read_at if asked == steps else self.before.read_at)
        self._log(imported, asked)
        if trouble is not None:
            raise trouble

    def _steps(self, subjects: Mapping[Channel, Subject]) -> list[Step]:
        comms = comms_of(self.profile)
        if comms is None:
            logs.write(logging.WARNING, "Omneo shows no consent, so none was asked for")
            return []
        return steps_of(
            self.job.profile_id,
            comms,
            subjects,
            told=self.before.told,
            tenant=self.tenant,
            services=self.services,
        )

    def _write_identity(self, klaviyo_id: str) -> None:
        """Give the Omneo profile the Klaviyo id as identity, unless it holds it already."""
        if klaviyo_id == self.plan.klaviyo_id:
            return
        handle = self.tenant.settings.identity_handle
        omneo, id = self.services.omneo(self.tenant), self.job.profile_id
        rows = self.profile.get("identities")
        is_known = not isinstance(rows, list) or isinstance(
            at_path(self.profile, f"identities.{handle}"), str
        )
        try:
            if is_known:
                try:
                    omneo.update_identity(id, handle=handle, identifier=klaviyo_id)
                except NotFoundError:
                    is_known = False
            if not is_known:
                omneo.create_identity(id, handle=handle, identifier=klaviyo_id)
        except NotFoundError:
            logs.write(logging.INFO, "identity not written, the profile has gone", reason="gone")
        except RefusedError as error:
            if error.status not in (409, 422):
                raise
            # Another Omneo profile holds it; a person has to decide whose the Klaviyo profile is.
            logs.write(logging.WARNING, "identity not written", reason="identity_of_another")

    def _keep(self, imported: Imported, told: Mapping[Consent, Told], read_at: datetime | None) -> None:
        filled = frozenset(
            name for name in self.plan.mapped.filled if name.partition(".")[0] not in imported.left_out
        )
        synced = SyncedProfile(
            account=self.tenant.klaviyo_account_id,
            klaviyo_id=imported.profile.id,
            filled=filled,
            told=told,
            read_at=read_at,
        )
        if synced != replace(self.before, deleted_at=None) or self.before.deleted_at is not None:
            SyncedProfiles.of(self.services).keep(self.tenant.name, self.job.profile_id, synced)

    def _log(self, imported: Imported, steps: list[Step]) -> None:
        left_out = Counter(note.reason.value for note in self.plan.mapped.notes)
        left_out.update(f"{name}_{reason}" for name, reason in imported.left_out.items())
        logs.write(
            logging.INFO,
            "profile synced",
            decisions={step.consent.value: f"{step.outcome}: {step.reason}" for step in steps},
            left_out=dict(left_out),
        )


def _is_undated(step: Step) -> bool:
    return step.outcome is Outcome.SUBSCRIBE and step.stamp is None
