"""Runs over a tenant's whole base, and how far each has come. One at a time for each tenant. What a run does stands elsewhere."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypedDict, Unpack

from shared.documents import Document, Documents, Value
from shared.domain.resyncs import Kind, Options, State, Undated
from shared.errors import ConflictError, DocumentChangedError, DocumentExistsError, DocumentMissingError

KEPT = timedelta(days=90)
_SLOT = "slot"
_ATTEMPTS = 20


@dataclass(frozen=True)
class Run:
    """A run. `page` is Omneo's next page to be read, `pages` the last one known; `imports` are Klaviyo's jobs whose end is not known yet,
    `tail_page` is the next page of those whom Omneo has changed since the run began.

    `counts` says what came of the profiles, by a plain name each. `worked` is the time worked on it, pauses left out.
    """

    id: str
    options: Options
    started_at: datetime
    state: State = State.RUNNING
    page: int = 1
    pages: int = 0
    total: int = 0
    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    imports: tuple[str, ...] = ()
    worked: timedelta = timedelta()
    tail_page: int = 1
    finished_at: datetime | None = None

    @property
    def is_read(self) -> bool:
        """Whether every page was read."""
        return self.pages > 0 and self.page > self.pages


class Changes(TypedDict, total=False):
    """What of a run may change."""

    state: State
    page: int
    pages: int
    total: int
    read: int
    counts: Counter[str]
    imports: tuple[str, ...]
    worked: timedelta
    tail_page: int
    finished_at: datetime


class Resyncs:
    """Keeps runs, and what is to be told of single profiles."""

    def __init__(self, documents: Documents, clock: Callable[[], datetime]) -> None:
        self._documents = documents
        self._clock = clock

    def begin(self, tenant: str, id: str, options: Options) -> Run:
        """Keep a new run.

        Raises:
            ConflictError: another one is running, or paused.
        """
        run = Run(id, options, self._clock())
        self._documents.create(_collection(tenant), id, {**_encode(run), "expire_at": run.started_at + KEPT})
        for _ in range(_ATTEMPTS):
            if self._take_slot(tenant, id):
                return run
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
        return run if run is not None and run.state in (State.RUNNING, State.PAUSED) else None

    def last(self, tenant: str, kind: Kind) -> Run | None:
        """Return the newest run of a kind that is done, None if there is none."""
        done = [run for run in self._all(tenant) if run.options.kind is kind and run.state is State.DONE]
        return max(done, key=lambda run: run.started_at, default=None)

    def tell(self, tenant: str, id: str, part: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Keep what is to be told of single profiles. `part` names the piece of work: told again, it replaces what was told."""
        fields: dict[str, Value] = {
            "rows": [dict(row) for row in rows],
            "expire_at": self._clock() + KEPT,
        }
        try:
            self._documents.create(_rows(tenant, id), part, fields)
        except DocumentExistsError:
            try:
                self._documents.update(_rows(tenant, id), part, fields)
            except DocumentMissingError:
                return  # the tenant is being deleted

    def rows(self, tenant: str, id: str) -> Iterator[dict[str, str]]:
        """Yield everything that is to be told, in the order of the parts."""
        after: str | None = None
        while page := self._documents.find(_rows(tenant, id), after=after):
            for document in page:
                rows: Any = document.fields["rows"]
                yield from rows
            after = page[-1].id

    def forget(self, tenant: str) -> None:
        """Forget every run."""
        for run in list(self._all(tenant)):
            while found := self._documents.find(_rows(tenant, run.id)):
                for document in found:
                    self._documents.delete(_rows(tenant, run.id), document.id)
            self._documents.delete(_collection(tenant), run.id)
        self._documents.delete(_slots(tenant), _SLOT)

    def _all(self, tenant: str) -> Iterator[Run]:
        after: str | None = None
        while page := self._documents.find(_collection(tenant), after=after):
            yield from map(_decode, page)
            after = page[-1].id

    def _take_slot(self, tenant: str, id: str) -> bool:
        try:
            self._documents.create(_slots(tenant), _SLOT, {"run": id})
        except DocumentExistsError:
            return self._take_over(tenant, id)
        return True

    def _take_over(self, tenant: str, id: str) -> bool:
        slot = self._documents.get(_slots(tenant), _SLOT)
        if slot is None:
            return False
        holder = self.get(tenant, str(slot.fields["run"]))
        if holder is not None and holder.state in (State.RUNNING, State.PAUSED):
            self._documents.delete(_collection(tenant), id)
            raise ConflictError(
                f"Another run is {holder.state.value}: {holder.id}. Let it end, or cancel it."
            )
        try:
            self._documents.update(_slots(tenant), _SLOT, {"run": id}, version=slot.version)
        except (DocumentChangedError, DocumentMissingError):
            return False
        return True


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
        "page": run.page,
        "pages": run.pages,
        "total": run.total,
        "read": run.read,
        "counts": dict(run.counts),
        "imports": list(run.imports),
        "worked": run.worked.total_seconds(),
        "tail_page": run.tail_page,
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
        page=fields["page"],
        pages=fields["pages"],
        total=fields["total"],
        read=fields["read"],
        counts=Counter(fields["counts"]),
        imports=tuple(fields["imports"]),
        worked=timedelta(seconds=fields["worked"]),
        tail_page=fields["tail_page"],
        finished_at=fields["finished_at"],
    )


def _collection(tenant: str) -> str:
    return f"tenants/{tenant}/resyncs"


def _rows(tenant: str, id: str) -> str:
    return f"tenants/{tenant}/resyncs/{id}/rows"


def _slots(tenant: str) -> str:
    return f"tenants/{tenant}/resync_slot"
