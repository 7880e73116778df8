"""The decisions of a run about Omneo's profiles: which are sent and with which values, which consents are asked for, which are synced alone.

The same functions decide as in a live sync (`profiles/rules/sync_plan.py`, `consent/rules/comparison.py`). Nothing is sent here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.consent.memories import ConsentMemories
from shared.consent.rules.comparison import consent_steps
from shared.consent.rules.decisions import direction_in, read_stamp
from shared.consent.rules.held import Subject
from shared.consent.rules.learning import with_stamps_ahead
from shared.consent.rules.memory import CLOCKS_APART, Memory
from shared.consent.rules.step import Outcome, Reason, Step
from shared.consent.stamps_ahead import StampsAhead
from shared.consent_events import Channel
from shared.errors import CannotSucceedError
from shared.profiles.consent_calls import consent_rules
from shared.profiles.planning import planned
from shared.profiles.rules.draft import MappedProfile
from shared.profiles.rules.owners import IDENTIFIERS
from shared.profiles.rules.sync_plan import SyncPlan, comms_of
from shared.profiles.subjects import ADDRESSES, subject_of, subjects
from shared.profiles.synced import SyncedProfile, SyncedProfiles
from shared.profiles.waiting import hashes
from shared.resync.klaviyo_lookup import KnownProfiles, Wanted
from shared.resync.rules.packing import clears
from shared.resync.rules.run import Options, Undated
from shared.services import Services
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.profiles import KlaviyoProfile

NO_DATE = "no consent date"
# More than these of a run would only stand in the way of live traffic: a shop that gives everybody one number, say.
MOST_APART = 1_000
_APART = {name: f"synced one by one: Klaviyo has not their {name}" for name in IDENTIFIERS}
# Both sides differ, but no step is needed.
_DIFFERENCES = (
    Reason.KLAVIYO_OPT_IN_NEWER,
    Reason.KLAVIYO_COMPLAINT,
    Reason.KLAVIYO_CONSENT_UNKNOWN,
    Reason.ALREADY_ASKED,
)
# Both sides at rest, between which nothing that is remembered could make a difference.
_AT_REST = (Reason.AGREED, Reason.BOUNCED, Reason.NO_IDENTIFIER, Reason.NO_OPINION)

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Candidate:
    """A profile that is synced: Omneo's profile, the profile for Klaviyo, and the stored results of earlier syncs.

    `refilled` are the values that a sync has cleared since the run began: an import of the run may have filled them again.
    """

    row: Row
    id: str
    plan: SyncPlan
    synced: SyncedProfile
    refilled: frozenset[str] = frozenset()

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
    """A consent to change in Klaviyo. `at` is the date of an opt-in, and `comms` are the fields that Omneo showed at `read_at`.

    `email` is the person's, whatever the channel.
    """

    profile_id: str
    step: Step
    subject: Subject
    at: datetime | None = None
    comms: Mapping[str, Any] = field(default_factory=dict)
    read_at: datetime | None = None
    email: str = field(default="", repr=False)


@dataclass
class Findings:
    """The decisions about some of Omneo's profiles. `told` is the report on single profiles, from which the counts are
    made. `room` is the number of further profiles that may be synced alone because Klaviyo has one of their identifiers
    on another profile.
    """

    asked: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    told: list[dict[str, str]] = field(default_factory=list)
    one_by_one: list[str] = field(default_factory=list)
    room: int = 0

    def tell(self, profile_id: str, what: str) -> None:
        """Tell it of the profile."""
        self.told.append({"profile": profile_id, "what": what})


@dataclass(frozen=True)
class Deciding:
    """Decides for one run, which began at `began`."""

    options: Options
    began: datetime
    tenant: Tenant
    services: Services

    def look_at(self, row: Row) -> Candidate | NotSynced:
        """Return the profile, with its plan if it is synced."""
        id = str(row.get("id") or "")
        synced = SyncedProfiles.of(self.services).find(self.tenant.name, id)
        refilled = (
            synced.cleared_since(self.began - CLOCKS_APART) if self.options.sends_profiles else frozenset()
        )
        try:
            plan = planned(row, self.tenant, replace(synced, filled=synced.filled | refilled))
        except CannotSucceedError:
            return NotSynced(id, "failed: the exclude logic cannot be evaluated")
        if not isinstance(plan, SyncPlan):
            return NotSynced(id, f"excluded: {plan.value}")
        return Candidate(row, id, plan, synced, refilled)

    def wanted(self, candidate: Candidate) -> Wanted:
        """Return the people to look up in Klaviyo for the profile's consents."""
        return Wanted(
            candidate.plan.klaviyo_id,
            candidate.id,
            candidate.attribute("email"),
            candidate.attribute("phone_number") if self._speaks_of_sms(candidate.comms) else "",
        )

    def decide(
        self,
        profiles: Iterable[Candidate | NotSynced],
        known: KnownProfiles,
        read_at: datetime,
        before: Counter[str],
    ) -> Findings:
        """Return the decisions about the profiles, given Klaviyo's side. `read_at` is when Omneo was asked, `before` the run's counts so far."""
        findings = Findings(room=MOST_APART - sum(before[what] for what in _APART.values()))
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
        settings = self.tenant.settings
        is_said = (
            direction_in(comms, Channel.SMS) is not None or settings.sms_consent_unset.value == "subscribe"
        )
        return is_said or settings.sms_transactional

    def _profile(
        self, candidate: Candidate, known: KnownProfiles, read_at: datetime, findings: Findings
    ) -> None:
        mapped, wanted = candidate.plan.mapped, self.wanted(candidate)
        findings.counts.update(f"left out: {note.reason.value} {note.name}" for note in mapped.notes)
        if self.options.sends_profiles:
            if why := _why_alone(mapped, wanted, known):
                findings.counts[f"synced one by one: {why}"] += 1
                findings.one_by_one.append(candidate.id)
            elif missing := self._missing(candidate, wanted.find(known)):
                self._tell_of_missing(candidate.id, missing, findings)
        if candidate.comms is None:
            findings.counts["Omneo shows no consent"] += 1
        elif candidate.synced.read_at is not None and candidate.synced.read_at > read_at:
            findings.counts["synced meanwhile"] += 1
        else:
            self._consents(candidate, candidate.comms, known, read_at, findings)

    def _missing(self, candidate: Candidate, held: "KlaviyoProfile | None") -> list[str]:
        """Return which identifiers Klaviyo has not with the profile, those left aside that the last sync found refused."""
        missing = {
            name: value
            for name in IDENTIFIERS
            if (value := candidate.attribute(name)) and value.casefold() != getattr(held, name, "").casefold()
        }
        if not missing or self.tenant.ledger_key is None:
            return [*missing]
        left = candidate.synced.left if candidate.synced.account == self.tenant.klaviyo_account_id else {}
        return [name for name, hash in hashes(self.tenant, missing).items() if left.get(name) != hash]

    def _tell_of_missing(self, profile_id: str, names: Iterable[str], findings: Findings) -> None:
        is_synced = findings.room > 0
        for name in names:
            findings.tell(profile_id, _APART[name] if is_synced else f"left out: {name} of another profile")
            findings.room -= is_synced
        if is_synced:
            findings.one_by_one.append(profile_id)

    def _consents(
        self,
        candidate: Candidate,
        comms: Mapping[str, Any],
        known: KnownProfiles,
        read_at: datetime,
        findings: Findings,
    ) -> None:
        found = _subjects(candidate, self.wanted(candidate), known)
        for step in self._steps(comms, found, candidate.id, read_at):
            self._take(candidate, step, found[step.consent.channel], read_at, findings)

    def _steps(
        self,
        comms: Mapping[str, Any],
        found: Mapping[Channel, Subject],
        profile_id: str,
        read_at: datetime,
    ) -> list[Step]:
        rules, now = consent_rules(self.tenant), self.services.clock()
        nothing = {channel: Memory(channel) for channel in Channel}
        _, steps = consent_steps(nothing, comms, found, rules=rules, read_at=read_at, now=now)
        if all(step.outcome is Outcome.LEAVE and step.reason in _AT_REST for step in steps):
            return steps
        memories = ConsentMemories.of(self.services).find(self.tenant.name, profile_id)
        ahead = StampsAhead.of(self.services).told(self.tenant, profile_id, comms, memories)
        memories = with_stamps_ahead(memories, ahead)
        return consent_steps(memories, comms, found, rules=rules, read_at=read_at, now=now)[1]

    def _take(
        self, candidate: Candidate, step: Step, subject: Subject, read_at: datetime, findings: Findings
    ) -> None:
        """Put a step on the list, if it is one of those that a run takes."""
        name = step.consent.value
        if step.outcome is Outcome.LEAVE:
            if step.reason in _DIFFERENCES:
                findings.tell(candidate.id, f"{name}: differs ({step.reason.value})")
            return
        at = step.decided_at
        if step.outcome is Outcome.SUBSCRIBE and at is None:
            at = self._joined_at(candidate.row)
        if step.outcome is Outcome.SUBSCRIBE and at is None:
            findings.tell(candidate.id, f"{name}: {NO_DATE}")
            return
        if self.options.sends_profiles and not subject.klaviyo_id:
            return  # Klaviyo does not have the profile: the sync that makes it asks for the consent as well
        findings.tell(candidate.id, f"{name}: {step.outcome.value} ({step.reason.value})")
        comms, email = candidate.comms or {}, candidate.attribute("email")
        findings.asked.append(Asked(candidate.id, step, subject, at, comms, read_at, email))

    def _joined_at(self, row: Row) -> datetime | None:
        joined = read_stamp(row.get("joined_at")) if self.options.undated is Undated.JOINED_DATE else None
        return joined if joined is not None and joined < self.services.clock() else None


def _why_alone(mapped: MappedProfile, wanted: Wanted, known: KnownProfiles) -> str:
    """Return the reason why an imported profile must also be synced alone, "" if there is none."""
    if wanted.find(known) is None:
        return "not in Klaviyo after the import"
    return "something is to be cleared" if clears(mapped.resource()) else ""


def _subjects(candidate: Candidate, wanted: Wanted, known: KnownProfiles) -> dict[Channel, Subject]:
    """Return the subject of each channel by the rules of a live sync; an address that nobody has in Klaviyo yet belongs to the person."""
    own, number = wanted.find(known), known.of("phone_number", wanted.phone_number)
    attributes = candidate.plan.mapped.attributes
    found = dict.fromkeys(Channel, Subject("", "")) if own is None else subjects(own, number, attributes)
    if own is None and number is not None and not (number.email or number.external_id):
        found[Channel.SMS] = subject_of(number, Channel.SMS, attributes)
    for channel, name in ADDRESSES.items():
        if known.of(name, getattr(wanted, name)) is None:
            found[channel] = replace(found[channel], address=candidate.attribute(name))
    return found
