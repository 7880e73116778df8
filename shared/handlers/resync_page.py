"""One group of pages of a run over the whole base: who is sent as what, who is asked about which consent, and what comes of everybody else.

The same functions decide as in a live sync (`domain/sync_plan.py`, `domain/consent_plan.py`). Nothing is sent here.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from shared.domain.consent import read_stamp
from shared.domain.consent_events import Channel
from shared.domain.consent_plan import Consent, Step, Subject, consent_steps
from shared.domain.consent_to_klaviyo import Outcome, Reason
from shared.domain.resyncs import Options, Undated
from shared.domain.sync_plan import SyncPlan, comms_of
from shared.errors import CannotSucceedError
from shared.handlers.profiles import consent_rules, is_foreign_stamp, planned
from shared.services import Services
from shared.synced_profiles import SyncedProfile
from shared.tenants import Tenant

if TYPE_CHECKING:
    from shared.klaviyo.bulk import Held

# Consents that no opinion of Omneo's stands behind, or that both sides share.
_SETTLED = frozenset({Outcome.LEAVE})
_IDENTIFIERS = {Channel.EMAIL: "email", Channel.SMS: "phone_number"}


@dataclass(frozen=True)
class Asked:
    """A consent that is to be changed in Klaviyo, for one profile. `at` is the date of an opt-in."""

    profile_id: str
    page: int
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


def prepare(
    number: int,
    rows: Sequence[Mapping[str, Any]],
    held: "HeldProfiles",
    options: Options,
    tenant: Tenant,
    services: Services,
) -> PreparedPage:
    """Return what a page of Omneo's profiles comes to, beside what Klaviyo holds of them."""
    page = PreparedPage(number)
    for row in rows:
        page.counts["read"] += 1
        _prepare_one(row, page, held, options, tenant, services)
    return page


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


def _prepare_one(
    row: Mapping[str, Any],
    page: PreparedPage,
    held: HeldProfiles,
    options: Options,
    tenant: Tenant,
    services: Services,
) -> None:
    profile_id = str(row.get("id") or "")
    try:
        plan = planned(row, tenant, SyncedProfile())
    except CannotSucceedError:
        page.tell(profile_id, "failed: exclude logic cannot be evaluated")
        return
    if not isinstance(plan, SyncPlan):
        page.counts[f"excluded: {plan.value}"] += 1
        return
    email = str(plan.mapped.attributes.get("email") or "")
    found = held.find(klaviyo_id=plan.klaviyo_id, omneo_id=profile_id, email=email)
    page.resources.append(plan.mapped.resource(found.id if found else ""))
    for note in plan.mapped.notes:
        page.counts[f"left out: {note.reason.value}"] += 1
    _prepare_consent(row, profile_id, plan, found, page, options, tenant, services)
