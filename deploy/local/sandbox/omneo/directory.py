"""A tenant's profiles, however many: found by id, email and identity, and listed in order. No HTTP here.

It is a dictionary by id; any code may change a profile in it. The directory remembers the profiles that it has given
out, and checks those for changes before its next answer. Later changes to such a profile count only after it is given
out again.

Assumed (email-filter-ignores-case, one-order-of-one-second):
emails are compared without regard to case; of profiles with the same time the one made first comes first, and
last where the order is turned round.
"""

import operator
import sys
from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any, NamedTuple

Profile = dict[str, Any]
# The conditions of a field, which must all hold: {"gte": "2026-01-01 00:00:00"}. Compared as text.
Span = Mapping[str, str]
COMPARE: Mapping[str, Callable[[str, str], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


@dataclass(frozen=True)
class Query:
    """A query for profiles, and their order: that of the making unless `sort` is created_at, updated_at or id.

    `spans` are by created_at or updated_at.
    """

    sort: str = ""
    descending: bool = False
    email: str | None = None
    profile_type: str | None = None
    spans: Mapping[str, Span] = field(default_factory=dict)


class Found(NamedTuple):
    """How many profiles a query finds, and those between two places."""

    total: int
    between: Callable[[int, int], list[Profile]]


class _Entry(NamedTuple):
    """The data that the directory knows of a profile without looking at it. `number` is its place among all there ever were."""

    number: int
    id: str
    email: str
    profile_type: str
    created_at: str
    updated_at: str
    identities: tuple[tuple[str, str], ...]

    def key(self, sort: str) -> tuple[str, int]:
        """Return the key of the order."""
        return (getattr(self, sort) if sort else "", self.number)

    def is_in(self, query: Query) -> bool:
        """Return whether the query wants it, its email aside."""
        if query.profile_type not in (None, self.profile_type):
            return False
        return all(_holds(getattr(self, name), span) for name, span in query.spans.items())


class Profiles(MutableMapping[str, Profile]):
    """Whole profiles by id, in the order of their making. Callers hold the service's lock."""

    def __init__(self) -> None:
        self._kept: dict[str, Profile | Callable[[], Profile]] = {}
        self._entries: dict[str, _Entry] = {}
        self._ids: dict[int, str] = {}
        self._by_email: dict[str, tuple[str, ...]] = {}
        self._by_identity: dict[tuple[str, str], tuple[str, ...]] = {}
        self._orders: dict[tuple[str, str | None], list[tuple[str, int]]] = {}
        self._last: tuple[Query, list[_Entry]] | None = None  # the last sorted list, until something changes
        self._handed_out: dict[
            str, None
        ] = {}  # in the order of their making; it gives new ones their numbers
        self._numbers = count()

    def __getitem__(self, id: str) -> Profile:
        kept = self._kept[id]
        if callable(kept):
            kept = self._kept[id] = kept()
        self._handed_out[id] = None
        return kept

    def __setitem__(self, id: str, profile: Profile) -> None:
        self._kept[id] = profile
        self._handed_out[id] = None

    def __delitem__(self, id: str) -> None:
        del self._kept[id]
        self._handed_out.pop(id, None)
        if id in self._entries:
            self._leave(self._entries[id])

    def __iter__(self) -> Iterator[str]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def seed(self, id: str, known: Mapping[str, Any], make: Callable[[], Profile]) -> None:
        """Keep a profile that is made when it is first asked for. `known` are its own fields that it is found by."""
        self._look_again()
        if id in self._entries:
            self._leave(self._entries[id])
        self._kept[id] = make
        self._enter(_entry(next(self._numbers), {**known, "id": id}))

    def with_identity(self, handle: str, identifier: str) -> Profile | None:
        """Return the profile that holds the identity, the oldest of several."""
        self._look_again()
        ids = self._by_identity.get((handle, identifier), ())
        return self[self._in_order(ids)[0]] if ids else None

    def with_email(self, email: str) -> list[Profile]:
        """Return the profiles with this email."""
        self._look_again()
        return [self[id] for id in self._in_order(self._by_email.get(email.casefold(), ()))]

    def find(self, query: Query) -> Found:
        """Return the profiles that a query wants, to be shown and not to be changed."""
        self._look_again()
        if query.email is not None:
            return self._sorted(self._by_email.get(query.email.casefold(), ()), query)
        by = next(iter(query.spans), query.sort)
        order = self._order(by, query.profile_type)
        first, last = _within(order, query.spans.get(by, {}))
        if by != query.sort or len(query.spans) > 1:
            return self._sorted((self._ids[number] for _, number in order[first:last]), query)

        def between(start: int, end: int) -> list[Profile]:
            end = min(end, last - first)
            rows = order[first + start : first + end]
            if query.descending:
                rows = order[last - end : max(first, last - start)][::-1]
            return [self._shown(self._ids[number]) for _, number in rows]

        return Found(last - first, between)

    def _sorted(self, ids: Iterable[str], query: Query) -> Found:
        if self._last is None or self._last[0] != query:
            wanted = [entry for entry in (self._entries[id] for id in ids) if entry.is_in(query)]
            wanted.sort(key=lambda entry: entry.key(query.sort), reverse=query.descending)
            self._last = query, wanted
        rows = self._last[1]
        return Found(len(rows), lambda start, end: [self._shown(row.id) for row in rows[start:end]])

    def _shown(self, id: str) -> Profile:
        kept = self._kept[id]
        return kept() if callable(kept) else kept

    def _order(self, by: str, profile_type: str | None) -> list[tuple[str, int]]:
        if (by, profile_type) not in self._orders:
            entries = (row for row in self._entries.values() if profile_type in (None, row.profile_type))
            self._orders[by, profile_type] = sorted(entry.key(by) for entry in entries)
        return self._orders[by, profile_type]

    def _in_order(self, ids: Iterable[str]) -> list[str]:
        return sorted(ids, key=lambda id: self._entries[id].number)

    def _look_again(self) -> None:
        for id in self._handed_out:
            before = self._entries.get(id)
            number = next(self._numbers) if before is None else before.number
            entry = _entry(number, self._shown(id))
            if entry != before:
                if before is not None:
                    self._leave(before)
                self._enter(entry)
        self._handed_out.clear()

    def _enter(self, entry: _Entry) -> None:
        self._last = None
        self._entries[entry.id], self._ids[entry.number] = entry, entry.id
        if entry.email:
            self._by_email[entry.email] = (*self._by_email.get(entry.email, ()), entry.id)
        for identity in entry.identities:
            self._by_identity[identity] = (*self._by_identity.get(identity, ()), entry.id)
        for by, order in self._orders_of(entry):
            insort(order, entry.key(by))

    def _leave(self, entry: _Entry) -> None:
        self._last = None
        del self._entries[entry.id], self._ids[entry.number]
        _take_out(self._by_email, entry.email, entry.id)
        for identity in entry.identities:
            _take_out(self._by_identity, identity, entry.id)
        for by, order in self._orders_of(entry):
            del order[bisect_left(order, entry.key(by))]

    def _orders_of(self, entry: _Entry) -> Iterator[tuple[str, list[tuple[str, int]]]]:
        for (by, profile_type), order in self._orders.items():
            if profile_type in (None, entry.profile_type):
                yield by, order


def _entry(number: int, profile: Mapping[str, Any]) -> _Entry:
    return _Entry(
        number=number,
        id=profile["id"],
        email=(profile["email"] or "").casefold(),
        profile_type=profile["profile_type"],
        created_at=profile["created_at"],
        updated_at=profile["updated_at"],
        identities=tuple((row["handle"], row["identifier"]) for row in profile["identities"]),
    )


def _take_out(index: dict[Any, tuple[str, ...]], key: object, id: str) -> None:
    left = tuple(other for other in index.get(key, ()) if other != id)
    if left:
        index[key] = left
    else:
        index.pop(key, None)


def _within(order: list[tuple[str, int]], span: Span) -> tuple[int, int]:
    first, last = 0, len(order)
    for name, bound in span.items():
        if name in ("gte", "gt"):
            first = max(first, _place(order, bound, is_before=name == "gte"))
        else:
            last = min(last, _place(order, bound, is_before=name == "lt"))
    return first, max(first, last)


def _place(order: list[tuple[str, int]], bound: str, *, is_before: bool) -> int:
    return bisect_left(order, (bound, -1)) if is_before else bisect_right(order, (bound, sys.maxsize))


def _holds(value: str, span: Span) -> bool:
    return all(COMPARE[name](value, bound) for name, bound in span.items())
