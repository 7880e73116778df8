"""Runs over a tenant's whole base, and how far each has come. One at a time for each tenant. stretch.py does the work of a run."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, Unpack

from shared.errors import (
    ConflictError,
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.resync.rules.persons import Claim
from shared.resync.rules.run import Kind, Options, State
from shared.resync.run import Changes, Run, decode, encode
from shared.storage.documents import Documents, Value, delete_all, each_document

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(days=90)
# A run of which nothing was heard for so long has lost its job: the longest that a job waits between two attempts is an hour.
SILENT = timedelta(hours=6)
_NOTHING_HEARD = "Nothing was heard of it for hours: its job is lost. Resume it, or order it again."
_SLOT = "slot"
_ATTEMPTS = 20
# How a profile in an import is found in Klaviyo.
_BY_ID, _BY_ADDRESS = "id", "address"


class Resyncs:
    """Stores runs, and their findings about single profiles."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store of these services."""
        return cls(services.documents, services.clock)

    def begin(self, tenant: str, id: str, options: Options) -> Run:
        """Keep a new run.

        Raises:
            ConflictError: another one is running, or paused.
        """
        now = self._clock()
        run = Run(id, options, started_at=now, heard_at=now, chain=id)
        self._documents.create(_collection(tenant), id, {**encode(run), "expire_at": now + KEPT})
        try:
            self._take_slot(tenant, id)
        except ConflictError:
            self._documents.delete(_collection(tenant), id)
            raise
        return run

    def reopen(self, tenant: str, run: Run, chain: str) -> Run:
        """Let a run that has failed go on from where it was noted, by jobs of this chain, and return it.

        Raises:
            ConflictError: another one is running, or paused.
        """
        whole = Changes(state=State.RUNNING, reason="", chain=chain)
        if not run.read:  # a run of an earlier release cannot continue from its notes
            whole |= Changes(sent=run.sent, imports=run.imports, compared=run.compared, closed=run.closed)
            whole |= Changes(read=run.read, counts=run.counts)
        reopened = self.update(tenant, run, **whole)
        try:
            self._take_slot(tenant, run.id)
        except ConflictError:
            self.update(tenant, run, state=State.FAILED, reason=run.reason)
            raise
        return reopened

    def fail(self, tenant: str, id: str, chain: str, reason: str) -> None:
        """Note that a run has failed and why, if jobs of this chain are at work on it. Another run may begin then."""
        run = self.get(tenant, id)
        if run is not None and run.state is State.RUNNING and run.chain == chain:
            self.update(tenant, run, state=State.FAILED, reason=reason, finished_at=self._clock())

    def get(self, tenant: str, id: str) -> Run | None:
        """Return the run, None when there is none like it."""
        found = self._documents.get(_collection(tenant), id)
        return None if found is None else decode(found)

    def update(self, tenant: str, run: Run, **changes: Unpack[Changes]) -> Run:
        """Write the named fields and return the run with them; other fields keep the values of other writers.

        Raises:
            DocumentMissingError: the run is not there any more.
        """
        changed = replace(run, **changes, heard_at=self._clock())
        named = {*changes, "heard_at"}
        fields = {name: value for name, value in encode(changed).items() if name in named}
        self._documents.update(_collection(tenant), run.id, fields)
        return changed

    def under_way(self, tenant: str) -> Run | None:
        """Return the run that is running or paused, None if there is none."""
        slot = self._documents.get(_slots(tenant), _SLOT)
        run = None if slot is None else self.get(tenant, str(slot.fields["run"]))
        return run if run is not None and not run.state.is_over else None

    def newest(self, tenant: str) -> Run | None:
        """Return the run that was begun last, None if there was none."""
        return max(self._all(tenant), key=lambda run: run.started_at, default=None)

    def last(self, tenant: str, kind: Kind) -> Run | None:
        """Return the newest run of a kind that is done, None if there is none."""
        done = [run for run in self._all(tenant) if run.options.kind is kind and run.state is State.DONE]
        return max(done, key=lambda run: run.started_at, default=None)

    def tell(
        self, tenant: str, id: str, part: str, rows: Sequence[Mapping[str, str]]
    ) -> list[Mapping[str, str]]:
        """Keep the reports on single profiles, and return all reports of this part. `part` names a piece of work. Its
        earlier reports stay, because repeated work may find less to do.
        """
        if not rows and self._documents.get(_rows(tenant, id), part) is None:
            return []
        expire_at = self._clock() + KEPT
        for _ in range(_ATTEMPTS):
            found = self._documents.get(_rows(tenant, id), part)
            before: Any = found.fields["rows"] if found is not None else []
            known = {tuple(sorted(row.items())) for row in before}
            new = [dict(row) for row in rows if tuple(sorted(row.items())) not in known]
            whole: list[Any] = [*before, *new]
            fields: dict[str, Value] = {"rows": whole, "expire_at": expire_at}
            try:
                if found is None:
                    self._documents.create(_rows(tenant, id), part, fields)
                elif new:
                    self._documents.update(_rows(tenant, id), part, fields, version=found.version)
            except (DocumentExistsError, DocumentChangedError):
                continue
            return whole
        raise StoreUnavailableError("what is told of a run is being changed too often to be written")

    def rows(self, tenant: str, id: str) -> Iterator[dict[str, str]]:
        """Yield all findings, in the order of the parts."""
        for document in each_document(self._documents, _rows(tenant, id)):
            rows: Any = document.fields["rows"]
            yield from rows

    def keep_sent(
        self,
        tenant: str,
        id: str,
        job: str,
        profile_ids: Iterable[str],
        claims: Iterable[Mapping[str, Claim]] = (),
    ) -> None:
        """Remember the people in an import until it is over, and their addresses in the same order."""
        fields: dict[str, Value] = {
            "profiles": "\n".join(profile_ids),  # as one: nobody looks for a single one of them
            "claims": "\n".join(map(_line, claims)),
            "expire_at": self._clock() + KEPT,
        }
        with suppress(DocumentExistsError):
            self._documents.create(_sent(tenant, id), job, fields)

    def sent(self, tenant: str, id: str, job: str) -> list[str]:
        """Return the profiles of an import."""
        found = self._documents.get(_sent(tenant, id), job)
        return [] if found is None else str(found.fields["profiles"]).splitlines()

    def claims(
        self, tenant: str, id: str, jobs: Iterable[str], addresses: Collection[str]
    ) -> dict[str, Claim]:
        """Return the people who bring these addresses to Klaviyo in one of these imports. Addresses are hashes."""
        found: dict[str, Claim] = {}
        for job in jobs:
            document = self._documents.get(_sent(tenant, id), job)
            if document is None:
                continue
            profile_ids = str(document.fields["profiles"]).split("\n")
            lines = str(document.fields.get("claims") or "").split("\n")
            # Imports that an earlier release began have no claims.
            for profile_id, line in zip(profile_ids, lines, strict=False):
                kind, *brought = line.split(" ")
                claim = Claim(profile_id, has_id=kind == _BY_ID)
                found |= {address: claim for address in brought if address in addresses}
        return found

    def drop_sent(self, tenant: str, id: str, job: str) -> None:
        """Forget the profiles of an import."""
        self._documents.delete(_sent(tenant, id), job)

    def forget(self, tenant: str) -> None:
        """Forget every run."""
        for run in list(self._all(tenant)):
            delete_all(self._documents, _rows(tenant, run.id))
            delete_all(self._documents, _sent(tenant, run.id))
            self._documents.delete(_collection(tenant), run.id)
        self._documents.delete(_slots(tenant), _SLOT)

    def _all(self, tenant: str) -> Iterator[Run]:
        return map(decode, each_document(self._documents, _collection(tenant)))

    def _take_slot(self, tenant: str, id: str) -> None:
        for _ in range(_ATTEMPTS):
            slot = self._documents.get(_slots(tenant), _SLOT)
            try:
                if slot is None:
                    self._documents.create(_slots(tenant), _SLOT, self._slot(id))
                else:
                    self._free(tenant, str(slot.fields["run"]), id)
                    self._documents.update(_slots(tenant), _SLOT, self._slot(id), version=slot.version)
            except (DocumentExistsError, DocumentChangedError, DocumentMissingError):
                continue
            return
        raise ConflictError("Another run over the whole base is under way.")

    def _free(self, tenant: str, holder_id: str, id: str) -> None:
        """Make sure that the run in the slot no longer needs it, or is the run that takes it."""
        holder = self.get(tenant, holder_id)
        if holder is None or holder.id == id or holder.state.is_over:
            return
        if holder.state is State.RUNNING and self._clock() - holder.heard_at > SILENT:
            self.fail(tenant, holder.id, holder.chain, _NOTHING_HEARD)
            return
        raise ConflictError(f"Another run is {holder.state.value}: {holder.id}. Let it end, or cancel it.")

    def _slot(self, id: str) -> dict[str, Value]:
        return {"run": id, "expire_at": self._clock() + KEPT}


def _line(claims: Mapping[str, Claim]) -> str:
    has_id = any(claim.has_id for claim in claims.values())
    return " ".join([_BY_ID if has_id else _BY_ADDRESS, *claims])


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/resyncs"


def _rows(tenant: str, id: str) -> str:
    return f"tenants/{tenant}/resyncs/{id}/rows"


def _sent(tenant: str, id: str) -> str:
    return f"tenants/{tenant}/resyncs/{id}/sent"


def _slots(tenant: str) -> str:
    return f"tenants/{tenant}/resync_slot"
