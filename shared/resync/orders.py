"""The orders for a run over the whole base (begin, pause, go on, cancel), and its state as an operator sees it."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, StrictBool, ValidationError

from shared.errors import ConflictError, InvalidPayloadError, UnknownPathError
from shared.jobs.rules.windows import hashed
from shared.resync.rules.run import Kind, Options, State, Undated, progress
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.resync.stretch import next_job
from shared.resync.telling import tell_of_the_end
from shared.services import Services
from shared.tenants.connection import check_connected
from shared.tenants.tenants import Tenant

ROWS_SHOWN = 100
_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
# Two runs of the same kind overlap by this much: Omneo's clock and ours may differ, and a change may be seen late.
OVERLAP = timedelta(hours=1)


class Order(BaseModel):
    """The body of a call that begins a run."""

    model_config = ConfigDict(extra="forbid", defer_build=True)

    since: AwareDatetime | None = None
    only_consent: StrictBool = False
    dry_run: StrictBool = False
    undated_opt_ins: Undated = Undated.LEAVE

    @classmethod
    def read(cls, body: object) -> "Order":
        """Read a body; an empty one orders the whole base.

        Raises:
            InvalidPayloadError: names the field and the fix.
        """
        try:
            return cls.model_validate({} if body is None else body)
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            field = ".".join(map(str, first["loc"]))
            if not field:
                raise InvalidPayloadError("Send a JSON object, or no body at all.") from None
            if field not in cls.model_fields:
                known = ", ".join(cls.model_fields)
                raise InvalidPayloadError(f"A field is not known here. Those that are: {known}.") from None
            raise InvalidPayloadError(f"{field}: {_FIXES[field]}.") from None


_FIXES: Mapping[str, str] = {
    "since": "give a time with its zone, as in 2026-11-21T10:00:00Z",
    "only_consent": "true or false",
    "dry_run": "true or false",
    "undated_opt_ins": "leave or joined_date",
}


def begin(tenant: Tenant, kind: Kind, order: Order, services: Services) -> Run:
    """Begin a run and return it. A reconcile, or a repair, without `since` takes up where the last one that is done began.

    An order while a run is under way that no job has worked on yet is refused too, but queues that run's first job if it was never queued:
    the process that began it may have died before.

    Raises:
        NotInstalledError: there is no Klaviyo account to send to.
        InvalidPayloadError: `since` is still to come.
        ConflictError: the account is disconnected, or another run is under way.
        QueueUnavailableError: it was noted but not queued: cancel it, or go on with it.
    """
    check_connected(tenant)
    since = order.since
    if since is not None and since > services.clock():
        raise InvalidPayloadError("since: give a time that has passed.")
    if since is None and kind is not Kind.RESYNC and (last := Resyncs.of(services).last(tenant.name, kind)):
        since = last.started_at - OVERLAP
    options = Options(
        kind=kind,
        since=since,
        only_consent=order.only_consent or kind is not Kind.RESYNC,
        dry_run=order.dry_run,
        undated=order.undated_opt_ins,
    )
    runs = Resyncs.of(services)
    try:
        run = runs.begin(tenant.name, services.new_id(), options)
    except ConflictError:
        if (before := runs.under_way(tenant.name)) and before.is_unheard:
            _queue_first(tenant, before, services)
        raise
    _queue_first(tenant, run, services)
    return run


def _queue_first(tenant: Tenant, run: Run, services: Services) -> None:
    """Queue the first job of a run, once: by its name the queue knows it again."""
    name = hashed("resync", tenant.name, run.id)
    services.queue.put_named(next_job(tenant, run, services), tenant, name=name, delay=0.0)


def change_state(tenant: Tenant, id: str, to: State, services: Services) -> Run:
    """Pause, resume or cancel a run. An order that changes nothing is no error.

    Letting a run go on that seems to be running starts its jobs anew: the last one may be lost. One that has failed goes on from where it
    was noted.

    Raises:
        UnknownPathError: the run does not exist.
        NotInstalledError, ConflictError: there is no account to go on with.
        ConflictError: it is over, or it has failed and another one is under way.
        QueueUnavailableError: it does not go on yet; order it again.
    """
    run = find(tenant, id, services)
    if run.state is to and to is not State.RUNNING:
        return run
    runs, has_failed = Resyncs.of(services), run.state is State.FAILED
    if run.state.is_over and not (has_failed and to is State.RUNNING):
        raise ConflictError(f"The run is {run.state.value}.")
    if to is not State.RUNNING:
        run = runs.update(tenant.name, run, state=to)
        if run.state.is_over:
            tell_of_the_end(run, tenant, services)
        return run
    check_connected(tenant)
    chain = services.new_id()
    run = (
        runs.reopen(tenant.name, run, chain)
        if has_failed
        else runs.update(tenant.name, run, state=to, chain=chain)
    )
    services.queue.put(next_job(tenant, run, services), tenant)
    return run


def find(tenant: Tenant, id: str, services: Services) -> Run:
    """Return the run. Raises UnknownPathError if there is none like it."""
    # The store is not asked for an id that no run can have.
    run = Resyncs.of(services).get(tenant.name, id) if _ID.fullmatch(id) else None
    if run is None:
        raise UnknownPathError("There is no such run.")
    return run


def report(tenant: Tenant, run: Run, services: Services) -> dict[str, Any]:
    """Return how a run stands: counts, speed, time left, failures by reason, and the first profiles there is something to tell of."""
    return {
        **summary(run),
        "profiles": list(islice(Resyncs.of(services).rows(tenant.name, run.id), ROWS_SHOWN)),
    }


def summary(run: Run) -> dict[str, Any]:
    """Return how a run stands, no profile being named."""
    how = progress(run.read, run.total, run.worked)
    options, counts = run.options, run.counts
    return {
        "id": run.id,
        "kind": options.kind.value,
        "state": run.state.value,
        "reason": run.reason or None,
        "since": _iso(options.since),
        "only_consent": options.only_consent,
        "dry_run": options.dry_run,
        "undated_opt_ins": options.undated.value,
        "started_at": _iso(run.started_at),
        "finished_at": _iso(run.finished_at),
        "read": how.read,
        "total": how.total,
        "profiles_per_minute": round(how.per_minute),
        "seconds_left": None
        if how.left is None or run.state is not State.RUNNING
        else round(how.left.total_seconds()),
        "imports_waiting": len(run.imports),
        "counts": {name: counts[name] for name in sorted(counts) if not name.startswith("failed")},
        "failures": {name: counts[name] for name in sorted(counts) if name.startswith("failed")},
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat(timespec="seconds")
