"""Klaviyo's jobs that suppress and unsuppress profiles: the endpoints, and the jobs that can be looked at.

Klaviyo's pages "Bulk Suppress Profiles", "Bulk Unsuppress Profiles" and "Get Bulk Suppress Profiles Job", and recorded
answers: addresses (up to 100) or a list or a segment, not mixed; a new job is `processing` with zero counts; a job carries
`relationships`.

Assumed (suppression-jobs-skip):
an address that nobody has, and a profile that is as it should be already, count as skipped; there are no
segments, so one is 404; a job of the one kind is not found under the other.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.klaviyo import acts, errors
from deploy.local.sandbox.klaviyo.accounts import Account, Profile
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.documents import Resource, iso, one
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import profile_attribute_problems
from deploy.local.sandbox.klaviyo.job_bodies import envelope_problems, job_in, unknown_fields
from deploy.local.sandbox.klaviyo.subscription_bodies import list_problems
from deploy.local.sandbox.stage.messages import Answer

SUPPRESSION, UNSUPPRESSION = "profile-suppression-bulk-create-job", "profile-suppression-bulk-delete-job"
MOST_ADDRESSES = 100
_ACTS = {SUPPRESSION: acts.suppress, UNSUPPRESSION: acts.unsuppress}
_ROWS = "/data/attributes/profiles/data"


@dataclass
class SuppressionJob:
    """One job. Times are Unix seconds."""

    id: str
    type: str
    created_at: float
    total: int = 0
    completed: int = 0
    skipped: int = 0
    completed_at: float | None = None
    lists: Sequence[str] = ()

    def to_resource(self, url: str) -> Resource:
        """Return it as the API at `url` shows it."""
        done = self.completed_at is not None
        attributes = {
            "status": "complete" if done else "processing",
            "created_at": iso(self.created_at),
            "total_count": self.total,
            "completed_count": self.completed,
            "completed_at": None if self.completed_at is None else iso(self.completed_at),
            "skipped_count": self.skipped,
        }
        related = {
            "lists": {"data": [{"type": "list", "id": id} for id in self.lists]},
            "segments": {"data": list[Resource]()},
        }
        return {
            "type": self.type,
            "id": self.id,
            "attributes": attributes,
            "relationships": related,
            "links": {"self": f"{url}/api/{self.type}s/{self.id}/"},
        }

    def carry_out(self, account: Account, targets: list[Profile | None], at: float) -> None:
        """Do it to the targets, None for an address that nobody has, and count."""
        self.total, self.completed_at = len(targets), at
        for profile in targets:
            changed = profile is not None and _ACTS[self.type](account, profile, at)
            self.completed += changed
            self.skipped += not changed


def suppress(asked: Asked) -> Answer:
    """`POST /api/profile-suppression-bulk-create-jobs`."""
    return _start(asked, SUPPRESSION)


def unsuppress(asked: Asked) -> Answer:
    """`POST /api/profile-suppression-bulk-delete-jobs`."""
    return _start(asked, UNSUPPRESSION)


def get_suppression_job(asked: Asked) -> Answer:
    """`GET /api/profile-suppression-bulk-create-jobs/{id}`."""
    return _get(asked, SUPPRESSION)


def get_unsuppression_job(asked: Asked) -> Answer:
    """`GET /api/profile-suppression-bulk-delete-jobs/{id}`."""
    return _get(asked, UNSUPPRESSION)


def _get(asked: Asked, type: str) -> Answer:
    job = asked.account.jobs.get(asked.id)
    if not isinstance(job, SuppressionJob) or job.type != type:
        return errors.missing(type, asked.id)
    return one(job.to_resource(asked.url))


def _start(asked: Asked, type: str) -> Answer:
    if found := list(_problems(asked.document, type)):
        return errors.invalid(found)
    account, data = asked.account, asked.document["data"]
    related = data.get("relationships") or {}
    for kind, named in related.items():
        if kind == "segment" or named["data"]["id"] not in account.lists:
            return errors.missing(kind, named["data"]["id"])
    lists = [named["data"]["id"] for named in related.values()]
    job = SuppressionJob(account.identifiers.ulid(), type, asked.now, lists=lists)
    account.jobs[job.id] = job
    answer = one(job.to_resource(asked.url), status=202)
    account.schedule.add(
        lambda at: job.carry_out(account, _targets(account, data), at), after=asked.consent.job_seconds
    )
    return answer


def _targets(account: Account, data: dict[str, Any]) -> list[Profile | None]:
    related = data.get("relationships") or {}
    if "list" in related:
        id = related["list"]["data"]["id"]
        return [profile for profile in account.profiles.values() if id in profile.memberships]
    rows = data["attributes"]["profiles"]["data"]
    return [account.owner("email", row["attributes"]["email"]) for row in rows]


def _problems(document: Any, type: str) -> Iterator[Problem]:
    yield from envelope_problems(document, type, ("profiles",))
    data = job_in(document)
    if data is None:
        return
    yield from list_problems(data, ("list", "segment"))
    profiles = data["attributes"].get("profiles")
    related = data.get("relationships") or {}
    if (profiles is not None) + len(related) != 1:
        yield Problem("Give profiles or a list or a segment.", "/data")
    if profiles is not None:
        yield from _row_problems(profiles)


def _row_problems(profiles: Any) -> Iterator[Problem]:
    rows = profiles.get("data") if isinstance(profiles, dict) else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ADDRESSES:
        yield Problem(f"A job is for 1 to {MOST_ADDRESSES} profiles.", _ROWS)
        return
    for index, row in enumerate(rows):
        attributes = row.get("attributes") if isinstance(row, dict) else None
        pointer = f"{_ROWS}/{index}"
        if not isinstance(attributes, dict) or row.get("type") != "profile":
            yield Problem("Give a profile's 'type' and 'attributes'.", pointer)
        elif not attributes.get("email"):
            yield Problem("'email' is required.", f"{pointer}/attributes/email")
        else:
            yield from unknown_fields(row, ("type", "attributes"), pointer)
            yield from unknown_fields(attributes, ("email",), f"{pointer}/attributes")
            yield from profile_attribute_problems(attributes, f"{pointer}/attributes")
