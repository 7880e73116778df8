"""The state of a call's job, found by the id of its 202. The call looks in the desk, the outbox, the backlog, the receipts and the runs, in
this order.

A receipt that is newer than the row on the desk counts instead of the row: the job has been done since, or waits.
"""

import re
from datetime import datetime
from typing import Any

from shared.direction import Direction
from shared.errors import UnknownPathError
from shared.jobs.dead_job import DeadJob, DeadJobState
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import KINDS, SendMetric
from shared.jobs.replays import ReplayRun, Replays
from shared.metrics.backlog import Backlog
from shared.metrics.rules.event import metric_name_of
from shared.receipts import Fate, Receipt, Receipts
from shared.records.outbox import Outbox
from shared.resync.rules.run import State
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import name_shown

_ID = re.compile(r"(?!__)[A-Za-z0-9_-]{1,64}")
_UNKNOWN = (
    "No job with this id waits or is dead. If receipt_days is 0, it is queued for its first try, or done, or was never accepted: a job that is done"
    " at once leaves a receipt only if receipt_days is set."
)
_NOT_KEPT = "Its records were given up, and are no longer kept: they were erased, or have expired."
_DISCONNECTED = "The Klaviyo account is disconnected. It goes on when the app is installed again."
_OPEN = frozenset({Fate.QUEUED.value, Fate.WAITING.value})
_ENDED = {State.DONE: Fate.DONE, State.CANCELLED: Fate.DONE, State.FAILED: Fate.DEAD}


def job(tenant: Tenant, id: str, services: Services) -> dict[str, Any]:
    """Return what is known of a job: its `state`, the time since when it has that state (`at`), and further fields of the state.

    `waiting` has `why` and `next_try_at`, `done` has what Klaviyo `answered`, `dead` has the `reason` and the `row` on the desk.
    While the account is disconnected, `why` of a job to Klaviyo says so, and `next_try_at` is None.

    Raises:
        UnknownPathError: nothing is known of the job; the message says what that means.
    """
    told = _known(tenant, id, services)
    kind = KINDS.get(told["kind"])
    goes_to_klaviyo = kind is not None and kind.direction is Direction.OUTBOUND
    stands_still = tenant.klaviyo is not None and tenant.klaviyo.disconnected and told["state"] in _OPEN
    return {**told, "why": _DISCONNECTED, "next_try_at": None} if goes_to_klaviyo and stands_still else told


def _known(tenant: Tenant, id: str, services: Services) -> dict[str, Any]:
    if not _ID.fullmatch(id):
        raise UnknownPathError(_UNKNOWN)
    desk, now = DeadJobStore.of(services), services.clock()
    receipt = Receipts.of(services).find(tenant.name, id)
    if dead := _unless_over(desk.find(tenant.name, id), now):
        return {**_told(receipt), "row": dead.id} if receipt and _is_newer(receipt, dead) else _dead(id, dead)
    if row := _unless_over(desk.of_call(tenant.name, id), now):
        return _dead(id, row)
    if waits := _in_a_store(tenant, id, services):
        return waits
    if receipt:
        return _told(receipt)
    if run := Resyncs.of(services).get(tenant.name, id):
        return _of_run(run)
    if replays := Replays.of(services).find(tenant.name, id):
        return _of_replays(replays)
    raise UnknownPathError(_UNKNOWN)


def _unless_over(dead: DeadJob | None, now: datetime) -> DeadJob | None:
    """Return a dead job unless it has expired."""
    is_over = dead is not None and dead.expire_at is not None and dead.expire_at <= now
    return None if is_over else dead


def _is_newer(receipt: Receipt, dead: DeadJob) -> bool:
    """Return whether the receipt shows a try that is newer than the row."""
    # Not `queued`: it is written after the queue has the job, so the job may have died before that.
    was_tried = receipt.state in {Fate.WAITING, Fate.DONE}
    return was_tried and receipt.at >= (dead.replayed_at or dead.died_at)


def _told(receipt: Receipt) -> dict[str, Any]:
    state = receipt.state
    told = {"id": receipt.id, "kind": receipt.kind, "state": state.value, "at": _iso(receipt.at)}
    if receipt.metric:
        told["metric"] = receipt.metric
    match state:
        case Fate.WAITING:
            next_try_at = _iso(receipt.next_try_at) if receipt.next_try_at else None
            return {**told, "attempts": receipt.attempts, "why": receipt.why, "next_try_at": next_try_at}
        case Fate.DONE:
            return {**told, "answered": receipt.answered}
        case Fate.DEAD:
            return {**told, "reason": _NOT_KEPT}
        case _:
            return {**told}


def _dead(id: str, dead: DeadJob) -> dict[str, Any]:
    if dead.state is DeadJobState.REPLAYED:
        at = dead.replayed_at or dead.died_at
        return {"id": id, "kind": dead.kind, "state": Fate.QUEUED.value, "at": _iso(at), "row": dead.id}
    return {
        "id": id,
        "kind": dead.kind,
        "state": Fate.DEAD.value,
        "at": _iso(dead.died_at),
        "attempts": dead.attempts,
        "reason": dead.reason,
        "row": dead.id,
    }


def _in_a_store(tenant: Tenant, id: str, services: Services) -> dict[str, Any] | None:
    """Return the state of a call whose records wait in the outbox, or whose event waits in the backlog."""
    if records := Outbox.of(services).waits_of(tenant.name, id):
        return _in_the_outbox(tenant, id, *records, services)
    event = Backlog.of(services).waits_of(tenant.name, id)
    return None if event is None else _in_the_backlog(event)


def _in_the_outbox(
    tenant: Tenant, id: str, source: str, accepted_at: datetime, services: Services
) -> dict[str, Any]:
    told = {"id": id, "kind": "send-records", "metric": source, "at": _iso(accepted_at)}
    until = Outbox.of(services).rests_until(tenant.name, source, services.clock())
    if until is None:
        return {**told, "state": Fate.QUEUED.value}
    why = "Klaviyo has asked to wait, or could not answer, or records that were accepted earlier wait."
    return {**told, "state": Fate.WAITING.value, "why": why, "next_try_at": _iso(until)}


def _in_the_backlog(event: SendMetric) -> dict[str, Any]:
    told = {"id": event.id, "kind": event.kind, "state": Fate.WAITING.value, "at": _iso(event.accepted_at)}
    why = "Klaviyo allows no more single calls for now; a bulk job sends it, within a minute as a rule."
    told |= {"metric": name_shown(metric_name_of(event.event)), "why": why}
    return {**told, "attempts": 0, "next_try_at": None}


def _of_run(run: Run) -> dict[str, Any]:
    state = _ENDED.get(run.state, Fate.QUEUED)
    told = {"id": run.id, "kind": run.options.kind.value, "state": state.value, "run": run.state.value}
    return {**told, "reason": run.reason} if state is Fate.DEAD else told


def _of_replays(run: ReplayRun) -> dict[str, Any]:
    state = Fate.DEAD if run.reason else Fate.DONE if run.finished_at else Fate.QUEUED
    told = {"id": run.id, "kind": "replay-dead-jobs", "state": state.value}
    told["at"] = _iso(run.finished_at or run.started_at)
    return {**told, "reason": run.reason} if run.reason else told


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds")
