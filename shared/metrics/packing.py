"""Packing: events in the backlog go to Klaviyo in bulk jobs of a thousand, the earliest accepted first.

A lease, which the packer renews while it works, lets one packer at a time work for a tenant. The events of a job are noted before the call. When
Klaviyo accepts the job, its events are delivered and leave the backlog. A throttled job surely had no effect, and may be sent again. After any
other refusal, and after the death of a process, nobody knows the effect, or one event is to blame: then all events of the job go by single calls,
where Klaviyo drops a repeated one. An event that has waited for a day goes by a single call too: there it is delivered, or given up for the reason
that is true then.

A run leaves the events of the present ten seconds to the run that they have queued. It leaves a rest that would not fill a job to the next run,
unless the backlog holds nothing else. While more events come than single calls can carry, every event that may go in bulk stays in the
backlog. Otherwise each minute would begin with thousands of single calls, and end with as many refusals.

batches.py chooses the events of each batch.
"""

import logging
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import islice

from shared import logs
from shared.errors import (
    DisconnectedError,
    DocumentExistsError,
    RefusedError,
    RestingError,
    TokenRejectedError,
    WaitError,
)
from shared.jobs.jobs import PackEvents, SendMetric, SweepOutbox
from shared.jobs.rules.patience import seconds_to_wait
from shared.jobs.rules.windows import LENGTH, Window
from shared.klaviyo.limits import Endpoint
from shared.metrics.backlog import Backlog, Waiting
from shared.metrics.batches import Batch, Batches, Dropped, Event
from shared.metrics.lane import pack_soon, persons_of, was_throttled
from shared.metrics.rules.event import metric_name_of
from shared.metrics.singles import UNTRIED
from shared.receipts import Fate, Receipt, Receipts
from shared.services import Services
from shared.storage.documents import Write
from shared.storage.leases import Lease
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import METRIC, Row, What, name_shown
from shared.traffic.traffic import Traffic

# Renewed before each batch. After a packer is killed, at most this much time passes until another one may work. A batch takes seconds; if
# one takes longer than this, the next packer treats it like the batch of a dead process.
LEASE = timedelta(minutes=1)
# A run begins no call later than this, so that the call and its notes end well before the worker is stopped.
WORKS_FOR = timedelta(minutes=2)
SWEPT_AFTER = timedelta(minutes=2)
# More than single calls can carry in ten seconds.
MANY_IN_A_WINDOW = Endpoint.EVENTS.limit.a_minute * LENGTH // timedelta(minutes=1)
# Long enough for a late run of the next window to look again.
KEPT_IN_BULK = 2 * LENGTH
PUT_AT_ONCE = 8
ALONE = "It cannot go in a bulk job, and goes by a single call."


def pack_events(
    job: PackEvents, tenant: Tenant, services: Services, *, dropping: Callable[[], Dropped]
) -> None:
    """Send the waiting events. A later run is queued for the events that this run does not send.

    `dropping` looks up the persons who are erased by now, and returns a function that says whether an event must be dropped.

    Raises:
        DisconnectedError: the account is disconnected; the events go on waiting.
        OwnServiceError: our store or queue cannot answer; the queue must deliver again.
    """
    if tenant.klaviyo is None:
        logs.write(logging.INFO, "nothing to pack, the app was uninstalled", reason="not installed")
        return
    if not tenant.is_connected:
        raise DisconnectedError("the tenant's Klaviyo account is disconnected; install again")
    lease = services.leases.acquire(f"pack {tenant.name} events", lasting=LEASE)
    if lease is None:
        pack_soon(tenant, services, traceparent=job.traceparent)
        return
    try:
        run = _Run(job, tenant, services, dropping, lease)
        after = run.work()
        if after is not None:
            pack_soon(tenant, services, after=after, attempts=run.attempts, traceparent=job.traceparent)
    finally:
        services.leases.release(lease)


def sweep_events(job: SweepOutbox, tenant: Tenant, services: Services) -> None:
    """Queue a run of the packer if an event has waited for minutes. This replaces a lost run."""
    if not tenant.is_connected:
        return  # the events go on waiting
    backlog = Backlog.of(services)
    first, latest = backlog.first(tenant.name), Window.at(services.clock() - SWEPT_AFTER)
    if (first is not None and first.window <= latest.number) or backlog.tried(tenant.name) is not None:
        pack_soon(tenant, services, traceparent=job.traceparent)
        logs.write(logging.WARNING, "events have waited for minutes", events=backlog.count(tenant.name))


class _Run:
    """One run of the packer."""

    def __init__(
        self,
        job: PackEvents,
        tenant: Tenant,
        services: Services,
        dropping: Callable[[], Dropped],
        lease: Lease,
    ) -> None:
        # Calls in a row that were in vain; one that was not made, since Klaviyo rests, is none.
        self.attempts = job.attempts
        self._tenant = tenant
        self._services = services
        self._lease = lease
        self._backlog = Backlog.of(services)
        self._batches = Batches(tenant, services, dropping)
        self._rests = services.rests
        self._sent = 0

    def work(self) -> float | None:
        """Send batch after batch. Return the seconds until the next run, None when nothing waits any more."""
        self._see_to_a_lost_batch()
        self._keep_to_bulk()
        try:
            with ThreadPoolExecutor(1, initializer=logs.carried()) as ahead:
                return self._send_all(ahead)
        finally:
            logs.note(events=self._sent)

    def _send_all(self, ahead: Executor) -> float | None:
        """Send batch after batch, and read the next one while one is sent: each takes about a second."""
        ends = self._services.clock() + WORKS_FOR
        coming = ahead.submit(self._batches.after, None)
        while self._services.clock() < ends and self._services.leases.renew(self._lease, lasting=LEASE):
            if not (batch := coming.result()):
                return None if self._is_all_gone() else 0.0
            coming = ahead.submit(self._batches.after, batch.last)
            self._batches.drop_the_erased(batch)
            self._settle_the_others(batch)
            if self._sent and not batch.is_full:
                return 0.0  # until the next run comes, it may fill up
            if batch.events and (after := self._send(batch)) is not None:
                return after
        return 0.0

    def _is_all_gone(self) -> bool:
        """Return whether every event that still waits is unreadable. The sweep looks at these again."""
        unread = self._batches.unread
        if unread:
            logs.write(logging.ERROR, "events that wait cannot be read", events=len(unread))
        first = islice(self._backlog.waiting(self._tenant.name), len(unread) + 1)
        return all(waiting.id in unread for waiting in first)

    def _see_to_a_lost_batch(self) -> None:
        """Send the events of a bulk call singly if nobody has noted its outcome."""
        tried = self._backlog.tried(self._tenant.name)
        if tried is None:
            return
        last = max(tried, default="")
        alone = []
        for waiting in self._backlog.waiting(self._tenant.name):
            if waiting.id > last:
                break
            if waiting.id in tried:
                alone.append(waiting)
        self._send_alone(alone)
        self._backlog.end_try(self._tenant.name, tried)

    def _keep_to_bulk(self) -> None:
        now = self._services.clock()
        came = self._backlog.count_of(self._tenant.name, Window.at(now).number - 1)
        if came >= MANY_IN_A_WINDOW:
            self._rests.rest(self._tenant.name, UNTRIED, now + KEPT_IN_BULK)

    def _settle_the_others(self, batch: Batch) -> None:
        if batch.dropped:
            logs.write(logging.INFO, "events dropped, their persons were erased", events=len(batch.dropped))
            self._backlog.take_out(self._tenant.name, batch.dropped)
        self._send_alone(batch.alone)

    def _send(self, batch: Batch) -> float | None:
        """Send a batch and take it out. Return the seconds until the next run if the next batch has to wait.

        Raises:
            DisconnectedError: the account is disconnected; nothing was sent.
        """
        name = self._tenant.name
        if (until := self._rests.until(name, Endpoint.BULK_EVENTS)) is not None:
            return max(1.0, (until - self._services.clock()).total_seconds())
        klaviyo = self._services.klaviyo(self._tenant)
        try:
            klaviyo.need_token()  # without it, a call that was never made would look like a call without an answer
        except WaitError as error:
            logs.write(logging.WARNING, "events wait for an access token", reason=str(error), **_size(batch))
            return self._seconds_after(error)
        try:
            self._backlog.note_try(name, batch.ids)
        except DocumentExistsError:
            return 0.0  # another packer works: this one has lost its lease
        try:
            klaviyo.bulk_create_events([event.sent for event in batch.events])
        except (DisconnectedError, TokenRejectedError):
            self._backlog.end_try(name, batch.ids)  # no call was made, or Klaviyo did not accept its token
            raise
        except WaitError as error:
            return self._put_off(batch, error)
        except RefusedError as error:
            logs.write(logging.WARNING, "a bulk job of events was refused", reason=str(error), **_size(batch))
            self._go_singly(batch)
            return None
        self._is_delivered(batch)
        return None

    def _put_off(self, batch: Batch, error: WaitError) -> float:
        """Keep a throttled batch. If the outcome is unknown, send its events singly."""
        if was_throttled(error) or isinstance(error, RestingError):
            self._backlog.end_try(self._tenant.name, batch.ids)
        else:
            logs.write(logging.WARNING, "a bulk job of events is lost", reason=str(error), **_size(batch))
            self._go_singly(batch)
        return self._seconds_after(error)

    def _seconds_after(self, error: WaitError) -> float:
        seconds = seconds_to_wait(self.attempts, error.retry_after, self._services.random())
        self.attempts += not isinstance(error, RestingError)
        return seconds

    def _go_singly(self, batch: Batch) -> None:
        self._put_alone([event.job for event in batch.events])
        self._backlog.take_out(self._tenant.name, batch.ids)
        self._backlog.end_try(self._tenant.name, batch.ids)

    def _send_alone(self, events: list[Waiting]) -> None:
        found = [(waiting.id, job) for waiting in events if (job := self._batches.job_of(waiting))]
        self._put_alone([job for _, job in found])
        self._backlog.take_out(self._tenant.name, [id for id, _ in found])

    def _put_alone(self, jobs: list[SendMetric]) -> None:
        if not jobs:
            return
        alone = [job.model_copy(update={"alone": True, "last_failure": ALONE}) for job in jobs]
        # Before they are queued: a receipt that is written later would say "waits" about an event that is done.
        self._backlog.take_out(self._tenant.name, [], also=[self._still_waits(job) for job in alone])
        with ThreadPoolExecutor(PUT_AT_ONCE, initializer=logs.carried()) as threads:
            for _ in threads.map(lambda one: self._services.queue.put(one, self._tenant), alone):
                pass  # raises the error of a job that was not queued

    def _is_delivered(self, batch: Batch) -> None:
        receipts = [self._receipt(event) for event in batch.events]
        self._backlog.take_out(self._tenant.name, batch.ids, also=receipts)
        self._backlog.end_try(self._tenant.name, batch.ids)
        self._sent += len(batch.events)
        self.attempts = 0
        counted = Counter(name_shown(metric_name_of(event.sent)) for event in batch.events)
        for metric, number in counted.items():
            row = Row(METRIC, What.DELIVERED, metric=metric)
            Traffic.of(self._services).count(self._tenant.name, row, number)

    def _receipt(self, event: Event) -> Write:
        done = replace(self._at(event.job, Fate.DONE), answered="Klaviyo answered 202")
        return Receipts.of(self._services).done_after_a_wait(self._tenant, done, persons_of(event.job))

    def _still_waits(self, job: SendMetric) -> Write:
        waits = replace(self._at(job, Fate.WAITING), attempts=1, why=ALONE)
        return Receipts.of(self._services).waiting(self._tenant, waits, persons_of(job))

    def _at(self, job: SendMetric, state: Fate) -> Receipt:
        metric = name_shown(metric_name_of(job.event))
        return Receipt(id=job.id, kind=job.kind, state=state, at=self._services.clock(), metric=metric)


def _size(batch: Batch) -> dict[str, int]:
    return {"events": len(batch.events)}
