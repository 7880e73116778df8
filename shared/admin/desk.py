"""The desk: CX Manager and operators list, find and replay dead jobs here.

The desk masks the body of a job unless the caller asks for it. The store never holds the names of a job's person: a person is found by the
hash of an id or an address.
"""

import json
import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from shared import logs
from shared.admin.moments import read_moment
from shared.errors import InvalidPayloadError, UnknownPathError
from shared.explain.rules.masking import masked
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.held_causes import HeldCause
from shared.jobs.jobs import KINDS
from shared.jobs.replays import Replaying, ReplayRun, Replays
from shared.jobs.rules.causes import HELD, RECORDS, Cause, advice, goes_on_by_itself
from shared.jobs.rules.persons import hashed_name
from shared.jobs.rules.wanted import Wanted
from shared.services import Services
from shared.tenants.tenants import Tenant

Json = dict[str, Any]

FILTERS = ("kind", "cause", "reason", "metric", "profile", "since", "until")
MOST, USUAL = 200, 50
_WORDS: Mapping[str, list[str]] = {
    "kind": sorted({*KINDS, "unread"}),
    "cause": sorted(cause.value for cause in Cause),
}
_ID = re.compile(r"(?!__.*__)(?!\.{1,2}$)[\w.-]{1,200}", re.ASCII)
_HASH = re.compile(r"[0-9a-f]{64}")
# These fields of a job's body are shown unmasked: they identify the job and hold nothing personal.
_SHOWN = frozenset(
    {"kind", "tenant", "id", "accepted_at", "attempts", "last_failure", "data_source", "with_token"}
)


@dataclass(frozen=True)
class Page:
    """The dead jobs that a caller asks for: filters, and the place in the list."""

    wanted: Wanted
    after: str | None = None
    limit: int = USUAL


def read_page(tenant: Tenant, query: Mapping[str, str]) -> Page:
    """Return the page that a query asks for.

    Raises:
        InvalidPayloadError: a filter is unknown, or a value is impossible; the message names the known ones.
    """
    filters = {name: value for name, value in query.items() if name not in ("after", "limit")}
    after = query.get("after") or None
    if after is not None and not _ID.fullmatch(after):
        raise InvalidPayloadError("after must be the value of next in the page before.")
    if "@" in query.get("profile", ""):
        # Every proxy would write an address in a URL to its log.
        raise InvalidPayloadError(
            "profile must be the id of a profile, or a hash; an address must not stand in a URL."
        )
    return Page(
        read_filters(tenant, filters, beside=("after", "limit")), after, _limit(query.get("limit", ""))
    )


def read_filters(tenant: Tenant, given: Mapping[str, object], *, beside: tuple[str, ...] = ()) -> Wanted:
    """Return the filters that stand in the texts. `profile` is an id, an address, or a hash. `beside` are the other names that the caller
    knows.

    Raises:
        InvalidPayloadError: as `read_page`.
    """
    if given.keys() - set(FILTERS):
        known = ", ".join((*FILTERS, *beside))
        raise InvalidPayloadError(f"There is a filter that is not known. The known ones are: {known}.")
    for name, value in given.items():
        if not isinstance(value, str) or not value.strip():
            raise InvalidPayloadError(f"{name} must be a text with at least one character.")
    texts: dict[str, Any] = {name: str(value).strip() for name, value in given.items()}
    for name, words in _WORDS.items():
        if name in texts and texts[name] not in words:
            raise InvalidPayloadError(f"{name} must be one of: {', '.join(words)}.")
    if "profile" in texts:
        texts["profile"] = _hash(tenant, texts["profile"])
    times = {name: _time(name, texts.pop(name)) for name in ("since", "until") if name in texts}
    return replace(Wanted(**texts), since=times.get("since"), until=times.get("until"))


def read_order(tenant: Tenant, body: object) -> Wanted:
    """Return the filter of a replay: the body is a JSON object of filters, or `{"all": true}` alone.

    Raises:
        InvalidPayloadError: the body is neither, or a filter is unknown: a misspelt filter must not replay all jobs.
    """
    if not isinstance(body, dict) or not body:
        raise InvalidPayloadError(
            f'Send a JSON object with filters ({", ".join(FILTERS)}), or {{"all": true}}.'
        )
    if "all" in body:
        if body["all"] is not True or len(body) > 1:
            raise InvalidPayloadError("all must be true, without any filter beside it.")
        return Wanted()
    return read_filters(tenant, body, beside=("all",))


def listed(tenant: Tenant, page: Page, services: Services) -> Json:
    """Return a page of dead jobs, in the order of their ids.

    Without filters, the jobs that a cause holds are one row for each cause, in `held` of the first page. A filter by `cause` shows each
    job. `next` is the place at which the next page begins, None after the last page. An earlier page may be shorter than its limit, or
    empty.
    """
    desk, now = DeadJobStore(services.documents, services.keys), services.clock()
    whole = page.wanted.is_everything
    found, after = desk.scan(tenant.name, page.wanted, now=now, after=page.after, most=page.limit)
    rows = [shown(dead) for dead in found if not (whole and _is_held(dead))]
    told: Json = {"dead_jobs": rows, "next": after, "count": desk.count(tenant.name)}
    if whole and page.after is None:
        told["held"] = held(tenant, services)
    return told


def held(tenant: Tenant, services: Services) -> list[Json]:
    """Return a row for each cause that holds jobs. `records` counts the jobs that do not go on by themselves."""
    desk = DeadJobStore(services.documents, services.keys)
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
    desk = DeadJobStore(services.documents, services.keys)
    dead = desk.find(tenant.name, id) if _ID.fullmatch(id) else None
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
    run = Replays(services.documents).find(tenant.name, id) if _ID.fullmatch(id) else None
    if run is None:
        raise UnknownPathError("There is no such run of replays.")
    return progress(tenant, run, services)


def progress(tenant: Tenant, run: ReplayRun, services: Services) -> Json:
    """Return the state of a run of replays. `succeeded` counts its jobs that are no longer on the desk, or that stand there for another
    replay.
    """
    desk = DeadJobStore(services.documents, services.keys)
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


def _hash(tenant: Tenant, profile: str) -> str:
    if _HASH.fullmatch(profile):
        return profile
    if tenant.ledger_key is None:
        raise InvalidPayloadError(
            "profile: this tenant has no ledger key, so its jobs cannot be found by a person."
        )
    return hashed_name(tenant.ledger_key.get_secret_value(), profile)


def _limit(given: str) -> int:
    if not given:
        return USUAL
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= MOST:
        raise InvalidPayloadError(f"limit must be a whole number from 1 to {MOST}.")
    return int(given)


def _time(name: str, given: str) -> datetime:
    moment = read_moment(given)
    if moment is None:
        raise InvalidPayloadError(
            f"{name} must be a date or a time, as in 2026-11-21 or 2026-11-21T10:00:00Z."
        )
    return moment


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
