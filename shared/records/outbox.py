"""The outbox: records from the moment when their call was accepted until Klaviyo has them, in parcels.

A parcel holds records of one call, as many as fit a document. It is encrypted, because records are about people. Parcels come in the order
in which the calls were accepted. Parcels that were sent are noted in one write before they are taken out one by one, so that no record of
the note is sent again when a process dies meanwhile. The packer decides who may take parcels out; nothing is sent here.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self, cast

from shared.errors import DocumentExistsError, DocumentMissingError
from shared.jobs.jobs import SendRecords
from shared.records.rules.record import Record, parcels
from shared.storage.documents import Document, Documents, Value, delete_all, each_document
from shared.storage.encryption import KeyRing
from shared.storage.sealed import SealedField

if TYPE_CHECKING:
    from shared.services import Services

_AT_ONCE = 20  # of up to 1 MiB each, which the store has to bring within one time-out


@dataclass(frozen=True)
class Parcel:
    """Records that came together. `sent` counts the records, from the first on, that are settled.

    `call` is the id of the call that brought them. Records from a dead job carry the id of its row on the desk, the word of its replay,
    and the time of the replay.
    """

    id: str
    accepted_at: datetime
    records: tuple[Record, ...]
    sent: int = 0
    call: str = ""
    dead_id: str = ""
    replay: str = ""
    replayed_at: datetime | None = None

    @property
    def waits_since(self) -> datetime:
        """The time from which its age counts. Its place in the order is the place of its call."""
        return self.replayed_at or self.accepted_at

    @property
    def left(self) -> tuple[Record, ...]:
        """The records that wait."""
        return self.records[self.sent :]


class Outbox:
    """Stores the waiting parcels of each tenant and data source."""

    def __init__(self, documents: Documents, keys: KeyRing) -> None:
        self._documents = documents
        self._records = SealedField(documents, keys, "records", context="outbox.records")

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.keys)

    def add(
        self, tenant: str, source: str, records: Sequence[Record], *, job: str, accepted_at: datetime
    ) -> None:
        """Add the records of a job. To add them again while they wait changes nothing."""
        for id, fields in self._parcels_of(tenant, source, records, job, accepted_at):
            with suppress(DocumentExistsError):
                self._documents.create(_parcels(tenant), id, fields)

    def add_replayed(self, tenant: str, job: SendRecords) -> None:
        """Add the records of a replayed job, in the place of their call. Records that wait from an earlier replay become part of this one."""
        replay: dict[str, Value] = {
            "call": job.call or job.dead_id,
            "dead_id": job.dead_id,
            "replay": job.replay,
            "replayed_at": job.replayed_at,
        }
        for id, fields in self._parcels_of(
            tenant, job.data_source, job.records, job.dead_id, job.accepted_at
        ):
            try:
                self._documents.create(_parcels(tenant), id, fields | replay)
            except DocumentExistsError:
                with suppress(DocumentMissingError):  # the packer has just sent them
                    self._documents.update(_parcels(tenant), id, replay)

    def waits_of(self, tenant: str, job: str) -> tuple[str, datetime] | None:
        """Return the data source for which records of a job wait, and when they were accepted; None if no record waits."""
        for found in self._documents.find(_parcels(tenant), where={"job": job}, limit=1):
            return str(found.fields["data_source"]), cast(datetime, found.fields["accepted_at"])
        return None

    def waiting(self, tenant: str, source: str) -> Iterator[Parcel]:
        """Yield the parcels that wait for a data source, the earliest first, a page at a time."""
        where = {"data_source": source}
        found = each_document(self._documents, _parcels(tenant), where=where, at_once=_AT_ONCE)
        return (self._decode(tenant, document) for document in found)

    def take_out(self, tenant: str, source: str, sent: Mapping[str, int]) -> None:
        """Note how many records, from the first on, are settled in each of these parcels, and take out the parcels that are done."""
        self.finish(tenant, source)
        if len(sent) == 1:  # a single write, which cannot be half done
            self._settle(tenant, *next(iter(sent.items())))
            return
        fields: dict[str, Value] = {"parcels": cast(dict[str, Value], dict(sent))}
        self._documents.create(_notes(tenant), source, fields)
        self.finish(tenant, source)

    def rest(self, tenant: str, source: str, until: datetime) -> None:
        """Note that no record may be sent to a data source before this moment."""
        fields: dict[str, Value] = {"until": until}
        try:
            self._documents.create(_rests(tenant), source, fields)
        except DocumentExistsError:
            with suppress(DocumentMissingError):  # the tenant was forgotten meanwhile
                self._documents.update(_rests(tenant), source, fields)

    def is_resting(self, tenant: str, source: str, now: datetime) -> bool:
        """Return whether a data source still rests."""
        return self.rests_until(tenant, source, now) is not None

    def rests_until(self, tenant: str, source: str, now: datetime) -> datetime | None:
        """Return the end of a data source's rest, None if it does not rest."""
        found = self._documents.get(_rests(tenant), source)
        until = found.fields.get("until") if found else None
        return until if isinstance(until, datetime) and until > now else None

    def finish(self, tenant: str, source: str) -> None:
        """Take out the parcels that a process noted as sent before it died."""
        note = self._documents.get(_notes(tenant), source)
        if note is None:
            return
        for id, sent in cast(dict[str, int], note.fields["parcels"]).items():
            self._settle(tenant, id, sent)
        self._documents.delete(_notes(tenant), source)

    def forget(self, tenant: str) -> None:
        """Forget everything of the tenant."""
        for collection in (_parcels(tenant), _notes(tenant), _rests(tenant)):
            delete_all(self._documents, collection, at_once=_AT_ONCE)

    def reencrypt(self, tenant: str, *, dry_run: bool = False) -> int:
        """Encrypt with the first key every parcel that an older key encrypted; return how many there were.

        Raises:
            UndecryptableError: some cannot be read; all others were written.
        """
        return self._records.reencrypt(tenant, _parcels(tenant), at_once=_AT_ONCE, dry_run=dry_run)

    def _parcels_of(
        self, tenant: str, source: str, records: Sequence[Record], job: str, accepted_at: datetime
    ) -> Iterator[tuple[str, dict[str, Value]]]:
        moment = accepted_at.astimezone(UTC)
        for number, part in enumerate(parcels(records)):
            id = f"{moment:%Y%m%dT%H%M%S%f} {source} {job} {number:03}"
            yield (
                id,
                {
                    "data_source": source,
                    "job": job,
                    "accepted_at": moment,
                    "count": len(part),
                    "sent": 0,
                    "records": self._records.seal(tenant, json.dumps(part, ensure_ascii=False).encode()),
                },
            )

    def _settle(self, tenant: str, id: str, sent: int) -> None:
        parcel = self._documents.get(_parcels(tenant), id)
        if parcel is not None and sent < cast(int, parcel.fields["count"]):
            self._documents.update(_parcels(tenant), id, {"sent": sent})
        elif parcel is not None:
            self._documents.delete(_parcels(tenant), id)

    def _decode(self, tenant: str, document: Document) -> Parcel:
        records: list[Any] = json.loads(self._records.open(tenant, document))
        return Parcel(
            id=document.id,
            accepted_at=cast(datetime, document.fields["accepted_at"]),
            records=tuple(records),
            sent=cast(int, document.fields["sent"]),
            call=str(document.fields.get("call") or document.id.rsplit(" ", 2)[1]),
            dead_id=str(document.fields.get("dead_id", "")),
            replay=str(document.fields.get("replay", "")),
            replayed_at=cast(datetime | None, document.fields.get("replayed_at")),
        )


def _parcels(tenant: str) -> str:
    return f"tenants/{tenant}/outbox"


def _notes(tenant: str) -> str:
    return f"tenants/{tenant}/outbox_sent"


def _rests(tenant: str) -> str:
    return f"tenants/{tenant}/outbox_rests"
