"""Runs over a tenant's whole base, and how far each has come. One at a time for each tenant. What a run does stands elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Self, TypedDict, Unpack

from shared.errors import (
    ConflictError,
    DocumentChangedError,
    DocumentExistsError,
    DocumentMissingError,
    StoreUnavailableError,
)
from shared.resync.rules.run import START, Cursor, Import, Kind, Options, State, Undated
from shared.storage.documents import Document, Documents, Value, delete_all

if TYPE_CHECKING:
    from shared.services import Services

KEPT = timedelta(days=90)
_SLOT = "slot"
_ATTEMPTS = 20


@dataclass(frozen=True)
class Run:
    """A run. `chain` is of the jobs that work on it: a job of another chain leaves it alone.

    `sent` is the place up to which profiles were imported, `compared` up to which consents were looked at; `imports` are Klaviyo's jobs
    whose end is not known yet, and `tail_page` is the next page of those whom Omneo has changed since the run began, who are looked at from `settles_at` on.
    `read` profiles of `total` were compared; `counts` says what came of them, by a plain name each. `worked` is the time worked on it,
    pauses left out.
    """

    id: str
    options: Options
    started_at: datetime
    state: State = State.RUNNING
    chain: str = ""
    sent: Cursor = START
    compared: Cursor = START
    imports: tuple[Import, ...] = ()
    tail_page: int = 1
    total: int = 0
    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    worked: timedelta = timedelta()
    settles_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def ready_page(self) -> int | None:
        """The first of Omneo's pages whose profiles Klaviyo may not have yet, None if there is none."""
        if not self.options.sends_profiles:
            return None
        pages = [waiting.page for waiting in self.imports]
        return min(pages, default=None if self.sent.is_over else self.sent.page)


class Changes(TypedDict, total=False):
    """What of a run may change."""

    state: State
    chain: str
    sent: Cursor
    compared: Cursor
    imports: tuple[Import, ...]
    tail_page: int
    total: int
    read: int
    counts: Counter[str]
    worked: timedelta
    settles_at: datetime
    finished_at: datetime


class Resyncs:
    """Keeps runs, and what is to be told of single profiles."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    @classmethod
    def of(cls, services: "Services") -> Self:
        """Return the store that these services stand on."""
        return cls(services.documents, services.clock)

    def begin(self, tenant: str, id: str, options: Options) -> Run:
        """Keep a new run.

        Raises:
            ConflictError: another one is running, or paused.
        """
        run = Run(id, options, self._clock(), chain=id)
        self._documents.create(_collection(tenant), id, {**_encode(run), "expire_at": run.started_at + KEPT})
        for _ in range(_ATTEMPTS):
            if self._take_slot(tenant, id):
                return run
        self._documents.delete(_collection(tenant), id)
        raise ConflictError("Another run over the whole base is under way.")

    def get(self, tenant: str, id: str) -> Run | None:
        """Return the run, None when there is none like it."""
        found = self._documents.get(_collection(tenant), id)
        return None if found is None else _decode(found)

    def update(self, tenant: str, run: Run, **changes: Unpack[Changes]) -> Run:
        """Write the named fields and return the run with them; what others wrote into other fields stays.

        Raises:
            DocumentMissingError: the run is not there any more.
        """
        changed = replace(run, **changes)
        self._documents.update(
            _collection(tenant),
            run.id,
            {name: value for name, value in _encode(changed).items() if name in changes},
        )
        return changed

    def under_way(self, tenant: str) -> Run | None:
        """Return the run that is running or paused, None if there is none."""
        slot = self._documents.get(_slots(tenant), _SLOT)
        run = None if slot is None else self.get(tenant, str(slot.fields["run"]))
        return run if run is not None and not run.state.is_over else None

    def last(self, tenant: str, kind: Kind) -> Run | None:
        """Return the newest run of a kind that is done, None if there is none."""
        done = [run for run in self._all(tenant) if run.options.kind is kind and run.state is State.DONE]
        return max(done, key=lambda run: run.started_at, default=None)

    def tell(
        self, tenant: str, id: str, part: str, rows: Sequence[Mapping[str, str]]
    ) -> list[Mapping[str, str]]:
        """Keep what is to be told of single profiles, and return everything that is told in this part.

        `part` names a piece of work: what was told of it before stays, for work that is done again may find less to do.
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
        """Yield everything that is to be told, in the order of the parts."""
        after: str | None = None
        while page := self._documents.find(_rows(tenant, id), after=after):
            for document in page:
                rows: Any = document.fields["rows"]
                yield from rows
            after = page[-1].id

    def keep_sent(self, tenant: str, id: str, job: str, profile_ids: Iterable[str]) -> None:
        """Remember who is in an import, until it is over."""
        fields: dict[str, Value] = {
            "profiles": "\n".join(profile_ids),  # as one: nobody looks for a single one of them
            "expire_at": self._clock() + KEPT,
        }
        with suppress(DocumentExistsError):
            self._documents.create(_sent(tenant, id), job, fields)

    def sent(self, tenant: str, id: str, job: str) -> list[str]:
        """Return who is in an import."""
        found = self._documents.get(_sent(tenant, id), job)
        return [] if found is None else str(found.fields["profiles"]).splitlines()

    def drop_sent(self, tenant: str, id: str, job: str) -> None:
        """Forget who was in an import."""
        self._documents.delete(_sent(tenant, id), job)

    def forget(self, tenant: str) -> None:
        """Forget every run."""
        for run in list(self._all(tenant)):
            delete_all(self._documents, _rows(tenant, run.id))
            delete_all(self._documents, _sent(tenant, run.id))
            self._documents.delete(_collection(tenant), run.id)
        self._documents.delete(_slots(tenant), _SLOT)

    def _all(self, tenant: str) -> Iterator[Run]:
        after: str | None = None
        while page := self._documents.find(_collection(tenant), after=after):
            yield from map(_decode, page)
            after = page[-1].id

    def _take_slot(self, tenant: str, id: str) -> bool:
        try:
            self._documents.create(_slots(tenant), _SLOT, self._slot(id))
        except DocumentExistsError:
            return self._take_over(tenant, id)
        return True

    def _take_over(self, tenant: str, id: str) -> bool:
        slot = self._documents.get(_slots(tenant), _SLOT)
        if slot is None:
            return False
        holder = self.get(tenant, str(slot.fields["run"]))
        if holder is not None and not holder.state.is_over:
            self._documents.delete(_collection(tenant), id)
            raise ConflictError(
                f"Another run is {holder.state.value}: {holder.id}. Let it end, or cancel it."
            )
        try:
            self._documents.update(_slots(tenant), _SLOT, self._slot(id), version=slot.version)
        except (DocumentChangedError, DocumentMissingError):
            return False
        return True

    def _slot(self, id: str) -> dict[str, Value]:
        return {"run": id, "expire_at": self._clock() + KEPT}


def _encode(run: Run) -> dict[str, Value]:
    options = run.options
    return {
        "kind": options.kind.value,
        "since": options.since,
        "only_consent": options.only_consent,
        "dry_run": options.dry_run,
        "undated": options.undated.value,
        "started_at": run.started_at,
        "state": run.state.value,
        "chain": run.chain,
        "sent": _encode_cursor(run.sent),
        "compared": _encode_cursor(run.compared),
        "total": run.total,
        "read": run.read,
        "counts": dict(run.counts),
        "imports": [{"job": waiting.job, "page": waiting.page} for waiting in run.imports],
        "worked": run.worked.total_seconds(),
        "tail_page": run.tail_page,
        "settles_at": run.settles_at,
        "finished_at": run.finished_at,
    }


def _decode(document: Document) -> Run:
    fields: dict[str, Any] = document.fields
    options = Options(
        kind=Kind(fields["kind"]),
        since=fields["since"],
        only_consent=fields["only_consent"],
        dry_run=fields["dry_run"],
        undated=Undated(fields["undated"]),
    )
    return Run(
        id=document.id,
        options=options,
        started_at=fields["started_at"],
        state=State(fields["state"]),
        chain=fields["chain"],
        sent=_decode_cursor(fields["sent"]),
        compared=_decode_cursor(fields["compared"]),
        total=fields["total"],
        read=fields["read"],
        counts=Counter(fields["counts"]),
        imports=tuple(Import(row["job"], row["page"]) for row in fields["imports"]),
        worked=timedelta(seconds=fields["worked"]),
        tail_page=fields["tail_page"],
        settles_at=fields["settles_at"],
        finished_at=fields["finished_at"],
    )


def _encode_cursor(cursor: Cursor) -> dict[str, Value]:
    return {"page": cursor.page, "seen": [*cursor.seen], "is_over": cursor.is_over}


def _decode_cursor(fields: Mapping[str, Any]) -> Cursor:
    return Cursor(fields["page"], tuple(fields["seen"]), fields["is_over"])


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/resyncs"


def _rows(tenant: str, id: str) -> str:
    return f"tenants/{tenant}/resyncs/{id}/rows"


def _sent(tenant: str, id: str) -> str:
    return f"tenants/{tenant}/resyncs/{id}/sent"


def _slots(tenant: str) -> str:
    return f"tenants/{tenant}/resync_slot"
