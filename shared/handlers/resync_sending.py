"""What a run over the whole base sends: imports, and consents as of the dates of their decisions.

A consent is asked for moments after Klaviyo's was read. It is historical: nobody is asked again, and no welcome flow starts.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shared.consent_ledger import ConsentRecord, ensure_ledger_key
from shared.domain.consent_events import Channel, Direction
from shared.domain.consent_plan import Consent, Told
from shared.domain.consent_to_klaviyo import Outcome
from shared.domain.resyncs import in_parts
from shared.errors import CannotSucceedError, NotFoundError, RefusedError
from shared.handlers.resync_page import Asked, PreparedPage
from shared.jobs import PullOptOut
from shared.klaviyo.bulk import SUBSCRIBED_AT_ONCE, UNSUBSCRIBED_AT_ONCE, ImportJob, Subscriber
from shared.services import Services
from shared.tenants import Tenant

if TYPE_CHECKING:
    pass

Resource = Mapping[str, Any]
_ITEM = "/data/attributes/profiles/data/"
_WORDS = {"SUBSCRIBED": "subscribed", "UNSUBSCRIBED": "unsubscribed"}


@dataclass(frozen=True)
class Sending:
    """Sends for one run."""

    run_id: str
    tenant: Tenant
    services: Services

    # Consents

    def ask(self, pages: Sequence[PreparedPage], workers: Executor) -> None:
        """Ask for what the pages have come to about consents, opt-outs first.

        Raises:
            CannotSucceedError: the master list is not there.
            ServiceError, OwnServiceError: not now; all of it may be asked for again.
        """
        asked = [one for page in pages for one in page.asked]
        by_outcome = {outcome: [one for one in asked if one.step.outcome is outcome] for outcome in Outcome}
        list(workers.map(self._pull, by_outcome[Outcome.PULL_OPT_OUT]))
        self._change(by_outcome[Outcome.UNSUBSCRIBE], "out", UNSUBSCRIBED_AT_ONCE, workers)
        # One who is subscribed to SMS alone does not belong on the master list.
        email = {one.profile_id for one in by_outcome[Outcome.SUBSCRIBE] if one.step.consent is Consent.EMAIL}
        with_email = [one for one in by_outcome[Outcome.SUBSCRIBE] if one.profile_id in email]
        sms_alone = [one for one in by_outcome[Outcome.SUBSCRIBE] if one.profile_id not in email]
        list_id = self.tenant.settings.master_list_id or ""
        self._change(with_email, "in", SUBSCRIBED_AT_ONCE, workers, list_id)
        self._change(sms_alone, "in", SUBSCRIBED_AT_ONCE, workers)

    def _change(
        self, asked: Sequence[Asked], direction: Direction, most: int, workers: Executor, list_id: str = ""
    ) -> None:
        by_profile: dict[str, list[Asked]] = {}
        for one in asked:
            by_profile.setdefault(one.profile_id, []).append(one)
        for part in in_parts(by_profile.values(), most):
            flat = [one for together in part for one in together]
            list(workers.map(lambda one: self._note(one, direction), flat))
            for refused in self._bulk(part, direction, list_id):
                self._tell_refused(refused)
            list(workers.map(lambda one: self._remember(one, direction), flat))

    def _bulk(self, part: list[list[Asked]], direction: Direction, list_id: str) -> list[list[Asked]]:
        """Ask for the consents of some profiles in one call; of those Klaviyo refuses, find whose it is. Return these."""
        klaviyo = self.services.klaviyo(self.tenant)
        people = [_subscriber(together) for together in part]
        try:
            if direction == "in":
                klaviyo.subscribe_many(people, list_id=list_id)
            else:
                klaviyo.unsubscribe_many(people)
        except NotFoundError as error:
            raise CannotSucceedError(
                "Klaviyo knows no list with the id in master_list_id. Correct the setting, then resume the run."
            ) from error
        except RefusedError as error:
            if error.status != 400:
                raise
            if len(part) == 1:
                return part
            blamed = _blamed(error, len(part))
            if blamed:
                rest = [together for index, together in enumerate(part) if index not in blamed]
                refused = [part[index] for index in sorted(blamed)]
                return refused + (self._bulk(rest, direction, list_id) if rest else [])
            middle = len(part) // 2
            return self._bulk(part[:middle], direction, list_id) + self._bulk(
                part[middle:], direction, list_id
            )
        return []

    def _tell_refused(self, refused: Iterable[Asked]) -> None:
        for one in refused:
            what = f"failed: Klaviyo refused the consent for {one.step.consent.value}"
            row = {"profile": one.profile_id, "what": what}
            part = f"refused-{one.profile_id}-{one.step.consent.value}"
            self.services.resyncs.tell(self.tenant.name, self.run_id, part, [row])

    def _pull(self, one: Asked) -> None:
        job = PullOptOut(
            tenant=self.tenant.name,
            id=self.services.new_id(),
            accepted_at=self.services.clock(),
            profile_id=one.profile_id,
            channel=one.step.consent.channel,
            at=one.step.opted_out_at,
        )
        self.services.queue.put(job, self.tenant)

    def _note(self, one: Asked, direction: Direction) -> None:
        """Note the call for its echo, and the decision for the ledger."""
        channel = one.step.consent.channel
        if one.subject.klaviyo_id:
            self.services.echo_notes.note(self.tenant.name, one.subject.klaviyo_id, channel, direction)
        tenant = self.tenant
        if tenant.ledger_key is None:
            tenant = ensure_ledger_key(self.services.tenants, tenant.name)
        stamp = one.step.stamp.isoformat() if one.step.stamp else f"undated {self.run_id}"
        record = ConsentRecord(
            at=one.step.stamp or self.services.clock(),
            channel=channel,
            before=_WORDS.get(_held(one), "unset"),
            after="subscribed" if direction == "in" else "unsubscribed",
            source="resync",
            event_id=f"{one.step.consent.value} {direction} {stamp}",
        )
        self.services.consent_ledger.record(tenant, one.profile_id, record)

    def _remember(self, one: Asked, direction: Direction) -> None:
        """Remember what Klaviyo was told, where the consent itself carries no mark of ours."""
        is_marked = direction == "in" and one.step.consent is Consent.EMAIL
        if one.subject.klaviyo_id and not is_marked:
            said = Told(direction, one.step.stamp, self.services.clock(), one.subject.klaviyo_id)
            self.services.synced_profiles.tell(self.tenant.name, one.profile_id, {one.step.consent: said})

    # Imports

    def import_profiles(self, resources: list[Resource], page: int) -> tuple[str, Counter[str]]:
        """Start an import and return its job's id, "" if Klaviyo takes none of them, and the counts of those left behind.

        A phone number that Klaviyo refuses is left out; any other profile that it names is.
        """
        klaviyo, counts = self.services.klaviyo(self.tenant), Counter[str]()
        told: list[dict[str, str]] = []
        rows = resources
        job = ""
        while rows:
            try:
                job = klaviyo.import_profiles(rows)
                break
            except RefusedError as error:
                blamed = _blamed(error, len(rows))
                if error.status != 400 or not blamed:
                    raise
                rows = [
                    kept
                    for index, row in enumerate(rows)
                    if (kept := self._kept(row, blamed.get(index), counts, told)) is not None
                ]
        if told:
            self.services.resyncs.tell(self.tenant.name, self.run_id, f"import-{page:09}", told)
        return job, counts

    def _kept(
        self, row: Resource, fault: str | None, counts: Counter[str], told: list[dict[str, str]]
    ) -> Resource | None:
        if fault is None:
            return row
        attributes = dict(row["attributes"])
        if fault == "phone_number" and attributes.pop("phone_number", None) is not None:
            counts["left out: phone number refused by Klaviyo"] += 1
            return {**row, "attributes": attributes}
        what = f"failed: Klaviyo refuses {fault or 'it'}"
        counts[what] += 1
        told.append({"profile": str(attributes.get("external_id") or ""), "what": what})
        return None

    def failures(self, job: ImportJob) -> Counter[str]:
        """Return, by reason, how many profiles an import that is over did not take; tell which."""
        counts: Counter[str] = Counter()
        if not job.failed:
            return counts
        klaviyo, cursor, number = self.services.klaviyo(self.tenant), "", 0
        while True:
            errors, cursor = klaviyo.import_errors(job.id, cursor)
            told = []
            for error in errors:
                where = error.field.rpartition("/")[2]
                what = " ".join(part for part in ("failed:", error.code, where) if part)
                counts[what] += 1
                told.append({"profile": error.external_id, "what": what})
            self.services.resyncs.tell(self.tenant.name, self.run_id, f"errors-{job.id}-{number:06}", told)
            if not cursor:
                return counts
            number += 1


def _subscriber(together: Sequence[Asked]) -> Subscriber:
    channels = {one.step.consent.channel: one for one in together}
    return Subscriber(
        email=channels[Channel.EMAIL].subject.address if Channel.EMAIL in channels else "",
        phone_number=channels[Channel.SMS].subject.address if Channel.SMS in channels else "",
        consents={channel.value: one.at for channel, one in channels.items()},
    )


def _held(one: Asked) -> str:
    found: Any = one.subject.subscriptions
    for name in (one.step.consent.channel.value, "marketing"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return str(found.get("consent") or "") if isinstance(found, Mapping) else ""


def _blamed(error: RefusedError, count: int) -> dict[int, str]:
    """Return, by their place, the profiles that a refusal names, and the attribute at fault."""
    found: dict[int, str] = {}
    for pointer in error.fields:
        place, _, rest = pointer.partition(_ITEM)[2].partition("/")
        if place.isdecimal() and int(place) < count:
            found[int(place)] = rest.rpartition("/")[2]
    return found
