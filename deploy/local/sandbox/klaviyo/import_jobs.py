"""Klaviyo's jobs that import thousands of profiles: the endpoints, and the jobs that can be looked at.
`import_bodies.py` checks their bodies, `importing.py` writes one profile.

Klaviyo's pages "Bulk Import Profiles", "Get Bulk Import Profiles Job" and "Get Errors for Bulk Import Profiles Job", and
"Use Klaviyo's Bulk Profile Import API": being put on a list here is membership, not consent; null clears nothing, "only
fields explicitly provided with non-null values will be updated".

Assumed (import-jobs-end-at-once, identifier-of-another-is-409, unknown-id-is-404):
- A job is `queued` for the first half of `job_seconds` and `processing` for the second; everything happens at their end.
- `completed_count` are the profiles that were written, `failed_count` those that were not, `total_count` both.
- A profile's identifier that is another profile's when the job runs is its import error `duplicate_profile`.
- `original_payload` is the profile's resource as it was sent; a job expires after a week, and can be read after that.
- A profile with an id that no profile has is its import error `not_found`.
- An unknown list is 404 and nothing is imported; a job that is cancelled in time has no effect at all.
- A profile that is on the list already records nothing; `include` is not known here and is refused as unknown.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.klaviyo import acts, errors, importing
from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import Resource, iso, one, page
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.import_bodies import (
    ROW,
    TYPE,
    envelope_problems,
    named_lists,
    row_problems,
)
from deploy.local.sandbox.klaviyo.importing import DuplicateProfileError
from deploy.local.sandbox.stage.messages import Answer

QUEUED, PROCESSING, COMPLETE, CANCELLED = "queued", "processing", "complete", "cancelled"
_LIVES_SECONDS = 7 * 24 * 3600.0


@dataclass(frozen=True)
class Failure:
    """Why one profile of a job was not imported."""

    id: str
    problem: Problem
    payload: Mapping[str, Any] = field(repr=False)
    code: str = "invalid"
    title: str = "Invalid input."

    def to_resource(self) -> Resource:
        """Return it as the API shows it."""
        attributes = {
            "code": self.code,
            "title": self.title,
            "detail": self.problem.detail,
            "source": self.problem.source,
            "original_payload": self.payload,
        }
        return {"type": "import-error", "id": self.id, "attributes": attributes}


@dataclass
class ImportJob:
    """One job. `rows` are the profiles as they were sent, until they are imported; times are Unix seconds."""

    id: str
    created_at: float
    rows: Sequence[Mapping[str, Any]] = field(repr=False)
    unfit: Mapping[int, Problem] = field(repr=False)
    lists: Sequence[str] = ()
    total: int = 0
    status: str = QUEUED
    started_at: float | None = None
    completed_at: float | None = None
    completed: int = 0
    errors: list[Failure] = field(default_factory=list, repr=False)

    def to_resource(self, url: str) -> Resource:
        """Return it as the API at `url` shows it."""
        path = f"{url}/api/{TYPE}s/{self.id}"
        attributes = {
            "status": self.status,
            "created_at": iso(self.created_at),
            "total_count": self.total,
            "completed_count": self.completed,
            "failed_count": len(self.errors),
            "completed_at": None if self.completed_at is None else iso(self.completed_at),
            "expires_at": iso(self.created_at + _LIVES_SECONDS),
            "started_at": None if self.started_at is None else iso(self.started_at),
        }
        lists = {
            "data": [{"type": "list", "id": id} for id in self.lists],
            "links": {"self": f"{path}/relationships/lists/", "related": f"{path}/lists/"},
        }
        related = {"lists": lists, "import-errors": {"links": {"related": f"{path}/import-errors/"}}}
        return {
            "type": TYPE,
            "id": self.id,
            "attributes": attributes,
            "relationships": related,
            "links": {"self": f"{path}/"},
        }

    def start(self, at: float) -> None:
        """Begin, unless it was cancelled."""
        if self.status == QUEUED:
            self.status, self.started_at = PROCESSING, at

    def cancel(self) -> None:
        """Give up the rest of the job. ValueError if it is over."""
        if self.status in (COMPLETE, CANCELLED):
            raise ValueError("the job is over")
        self.status, self.rows = CANCELLED, ()

    def carry_out(self, account: Account, switches: ConsentSwitches, at: float) -> None:
        """Import the profiles one after the other and put them on the lists, unless it was cancelled."""
        if self.status == CANCELLED:
            return
        for index, row in enumerate(self.rows):
            self._import(account, index, row, switches, at)
        self.status, self.completed_at, self.rows = COMPLETE, at, ()

    def _import(
        self, account: Account, index: int, row: Mapping[str, Any], switches: ConsentSwitches, at: float
    ) -> None:
        if index in self.unfit:
            self.errors.append(Failure(account.identifiers.uuid(), self.unfit[index], row))
            return
        known = account.find(row.get("id"), row["attributes"])
        if known is None and row.get("id"):
            problem = Problem(f"A profile with id `{row['id']}` does not exist.", ROW.format(index=index))
            self.errors.append(Failure(account.identifiers.uuid(), problem, row, "not_found", "Not found."))
            return
        try:
            clears = "bulk-null-clears-nothing" in switches.otherwise
            profile = importing.write(account, known, row if clears else importing.without_null(row))
        except DuplicateProfileError as error:
            problem = Problem(str(error), f"{ROW.format(index=index)}/attributes")
            id = account.identifiers.uuid()
            self.errors.append(Failure(id, problem, row, "duplicate_profile", "Conflict."))
            return
        self.completed += 1
        for list_id in self.lists:
            is_recorded = switches.list_events_without_consent
            acts.join(account, profile, list_id, at, is_recorded=is_recorded)


def create_import_job(asked: Asked) -> Answer:
    """`POST /api/profile-bulk-import-jobs`: 202, and carried out after `job_seconds`."""
    if found := list(envelope_problems(asked.document)):
        return errors.invalid(found)
    account, switches, data = asked.account, asked.consent, asked.document["data"]
    rows, lists = data["attributes"]["profiles"]["data"], named_lists(data)
    refusing, unfit = row_problems(rows)
    refusing = refusing or list(importing.unsupported_phones(rows, switches.unsupported_phone_prefixes, ROW))
    if refusing:
        return errors.invalid(refusing)
    if unknown := next((id for id in lists if id not in account.lists), None):
        return errors.missing("list", unknown)
    job = ImportJob(account.identifiers.ulid(), asked.now, rows, unfit, lists, len(rows))
    account.jobs[job.id] = job
    answer = one(job.to_resource(asked.url), status=202)
    account.schedule.add(job.start, after=switches.job_seconds / 2)
    account.schedule.add(lambda at: job.carry_out(account, switches, at), after=switches.job_seconds)
    return answer


def get_import_job(asked: Asked) -> Answer:
    """`GET /api/profile-bulk-import-jobs/{id}`."""
    job = asked.account.jobs.get(asked.id)
    return one(job.to_resource(asked.url)) if isinstance(job, ImportJob) else errors.missing(TYPE, asked.id)


def get_import_errors(asked: Asked) -> Answer:
    """`GET /api/profile-bulk-import-jobs/{id}/import-errors`, in pages, in the order of the profiles."""
    job = asked.account.jobs.get(asked.id)
    if not isinstance(job, ImportJob):
        return errors.missing(TYPE, asked.id)
    url = f"{asked.url}/api/{TYPE}s/{job.id}/import-errors"
    return page(job.errors, url, asked.parameters, show=Failure.to_resource)
