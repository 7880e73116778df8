"""The part of a job that is about an erased person, and the job without that part.

This module does not know the work of a job. A job that only takes something away from a person, such as an opt-out, is
never dropped.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from shared.jobs.jobs import (
    AddInteraction,
    AnyJob,
    CompareConsent,
    KeepMasterList,
    ReadEvents,
    SendMetric,
    SendRecords,
    SpreadEvents,
    SyncProfile,
)
from shared.tenants.erasures import Identifier

Json = Any
# Whether the person with this identifier was erased at that time or later.
IsErased: TypeAlias = Callable[[Identifier, str, datetime], bool]


def without(job: AnyJob, is_erased: IsErased) -> AnyJob | None:  # noqa: PLR0911 - one branch for each kind of job that is about people
    """Return the job without its parts about people who were erased since; the same job if there is no such part, None if nothing is left."""
    match job:
        case SendMetric():
            return _unless(any(is_erased(*one, job.accepted_at) for one in _of_event(job)), job)
        case SendRecords():
            records = tuple(one for one in job.records if not _is_about(one, job.accepted_at, is_erased))
            return _with(job, records=records) if records != job.records else job
        case SpreadEvents():
            # The event's own time counts: a heal may read the event long after.
            events = tuple(e for e in job.events if not is_erased(Identifier.KLAVIYO_ID, e.profile, e.at))
            return _with(job, events=events) if events != job.events else job
        case ReadEvents():
            rows = tuple(row for row in job.rows if not _is_row_of(row, job.accepted_at, is_erased))
            return _with(job, rows=rows) if rows != job.rows else job
        case KeepMasterList():
            return _unless(is_erased(Identifier.KLAVIYO_ID, job.profile, job.accepted_at), job)
        case AddInteraction():
            return _unless(is_erased(Identifier.OMNEO_ID, job.omneo_profile_id, job.event.at), job)
        case SyncProfile():
            # The job may stand for all calls until the end of its window, and a new sign-up may be one of them.
            return _unless(is_erased(Identifier.OMNEO_ID, job.profile_id, job.until), job)
        case CompareConsent():
            ids = tuple(
                id for id in job.profile_ids if not is_erased(Identifier.OMNEO_ID, id, job.accepted_at)
            )
            return _with(job, profile_ids=ids) if ids != job.profile_ids else job
        case _:
            return job


def _unless(is_erased: bool, job: AnyJob) -> AnyJob | None:
    return None if is_erased else job


def _with(job: AnyJob, **left: tuple[Any, ...]) -> AnyJob | None:
    return job.model_copy(update=left) if all(left.values()) else None


def _of_event(job: SendMetric) -> Iterator[tuple[Identifier, str]]:
    profile = _reach(job.event, "profile", "data")
    found = (
        (Identifier.OMNEO_ID, job.omneo_profile_id),
        (Identifier.OMNEO_ID, _reach(profile, "attributes", "external_id")),
        (Identifier.KLAVIYO_ID, _reach(profile, "id")),
        (Identifier.EMAIL, _reach(profile, "attributes", "email")),
    )
    return ((name, value) for name, value in found if value and isinstance(value, str))


def _is_row_of(row: Mapping[str, Json], at: datetime, is_erased: IsErased) -> bool:
    profile = _reach(row, "payload", "data", "relationships", "profile", "data", "id")
    return isinstance(profile, str) and is_erased(Identifier.KLAVIYO_ID, profile, at)


def _is_about(record: Json, at: datetime, is_erased: IsErased) -> bool:
    """Return whether any text in a record names a person who was erased. A record is free-form, so any property may name the person."""
    return any(is_erased(name, text, at) for text in _texts(record) for name in Identifier)


def _texts(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _texts(inner)


def _reach(value: Json, *path: str) -> Json:
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
