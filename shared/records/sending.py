"""Sending a batch of records in its order. Each call has one verdict; a batch that is refused as a whole is split.

A record that Klaviyo will never take goes to the dead-letter desk, and is not tried again by itself: later records of the same object may
be on their way then, and an old one must not arrive after them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from shared.errors import CannotSucceedError, RefusedError, TokenRejectedError, WaitError
from shared.http.heard import listening
from shared.jobs.burial import bury, given_up, refused
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.jobs import SendRecords
from shared.jobs.rules.causes import RECORDS
from shared.jobs.rules.windows import hashed
from shared.notify.telling import tell_of_a_death, tell_of_a_mended_job
from shared.receipts import Fate, Receipt, Receipts
from shared.records.data_sources import DataSource
from shared.records.outbox import Parcel
from shared.records.rules.record import Record, apart, blamed, parcels
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.traffic.rules.counts import RECORDS as RECORDS_TARGET
from shared.traffic.rules.counts import Row, What
from shared.traffic.traffic import Traffic

# Klaviyo takes 750 single calls a minute and 15 in bulk: so many single calls cost no more of the one limit than a bulk call of the other.
ONE_BY_ONE = 10


@dataclass(frozen=True)
class Taken:
    """Klaviyo has the records."""


@dataclass(frozen=True)
class Later:
    """Klaviyo took none of them and may take them later."""

    error: WaitError | TokenRejectedError


@dataclass(frozen=True)
class Never:
    """Klaviyo took none of them, and will never take them unchanged."""

    error: RefusedError | CannotSucceedError

    @property
    def concerns_all(self) -> bool:
        """Whether the refusal is about the account or the data source, not about the records."""
        return isinstance(self.error, CannotSucceedError) or self.error.status == 403

    def blamed(self, count: int) -> list[int]:
        """Return which of `count` records the refusal names."""
        return blamed(self.error.fields, count) if isinstance(self.error, RefusedError) else []


Verdict: TypeAlias = Taken | Later | Never


@dataclass(frozen=True)
class Batch:
    """Records that go together, and their parcels. `is_old` says that they have waited too long to be tried again."""

    records: tuple[Record, ...]
    parcels: tuple[Parcel, ...]
    is_old: bool

    @property
    def parts(self) -> list[tuple[Record, ...]]:
        """The records in the parts of the first try: few records one by one, more of them in one call."""
        return _calls(self.records)

    def sent_after(self, gone: int) -> Mapping[str, int]:
        """Return how many records of each parcel are settled once so many of the batch are."""
        sent, room = {}, gone
        for parcel in self.parcels:
            taken = min(room, len(parcel.left))
            if taken or not parcel.left:
                sent[parcel.id] = parcel.sent + taken
                room -= taken
        return sent

    def place(self, number: int) -> tuple[str, Parcel, int]:
        """Return a name for the place of this record that is the same in every run, its parcel, and how many records that parcel has left."""
        for parcel in self.parcels:
            if number < len(parcel.left):
                return f"{parcel.id} {parcel.sent + number}", parcel, len(parcel.left) - number
            number -= len(parcel.left)
        raise IndexError("the batch has no such record")


class Sending:
    """Sends one batch, part after part. `gone` counts the records, from the first on, that Klaviyo has taken or will never take."""

    def __init__(self, batch: Batch, source: DataSource, tenant: Tenant, services: Services) -> None:
        self.gone = 0
        self.dead = 0
        self._buried: set[str] = set()  # the rows on the desk that were written
        self._answered = ""  # Klaviyo's answer to the last part
        self._batch = batch
        self._parts = batch.parts
        self._source = source
        self._tenant = tenant
        self._services = services

    @property
    def is_over(self) -> bool:
        """Whether every record has gone."""
        return not self._parts

    def step(self) -> Later | None:
        """Send the next part; return the verdict if this part and all later ones have to wait.

        Raises:
            DisconnectedError: the account is disconnected; the records wait.
            OwnServiceError: our store or queue cannot answer.
        """
        part, *rest = self._parts
        with listening() as heard:
            verdict = attempt(part, self._source)
        match verdict:
            case Taken():
                self._answered = "".join(map(str, heard.values()))
            case Later(error) as later:
                if not self._batch.is_old:
                    return later
                self._bury(part, given_up(error), error)
            case Never(error) as never:
                if len(part) > 1 and not never.concerns_all:
                    smaller = apart(part, never.blamed(len(part)))
                    self._parts = [*(call for one in smaller for call in _calls(one)), *rest]
                    return None
                self._bury(part, refused(error), error)
        self.gone += len(part)
        self._parts = rest
        return None

    def end_replays(self, sent: Mapping[str, int]) -> None:
        """Remove the rows of replayed jobs whose records are all settled. A job that has just died again keeps its row."""
        desk = DeadJobStore.of(self._services)
        for parcel in self._batch.parcels:
            if not parcel.replay or sent.get(parcel.id) != len(parcel.records):
                continue
            if parcel.dead_id not in self._buried:
                Receipts.of(self._services).records_have_gone(
                    self._tenant, self._receipt(parcel, Fate.DONE), row=parcel.dead_id
                )
            ended = desk.end_replay(self._tenant.name, parcel.dead_id, parcel.replay)
            if (
                ended is not None and not self.dead
            ):  # otherwise some records have died again, with rows of their own
                tell_of_a_mended_job(ended.kind, ended.reason, self._tenant, self._services)

    def leave_receipts(self, sent: Mapping[str, int]) -> None:
        """Write a receipt for each call whose records Klaviyo has, once so many of each parcel are settled. A replay writes its receipts
        when it ends.
        """
        for parcel in self._batch.parcels:
            if sent.get(parcel.id) == len(parcel.records) and not parcel.replay:
                done = self._receipt(parcel, Fate.DONE)
                Receipts.of(self._services).records_have_gone(self._tenant, done)

    def _receipt(self, parcel: Parcel, state: Fate) -> Receipt:
        answered = self._answered if state is Fate.DONE else ""
        at = self._services.clock()
        return Receipt(parcel.call, RECORDS, state, at, self._source.title, answered=answered)

    def _bury(self, part: Sequence[Record], reason: str, because: Exception) -> None:
        number, desk = self.gone, DeadJobStore.of(self._services)
        end = number + len(part)
        while number < end:
            place, parcel, left = self._batch.place(number)
            of_one_call = part[number - self.gone :][
                :left
            ]  # without a note, the fate of the others would be unknown
            records = next(parcels(of_one_call))
            is_whole = len(records) == len(parcel.records)
            job = SendRecords(
                tenant=self._tenant.name,
                id=hashed("dead", place)[:32],
                accepted_at=parcel.accepted_at,
                data_source=self._source.title,
                records=records,
                call=parcel.call,
                replay=parcel.replay if is_whole else "",
                dead_id=parcel.dead_id if is_whole else "",
            )
            bury(job, self._tenant, reason, because=because, desk=desk, now=self._services.clock())
            row = job.dead_id or job.id
            Receipts.of(self._services).records_have_died(
                self._tenant, self._receipt(parcel, Fate.DEAD), row=row
            )
            self._buried.add(row)
            number += len(records)
        self.dead += len(part)
        tell_of_a_death(RECORDS, reason, self._tenant, self._services)
        counted = Row(RECORDS_TARGET, What.DEAD, metric=self._source.title)
        Traffic.of(self._services).count(self._tenant.name, counted, len(part))


def attempt(records: Sequence[Record], source: DataSource) -> Verdict:
    """Send records in one call, and return the verdict.

    Raises:
        DisconnectedError, OwnServiceError: the error is not about this call.
    """
    try:
        source.send(records, bulk=len(records) > 1)
    except (WaitError, TokenRejectedError) as error:
        return Later(error)
    except (RefusedError, CannotSucceedError) as error:
        return Never(error)
    return Taken()


def _calls(records: Sequence[Record]) -> list[tuple[Record, ...]]:
    return [(record,) for record in records] if len(records) <= ONE_BY_ONE else [tuple(records)]
