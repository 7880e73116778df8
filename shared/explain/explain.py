"""Explain: the effect of a sync of a profile now, with the reasons, without the sync itself.

It asks the same functions as the worker (`planned`, `foreseen`, `subjects_of`, `consent_steps`), which read and do not write. Nothing is
sent, written or queued. `deploy/tenants/explain.py` shows the answer as text.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from shared.consent.memories import ConsentMemories, Memories
from shared.consent.rules.calls import last_call
from shared.consent.rules.comparison import consent_steps
from shared.consent.rules.held import Subject
from shared.consent.rules.learning import with_stamps_ahead
from shared.consent.rules.step import Outcome
from shared.consent.stamps_ahead import StampsAhead
from shared.consent_events import Channel, Consent
from shared.errors import (
    CannotSucceedError,
    ConflictError,
    DisconnectedError,
    InvalidPayloadError,
    ProfileNotFoundError,
    ServiceError,
    WaitError,
)
from shared.explain.history import History
from shared.explain.rules import masking
from shared.explain.rules.consent_shown import klaviyo_consent, omneo_consent
from shared.explain.rules.plain_words import CONSENT, EXCLUDED, LEFT_OUT, MATCHED, OUTCOMES
from shared.json_logic.exclude_logic import ExcludeLogicError, trace
from shared.klaviyo.profiles import KlaviyoProfile
from shared.klaviyo.rules.attributes import fitted
from shared.profiles.consent_calls import consent_rules
from shared.profiles.former_owners import FormerOwners
from shared.profiles.klaviyo_import import Imported, foreseen
from shared.profiles.making_room import MakingRoom
from shared.profiles.ownership import Ownership
from shared.profiles.planning import former_owners_of, ownership_of, planned, profiles_of_excluded
from shared.profiles.rules.calls import profile_id_of_event
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.owners import FoundBy, decide
from shared.profiles.rules.sync_plan import Absence, SyncPlan, comms_of
from shared.profiles.subjects import subjects_of, subjects_of_excluded
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.services import Services
from shared.tenants.connection import INSTALL_AGAIN, check_connected
from shared.tenants.tenants import Tenant

_NOT_FOUND = "Omneo has no such profile."

Json = Any
Row = dict[str, Json]


def explain(tenant: Tenant, profile_id: str, services: Services, *, reveal: bool) -> Row:
    """Return the effect of a sync of the Omneo profile, as JSON values; times are ISO 8601 in UTC.

    Personal values are masked (`rules/masking.py`) unless `reveal`. `would_send` is the `data` of Klaviyo's create-or-update, None if
    nothing would be sent.

    Raises:
        ProfileNotFoundError: Omneo has no such profile.
        NotInstalledError, ConflictError: no Klaviyo account is connected.
        WaitError: Omneo or Klaviyo cannot answer now, or refuses our token.
    """
    check_connected(tenant)
    with for_a_person():
        id = _profile_id(profile_id)
        profile = services.omneo(tenant).profile_fields(id)
        if profile is None:
            raise ProfileNotFoundError(_NOT_FOUND)
        synced = SyncedProfiles.of(services).find(tenant.name, id)
        ownership = ownership_of(profile, id, tenant, services)
        return _Look(tenant, id, profile, synced, ownership, services, reveal).told()


def profile_id_of(tenant: Tenant, named: str, services: Services) -> str:
    """Return the id of the profile that an operator names, by its id or its email address. Raises as `explain`."""
    if "@" not in named:
        return _profile_id(named)
    with for_a_person():
        found = services.omneo(tenant).find_profile_by_email(named.strip())
    if found is None:
        raise ProfileNotFoundError("Omneo has no profile with this email address.")
    return found.id


def _profile_id(named: str) -> str:
    try:
        return profile_id_of_event({"id": named})
    except InvalidPayloadError:
        raise ProfileNotFoundError(_NOT_FOUND) from None


@contextmanager
def for_a_person() -> Iterator[None]:
    """Turn an error at which a worker would wait or give up into an error that tells a person what to do."""
    try:
        yield
    except DisconnectedError:
        raise ConflictError(INSTALL_AGAIN) from None
    except WaitError:
        raise
    except ServiceError as error:
        raise WaitError(str(error), service=error.service, status=error.status) from error


@dataclass(frozen=True)
class _Look:
    """Everything that is known of one profile. Each part is computed once."""

    tenant: Tenant
    id: str
    profile: Mapping[str, Json]
    synced: SyncedProfile
    ownership: Ownership
    services: Services
    reveal: bool

    def told(self) -> Row:
        would_send = self._would_send()
        return {
            "profile_id": self.id,
            "revealed": self.reveal,
            "matched": self._matched(),
            "synced_before": self._synced_before(),
            "excluded": self._excluded(),
            "would_send": would_send,
            "notes": [*self._notes()],
            "consent": [*self._consents()],
            **self._history().told(),
        }

    @cached_property
    def _plan(self) -> SyncPlan | Exclusion | Absence | None:
        """The profile that would go to Klaviyo, or the reason why none would; None if that cannot be told."""
        try:
            return planned(self.profile, self.tenant, self.synced)
        except CannotSucceedError:
            return None

    @cached_property
    def _imported(self) -> Imported | None:
        """The result that the import would have, None if there would be no import."""
        if not isinstance(self._plan, SyncPlan):
            return None
        mapped = self._plan.mapped
        room = MakingRoom(self.id, mapped.attributes, self.tenant, self.services)
        return foreseen(self.ownership, mapped, released=room.released, former_owners=self._former_owners)

    @cached_property
    def _former_owners(self) -> FormerOwners:
        return former_owners_of(self.profile, self.id, self.tenant, self.services)

    @cached_property
    def _excluded_profile(self) -> KlaviyoProfile | None:
        """The person whose opt-outs are applied although the profile is excluded."""
        if not isinstance(self._plan, Exclusion):
            return None
        found = profiles_of_excluded(self.ownership, self.tenant, self.synced, self.services)
        return found[0] if found else None

    @cached_property
    def _match(self) -> tuple[FoundBy, KlaviyoProfile | None]:
        if self._imported is not None and (verdict := self._imported.verdict) is not None:
            return verdict.found_by, self._imported.before
        email = fitted("email", self.profile.get("email"), "")
        verdict = decide(self.ownership.owners({"external_id": self.id, "email": email}))
        return verdict.found_by, self.ownership.profiles.get(verdict.klaviyo_id)

    def _matched(self) -> Row:
        by, found = self._match
        return {"by": by.value, "klaviyo_id": found.id if found else None, "why": MATCHED[by.value]}

    def _synced_before(self) -> Row | None:
        synced = self.synced
        if synced.read_at is None:
            return None
        return {
            "read_at": synced.read_at.isoformat(),
            "klaviyo_id": synced.klaviyo_id,
            "same_account": synced.account == self.tenant.klaviyo_account_id,
        }

    def _excluded(self) -> Row:
        reason = None
        if not isinstance(self._plan, SyncPlan):
            reason = self._plan.value if self._plan else "undecided"
        return {"reason": reason, "why": EXCLUDED[reason] if reason else None, "trace": self._trace()}

    def _trace(self) -> list[Row]:
        logic = self.tenant.settings.profile_exclude_logic
        if not logic or isinstance(self._plan, Absence):
            return []
        try:
            steps = trace(logic, self.profile)
        except ExcludeLogicError as error:
            return [{"path": "", "expression": None, "value": None, "error": str(error)}]
        shown = steps if self.reveal else map(masking.masked_step, steps)
        return [
            {"path": step.path, "expression": step.expression, "value": step.value, "error": step.error}
            for step in shown
        ]

    def _would_send(self) -> Row | None:
        if self._imported is None:
            return None
        resource = self._imported.sent
        return (
            {**resource} if self.reveal else masking.masked_resource(resource, self.tenant.settings.mappings)
        )

    def _notes(self) -> Iterator[Row]:
        if not isinstance(self._plan, SyncPlan) or self._imported is None:
            return
        for note in self._plan.mapped.notes:
            yield _note(note.name, note.reason.value)
        if self.ownership.stored_id and self._match[0] is not FoundBy.STORED_IDENTITY:
            yield _note("identity", "stale_identity")
        for name, reason in self._imported.left_out.items():
            yield _note(name, reason.value)
        if comms_of(self.profile) is None:
            yield _note("consent", "not_shown")

    def _consents(self) -> Iterator[Row]:
        comms = comms_of(self.profile)
        subjects = self._subjects()
        for consent, outcome, reason in self._steps(comms, subjects):
            subject = subjects[consent.channel]
            yield {
                "consent": consent.value,
                "address": subject.mailed if self.reveal else masking.masked(subject.mailed),
                "omneo": omneo_consent(comms or {}, consent.channel),
                "klaviyo": klaviyo_consent(subject, consent),
                "asked_before": self._asked_before(consent, subject),
                "outcome": outcome.value,
                "reason": reason,
                "why": f"{OUTCOMES[outcome]} {CONSENT[reason]}",
            }

    def _subjects(self) -> dict[Channel, Subject]:
        if isinstance(self._plan, SyncPlan) and self._imported is not None:
            return subjects_of(self._imported, self._plan.mapped.attributes)
        return subjects_of_excluded(self._excluded_profile or self._match[1] or KlaviyoProfile(id=""))

    def _steps(
        self, comms: Mapping[str, Json] | None, subjects: Mapping[Channel, Subject]
    ) -> list[tuple[Consent, Outcome, str]]:
        is_synced = self._imported is not None or self._excluded_profile is not None
        if not is_synced or comms is None:
            reason = "not_shown" if is_synced else "not_synced"
            return [(consent, Outcome.LEAVE, reason) for consent in (Consent.EMAIL, Consent.SMS)]
        now = self.services.clock()
        rules = consent_rules(self.tenant)
        ahead = StampsAhead.of(self.services).told(self.tenant, self.id, comms, self._memories)
        memories: Memories = with_stamps_ahead(self._memories, ahead)
        imported = self._imported
        if imported is not None and imported.was_anothers and imported.before is not None:
            number = str(imported.sent["attributes"].get("phone_number") or "")
            memories = self._former_owners.left(memories, imported.before, number)
        _, steps = consent_steps(memories, comms, subjects, rules=rules, read_at=now, now=now)
        return [(step.consent, step.outcome, step.reason.value) for step in steps]

    def _asked_before(self, consent: Consent, subject: Subject) -> Row | None:
        call = last_call(self._memories[consent.channel], consent, None, subject.klaviyo_id)
        return None if call is None else {"direction": call.direction, "at": call.last_at.isoformat()}

    @cached_property
    def _memories(self) -> Memories:
        return ConsentMemories.of(self.services).find(self.tenant.name, self.id)

    def _history(self) -> History:
        found = self._match[1]
        email = str(self.profile.get("email") or "")
        return History(self.tenant, self.id, found.id if found else "", email, self.services)


def _note(name: str, reason: str) -> Row:
    return {"name": name, "reason": reason, "why": LEFT_OUT[reason]}
