"""What a run over the whole base decides about Omneo's profiles: who is sent and as what, which consents are asked for, who is synced alone.

The same functions decide as in a live sync (`profiles/rules/sync_plan.py`, `consent/rules/plan.py`). Nothing is sent here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from shared.consent.rules.decisions import read_stamp
from shared.consent.rules.plan import Step, Subject, Told, Why, consent_steps
from shared.consent.rules.to_klaviyo import Outcome, Reason, decide
from shared.consent_events import Channel, Consent
from shared.errors import CannotSucceedError
from shared.profiles.rules.draft import MappedProfile
from shared.profiles.rules.sync_plan import SyncPlan, comms_of
from shared.profiles.sync import consent_rules, is_foreign_stamp, planned
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.resync.klaviyo_lookup import KnownProfiles, Wanted
from shared.resync.rules.packing import clears
from shared.resync.rules.run import Options, Undated
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile

_ADDRESSES: Mapping[Channel, Literal["email", "phone_number"]] = {
    Channel.EMAIL: "email",
    Channel.SMS: "phone_number",
}
NO_DATE = "no consent date"
# Both sides differ, and nothing is to be done about it.
_DIFFERENCES = (
    Reason.KLAVIYO_OPT_IN_NEWER,
    Reason.KLAVIYO_OPT_OUT_UNDATED,
    Reason.KLAVIYO_CONSENT_UNKNOWN,
    Why.ALREADY_ASKED,
)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A profile that is synced: as Omneo shows it, what goes to Klaviyo, and what is remembered of it."""

    row: Row
    id: str
    plan: SyncPlan
    synced: SyncedProfile

    @property
    def comms(self) -> Mapping[str, Any] | None:
        """Its consents in Omneo."""
        return comms_of(self.row)

    def attribute(self, name: str) -> str:
        """Return an attribute that goes to Klaviyo, "" if it does not."""
        return str(self.plan.mapped.attributes.get(name) or "")


@dataclass(frozen=True)
class NotSynced:
    """A profile that is not synced, and why."""

    id: str
    why: str


@dataclass(frozen=True)
class Asked:
    """A consent that is to be changed in Klaviyo. `at` is the date of an opt-in."""

    profile_id: str
    step: Step
    subject: Subject
    at: datetime | None = None


@dataclass
class Findings:
    """What some of Omneo's profiles come to. `told` is what is to be told of single profiles; it is counted from there."""

    asked: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    told: list[dict[str, str]] = field(default_factory=list)
    one_by_one: list[str] = field(default_factory=list)

    def tell(self, profile_id: str, what: str) -> None:
        """Tell it of the profile."""
        self.told.append({"profile": profile_id, "what": what})


@dataclass(frozen=True)
class Deciding:
    """Decides for one run."""

    options: Options
    tenant: Tenant
    services: Services

    def look_at(self, row: Row) -> Candidate | NotSynced:
        """Return the profile, with what is planned for it if it is synced."""
        id = str(row.get("id") or "")
        synced = SyncedProfiles.of(self.services).find(self.tenant.name, id)
        try:
            plan = planned(row, self.tenant, synced)
        except CannotSucceedError:
            return NotSynced(id, "failed: the exclude logic cannot be evaluated")
        if not isinstance(plan, SyncPlan):
            return NotSynced(id, f"excluded: {plan.value}")
        return Candidate(row, id, plan, synced)

    def wanted(self, candidate: Candidate) -> Wanted:
        """Return whom Klaviyo is to be asked about for the sake of the profile's consents."""
        return Wanted(
            candidate.plan.klaviyo_id,
            candidate.id,
            candidate.attribute("email"),
            candidate.attribute("phone_number") if self._speaks_of_sms(candidate.comms) else "",
        )

    def decide(
        self, profiles: Iterable[Candidate | NotSynced], known: KnownProfiles, read_at: datetime
    ) -> Findings:
        """Return what the profiles come to beside what Klaviyo holds. `read_at` is when Omneo was asked."""
        findings = Findings()
        for one in profiles:
            if isinstance(one, Candidate):
                self._profile(one, known, read_at, findings)
            elif one.why.startswith("failed"):
                findings.tell(one.id, one.why)
            else:
                findings.counts[one.why] += 1
        return findings

    def _speaks_of_sms(self, comms: Mapping[str, Any] | None) -> bool:
        if comms is None:
            return False
        unset = self.tenant.settings.sms_consent_unset.value
        said = decide("sms", comms, None, unset=unset, has_identifier=True, now=self.services.clock())
        return said.reason is not Reason.NO_OPINION or self.tenant.settings.sms_transactional

    def _profile(
        self, candidate: Candidate, known: KnownProfiles, read_at: datetime, findings: Findings
    ) -> None:
        mapped, wanted = candidate.plan.mapped, self.wanted(candidate)
        findings.counts.update(f"left out: {note.reason.value} {note.name}" for note in mapped.notes)
        if self.options.sends_profiles and (why := _why_alone(mapped, wanted, known)):
            findings.counts[f"synced one by one: {why}"] += 1
            findings.one_by_one.append(candidate.id)
        if candidate.comms is None:
            findings.counts["Omneo shows no consent"] += 1
        elif candidate.synced.read_at is not None and candidate.synced.read_at > read_at:
            findings.counts["synced meanwhile"] += 1
        else:
            self._consents(candidate, candidate.comms, wanted, known, findings)

    def _consents(
        self,
        candidate: Candidate,
        comms: Mapping[str, Any],
        wanted: Wanted,
        known: KnownProfiles,
        findings: Findings,
    ) -> None:
        owners = {channel: wanted.owner(name, known) for channel, name in _ADDRESSES.items()}
        subjects = {
            channel: _subject(owners[channel], candidate.attribute(name))
            for channel, name in _ADDRESSES.items()
        }
        for step in self._steps(comms, subjects, candidate.id, candidate.synced.told):
            channel = step.consent.channel
            subject = subjects[channel]
            if step.outcome is Outcome.UNSUBSCRIBE:
                # Klaviyo finds whom to unsubscribe by the address that it has.
                address = getattr(owners[channel], _ADDRESSES[channel], "")
                subject = replace(subject, address=address or subject.address)
            self._take(candidate, step, subject, findings)

    def _steps(
        self,
        comms: Mapping[str, Any],
        subjects: Mapping[Channel, Subject],
        profile_id: str,
        told: Mapping[Consent, Told],
    ) -> list[Step]:
        return consent_steps(
            comms,
            subjects,
            rules=consent_rules(self.tenant),
            told=told,
            is_foreign=lambda channel: is_foreign_stamp(
                channel, comms, profile_id, self.tenant, self.services
            ),
            now=self.services.clock(),
        )

    def _take(self, candidate: Candidate, step: Step, subject: Subject, findings: Findings) -> None:
        """Put a step on the list, if it is one of those that a run takes."""
        name = step.consent.value
        if step.outcome is Outcome.LEAVE:
            if step.reason in _DIFFERENCES:
                findings.tell(candidate.id, f"{name}: differs ({step.reason.value})")
            return
        at = step.stamp
        if step.outcome is Outcome.SUBSCRIBE and at is None:
            at = self._joined_at(candidate.row)
        if step.outcome is Outcome.SUBSCRIBE and at is None:
            findings.tell(candidate.id, f"{name}: {NO_DATE}")
            return
        if self.options.sends_profiles and not subject.klaviyo_id:
            return  # Klaviyo does not have the profile: the sync that makes it asks for the consent as well
        findings.tell(candidate.id, f"{name}: {step.outcome.value} ({step.reason.value})")
        findings.asked.append(Asked(candidate.id, step, subject, at))

    def _joined_at(self, row: Row) -> datetime | None:
        joined = read_stamp(row.get("joined_at")) if self.options.undated is Undated.JOINED_DATE else None
        return joined if joined is not None and joined < self.services.clock() else None


def _why_alone(mapped: MappedProfile, wanted: Wanted, known: KnownProfiles) -> str:
    """Return why a profile that was imported has to be synced by itself as well, "" if it has not."""
    if wanted.find(known) is None:
        return "not in Klaviyo after the import"
    return "something is to be cleared" if clears(mapped.resource()) else ""


def _subject(owner: "KlaviyoProfile | None", address: str) -> Subject:
    return Subject("", address) if owner is None else Subject(owner.id, address, owner.subscriptions)
