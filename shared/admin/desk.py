"""The desk: CX Manager and operators list, find and replay dead jobs here.

The desk masks the body of a job unless the caller asks for it. The store never holds the names of a job's person: a person is found by the
hash of an id or an address.
"""

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from shared import logs
from shared.admin.filters import ID, Page
from shared.errors import UnknownPathError
from shared.explain.rules.masking import masked
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.held_causes import HeldCause
from shared.jobs.replays import Replaying, ReplayRun, Replays
from shared.jobs.rules.causes import HELD, RECORDS, advice, goes_on_by_itself
from shared.jobs.rules.wanted import Wanted
from shared.services import Services
from shared.tenants.tenants import Tenant

Json = dict[str, Any]

# These fields of a job's body are shown unmasked: they identify the job and hold nothing personal.
_SHOWN = frozenset(
    {"kind", "tenant", "id", "accepted_at", "attempts", "last_failure", "data_source", "with_token"}
)


def listed(tenant: Tenant, page: Page, services: Services) -> Json:
    """Return a page of dead jobs, in the order of their ids.

    Without filters, the jobs that a cause holds are one row for each cause, in `held` of the first page. A filter by `cause` shows each
    job. `next` is the place at which the next page begins, None after the last page. An earlier page may be shorter than its limit, or
    empty.
    """
    desk, now = DeadJobStore.of(services), services.clock()
    whole = page.wanted.is_everything
    found, after = desk.scan(tenant.name, page.wanted, now=now, after=page.after, most=page.limit)
    rows = [shown(dead) for dead in found if not (whole and _is_held(dead))]
    told: Json = {"dead_jobs": rows, "next": after, "count": desk.count(tenant.name)}
    if whole and page.after is None:
        told["held"] = held(tenant, services)
    return told


def held(tenant: Tenant, services: Services) -> list[Json]:
    """Return a row for each cause that holds jobs. `records` counts the jobs that do not go on by themselves."""
    desk = DeadJobStore.of(services)
    counts = desk.counts(tenant.name)
    return [
        _held(tenant, one, counts[one.cause], desk)
        for one in desk.causes.held(tenant.name)
        if counts.get(one.cause)
    ]


def _held(tenant: Tenant, one: HeldCause, count: int, desk: DeadJobStore) -> Json:
    records = desk.count_meant(tenant.name, Wanted(cause=one.cause.value, kind=RECORDS)) or 0
    sentences = [advice(one.cause, tenant=tenant.name)] if records < count else []
    sentences += [advice(one.cause, tenant=tenant.name, kind=RECORDS)] if records else []
    return {
        "cause": one.cause.value,
        "count": count,
        "records": records,
        "reason": one.reason,
        "what_to_do": " Of records: ".join(sentences),
        "goes_on_by_itself": records < count,
        "first_died_at": _iso(one.first_at),
        "last_died_at": _iso(one.last_at),
        "last_tried_at": _iso(one.tried_at) if one.tried_at > one.first_at else None,
    }


def one(tenant: Tenant, id: str, services: Services, *, reveal: bool) -> Json:
    """Return a dead job with its body. Personal values and the service's own words are shown only with `reveal`."""
    dead = find(tenant, id, services)
    detail = dead.detail if reveal or not dead.detail else "<text>"
    return {**shown(dead), "revealed": reveal, "detail": detail, "body": _body(dead, reveal=reveal)}


def log_reveal(id: str) -> None:
    """Log that somebody has seen the personal values of a job."""
    logs.write(logging.WARNING, "personal values of a dead job were shown", kind="dead-job", job=id)


def find(tenant: Tenant, id: str, services: Services) -> DeadJob:
    """Return the dead job. Raises UnknownPathError if there is none with this id."""
    # The store is not asked for an id that no job can have.
    desk = DeadJobStore.of(services)
    dead = desk.find(tenant.name, id) if ID.fullmatch(id) else None
    if dead is None or (dead.expire_at is not None and dead.expire_at <= services.clock()):
        raise UnknownPathError(
            "There is no such dead job: it was replayed and has succeeded, or it has expired."
        )
    return dead


def shown(dead: DeadJob) -> Json:
    """Return the fields of a dead job without its body. None of them is personal."""
    return {
        "id": dead.id,
        "tenant": dead.tenant,
        "kind": dead.kind,
        "metric": dead.metric or None,
        "state": dead.state.value,
        "cause": dead.cause.value,
        "reason": dead.reason,
        "what_to_do": advice(dead.cause, tenant=dead.tenant, kind=dead.kind, id=dead.id),
        "goes_on_by_itself": goes_on_by_itself(dead.cause, dead.kind),
        "first_died_at": _iso(dead.first_died_at or dead.died_at),
        "last_died_at": _iso(dead.died_at),
        "deaths": dead.deaths,
        "attempts": dead.attempts,
        "request_id": dead.request_id or None,
        "replayed_at": _iso(dead.replayed_at),
        "expires_at": _iso(dead.expire_at),
        "profiles": list(dead.profiles),
    }


def replay_one(tenant: Tenant, id: str, services: Services) -> Json:
    """Queue a dead job again. Two replays at once are harmless: only the later one counts.

    Raises:
        UnknownPathError: there is none with this id.
        ConflictError: this release cannot read it.
        QueueUnavailableError: the queue did not take it; the caller may replay it again.
    """
    dead = find(tenant, id, services)
    if not Replaying.of(services).one(tenant, dead):
        raise UnknownPathError("There is no such dead job: it has just succeeded.")
    return {"status": "queued", "id": dead.id, "path": f"/{tenant.name}/api/v1/dead-jobs/{dead.id}"}


def replay_all(tenant: Tenant, wanted: Wanted, services: Services) -> Json:
    """Begin a run that replays all dead jobs of the filter, and return its state."""
    return progress(tenant, Replaying.of(services).begin(tenant, wanted), services)


def replay_progress(tenant: Tenant, id: str, services: Services) -> Json:
    """Return the state of a run of replays. Raises UnknownPathError if there is none with this id."""
    run = Replays.of(services).find(tenant.name, id) if ID.fullmatch(id) else None
    if run is None:
        raise UnknownPathError("There is no such run of replays.")
    return progress(tenant, run, services)


def progress(tenant: Tenant, run: ReplayRun, services: Services) -> Json:
    """Return the state of a run of replays. `succeeded` counts its jobs that are no longer on the desk, or that stand there for another
    replay.
    """
    desk = DeadJobStore.of(services)
    waiting, died = (
        desk.count_of_run(tenant.name, run.id, state) for state in (DeadJobState.REPLAYED, DeadJobState.DEAD)
    )
    times = {
        name: _iso(getattr(run.wanted, name)) for name in ("since", "until") if getattr(run.wanted, name)
    }
    return {
        "id": run.id,
        "state": "failed" if run.reason else "done" if run.finished_at else "running",
        "reason": run.reason or None,
        "asked_by": run.asked_by.value,
        "filters": {**run.wanted.to_fields(), **times},
        "started_at": _iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "total": run.total,
        "replayed": run.replayed,
        "unreadable": run.unreadable,
        "waiting": waiting,
        "died_again": died,
        "succeeded": max(0, run.replayed - waiting - died),
    }


def masked_body(value: Any, *, name: str = "", depth: int = 0) -> Any:
    """Return a job's body with its structure kept and its values masked."""
    if isinstance(value, Mapping):
        return {key: masked_body(inner, name=key, depth=depth + 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [masked_body(inner, depth=depth + 1) for inner in value]
    return value if depth == 1 and name in _SHOWN else masked(value)


def _body(dead: DeadJob, *, reveal: bool) -> Any:
    try:
        body = json.loads(dead.body)
    except (ValueError, RecursionError):
        return dead.body.decode(errors="replace") if reveal else "<text>"
    return body if reveal else masked_body(body)


def _is_held(dead: DeadJob) -> bool:
    return dead.cause in HELD and dead.state is DeadJobState.DEAD


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
