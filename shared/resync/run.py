"""A run over the whole base: its options, its progress, and its form in the store."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypedDict

from shared.resync.rules.place import START, Place
from shared.resync.rules.run import Import, Kind, Options, State, Undated
from shared.storage.documents import Document, Value

_OTHER_PAGES = "An earlier release began it and read Omneo's pages in another way. Resume it from the beginning, or order it again."


@dataclass(frozen=True)
class Run:
    """A run, and how far it has come. `chain` is of the jobs that work on it: a job of another chain leaves it alone.

    First profiles are sent: those before the place `sent` are, in `imports` whose end is not known yet or is noted. Then consents are
    compared, those before `compared` are: `read` profiles of `total`. At the end, from `settles_at` on, those are synced whom Omneo has
    changed since the run began; those before `closed` are.

    `counts` says what came of the profiles, by a plain name each. `worked` is the time worked on it, pauses left out. `heard_at` is when
    a job last worked on it, `reason` why it has failed.
    """

    id: str
    options: Options
    started_at: datetime
    heard_at: datetime
    state: State = State.RUNNING
    reason: str = ""
    chain: str = ""
    sent: Place = START
    imports: tuple[Import, ...] = ()
    compared: Place = START
    closed: Place = START
    total: int = 0
    read: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    worked: timedelta = timedelta()
    settles_at: datetime | None = None
    finished_at: datetime | None = None

    @property
    def is_sending(self) -> bool:
        """Whether there are profiles to send, or imports to wait for."""
        return self.options.sends_profiles and (not self.sent.is_over or bool(self.imports))

    @property
    def is_unheard(self) -> bool:
        """Whether no job has worked on it yet, as far as is known."""
        return self.state is State.RUNNING and self.heard_at == self.started_at

    def is_worked_on_by(self, chain: str) -> bool:
        """Return whether a job of this chain is to go on with it."""
        return self.state is State.RUNNING and self.chain == chain


class Changes(TypedDict, total=False):
    """The part of a run that changes."""

    state: State
    reason: str
    chain: str
    sent: Place
    imports: tuple[Import, ...]
    compared: Place
    closed: Place
    total: int
    read: int
    counts: Counter[str]
    worked: timedelta
    settles_at: datetime
    finished_at: datetime


def encode(run: Run) -> dict[str, Value]:
    """Return a run as the store keeps it."""
    options = run.options
    return {
        "kind": options.kind.value,
        "since": options.since,
        "only_consent": options.only_consent,
        "dry_run": options.dry_run,
        "undated": options.undated.value,
        "started_at": run.started_at,
        "heard_at": run.heard_at,
        "state": run.state.value,
        "reason": run.reason,
        "chain": run.chain,
        "sent": _encode_place(run.sent),
        "imports": [{"job": one.job, "begins": _encode_place(one.begins)} for one in run.imports],
        "compared": _encode_place(run.compared),
        "closed": _encode_place(run.closed),
        "total": run.total,
        "read": run.read,
        "counts": dict(run.counts),
        "worked": run.worked.total_seconds(),
        "settles_at": run.settles_at,
        "finished_at": run.finished_at,
    }


def decode(document: Document) -> Run:
    """Return a run that the store has kept. One that an earlier release began and did not end has failed: see its reason."""
    fields: dict[str, Any] = document.fields
    options = Options(
        kind=Kind(fields["kind"]),
        since=fields["since"],
        only_consent=fields["only_consent"],
        dry_run=fields["dry_run"],
        undated=Undated(fields["undated"]),
    )
    run = Run(
        id=document.id,
        options=options,
        started_at=fields["started_at"],
        heard_at=fields.get("heard_at") or fields["started_at"],
        state=State(fields["state"]),
        reason=fields.get("reason") or "",
        chain=fields["chain"],
        total=fields["total"],
        read=fields["read"],
        counts=Counter(fields["counts"]),
        worked=timedelta(seconds=fields["worked"]),
        settles_at=fields["settles_at"],
        finished_at=fields["finished_at"],
    )
    if "closed" not in fields:
        return _of_an_earlier_release(run)
    return replace(
        run,
        sent=_decode_place(fields["sent"]),
        imports=tuple(Import(row["job"], _decode_place(row["begins"])) for row in fields["imports"]),
        compared=_decode_place(fields["compared"]),
        closed=_decode_place(fields["closed"]),
    )


def _of_an_earlier_release(run: Run) -> Run:
    """Return a run whose places in Omneo's list were numbers of pages: it is over, or has to begin again."""
    if run.state.is_over:
        return run
    return replace(run, state=State.FAILED, reason=_OTHER_PAGES, read=0, counts=Counter())


def _encode_place(place: Place) -> dict[str, Value]:
    return {
        "made_at": place.made_at,
        "count": place.count,
        "last": [*place.last],
        "is_over": place.is_over,
    }


def _decode_place(fields: Mapping[str, Any]) -> Place:
    return Place(fields["made_at"], fields["count"], tuple(fields["last"]), fields["is_over"])
