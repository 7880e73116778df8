"""A page of a run over the whole base: who is sent as what, who is asked about which consent, and what comes of everybody else.

The same functions decide as in a live sync (`domain/sync_plan.py`, `domain/consent_plan.py`). Nothing is sent here.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.domain.consent import read_stamp
from shared.domain.consent_events import Channel
from shared.domain.consent_plan import Consent, Step, Subject, consent_steps
from shared.domain.consent_to_klaviyo import Outcome
from shared.domain.resyncs import Options, Undated
from shared.domain.sync_plan import SyncPlan, comms_of
from shared.errors import CannotSucceedError
from shared.handlers.profiles import consent_rules, is_foreign_stamp, planned
from shared.services import Services
from shared.synced_profiles import SyncedProfile
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.bulk import Held

_IDENTIFIERS = {Channel.EMAIL: "email", Channel.SMS: "phone_number"}
NO_DATE = "no consent date"


@dataclass(frozen=True)
class Asked:
    """A consent that is to be changed in Klaviyo. `at` is the date of an opt-in."""

    profile_id: str
    step: Step
    subject: Subject
    at: datetime | None = None


@dataclass
class PreparedPage:
    """What a page of Omneo's profiles comes to. `told` is what is to be told of single profiles."""

    number: int
    resources: list[Mapping[str, Any]] = field(default_factory=list)
    asked: list[Asked] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    told: list[dict[str, str]] = field(default_factory=list)

    def tell(self, profile_id: str, what: str) -> None:
        """Count it, and tell it of the profile."""
        self.counts[what] += 1
        self.told.append({"profile": profile_id, "what": what})


class HeldProfiles:
    """What Klaviyo holds, found as a live sync finds it: by the stored id, else by external_id, else by email."""

    def __init__(self, profiles: Iterable["Held"]) -> None:
        self._by_id: dict[str, Held] = {}
        self._by_external_id: dict[str, Held] = {}
        self._by_email: dict[str, Held] = {}
        for profile in profiles:
            self._by_id[profile.id] = profile
            if profile.external_id:
                self._by_external_id[profile.external_id] = profile
            if profile.email:
                self._by_email[profile.email.lower()] = profile

    def find(self, *, klaviyo_id: str, omneo_id: str, email: str) -> "Held | None":
        """Return the profile, None if Klaviyo has none."""
        return (
            self._by_id.get(klaviyo_id)
            or self._by_external_id.get(omneo_id)
            or (self._by_email.get(email.lower()) if email else None)
        )


@dataclass(frozen=True)
class PagePreparation:
    """Makes pages ready for one run."""

    options: Options
    tenant: Tenant
    services: Services

    def page(self, number: int, rows: Sequence[Mapping[str, Any]], held: HeldProfiles) -> PreparedPage:
        """Return what a page of Omneo's profiles comes to, beside what Klaviyo holds of them."""
        page = PreparedPage(number)
        for row in rows:
            page.counts["read"] += 1
            self._profile(row, page, held)
        return page

    def _profile(self, row: Mapping[str, Any], page: PreparedPage, held: HeldProfiles) -> None:
        profile_id = str(row.get("id") or "")
        try:
            plan = planned(row, self.tenant, SyncedProfile())
        except CannotSucceedError:
            page.tell(profile_id, "failed: the exclude logic cannot be evaluated")
            return
        if not isinstance(plan, SyncPlan):
            page.counts[f"excluded: {plan.value}"] += 1
            return
        email = str(plan.mapped.attributes.get("email") or "")
        found = held.find(klaviyo_id=plan.klaviyo_id, omneo_id=profile_id, email=email)
        page.resources.append(plan.mapped.resource(found.id if found else ""))
        page.counts.update(f"left out: {note.reason.value}" for note in plan.mapped.notes)
        self._consent(row, profile_id, plan, found, page)

    def _consent(
        self,
        row: Mapping[str, Any],
        profile_id: str,
        plan: SyncPlan,
        found: "Held | None",
        page: PreparedPage,
    ) -> None:
        comms = comms_of(row)
        if comms is None:
            page.counts["Omneo shows no consent"] += 1
            return
        subjects = {
            channel: Subject(
                found.id if found else "",
                str(plan.mapped.attributes.get(name) or ""),
                found.subscriptions if found else None,
            )
            for channel, name in _IDENTIFIERS.items()
        }
        for step in self._steps(comms, subjects, profile_id):
            if step.outcome is not Outcome.LEAVE:
                self._ask(row, profile_id, step, subjects[step.consent.channel], page)

    def _steps(
        self, comms: Mapping[str, Any], subjects: Mapping[Channel, Subject], profile_id: str
    ) -> list[Step]:
        """Return the steps. What was asked before is looked up only where the two sides differ, which is rare."""
        now = self.services.clock()
        rules = consent_rules(self.tenant)
        steps = consent_steps(comms, subjects, rules=rules, told={}, is_foreign=lambda channel: True, now=now)
        if all(step.outcome is Outcome.LEAVE and not _may_be_ours(step) for step in steps):
            return steps
        told = self.services.synced_profiles.of(self.tenant.name, profile_id).told
        return consent_steps(
            comms,
            subjects,
            rules=rules,
            told=told,
            is_foreign=lambda channel: is_foreign_stamp(
                channel, comms, profile_id, self.tenant, self.services
            ),
            now=now,
        )

    def _ask(
        self,
        row: Mapping[str, Any],
        profile_id: str,
        step: Step,
        subject: Subject,
        page: PreparedPage,
    ) -> None:
        """Put a step on the page's list, if it is one of those that a run takes."""
        what = f"{step.consent.value}: {step.outcome.value}"
        if step.consent is Consent.SMS_TRANSACTIONAL:
            page.counts[f"{step.consent.value}: left to the live sync"] += 1
            return
        at = step.stamp
        if step.outcome is Outcome.SUBSCRIBE and at is None and self.options.undated is Undated.JOINED_DATE:
            at = read_stamp(row.get("joined_at"))
        if step.outcome is Outcome.SUBSCRIBE and at is None:
            page.tell(profile_id, f"{step.consent.value}: {NO_DATE}")
            return
        page.tell(profile_id, f"{what} ({step.reason.value})")
        page.asked.append(Asked(profile_id, step, subject, at))


def _may_be_ours(step: Step) -> bool:
    """Return whether what Klaviyo holds beats Omneo's decision, which it may only do because we asked for it."""
    return step.reason.value.startswith("klaviyo_")
