"""The largest size and time of a tenant's logic: a few thousand characters can ask for gigabytes, or for minutes. Nothing here evaluates
anything.

The size of a result is counted in copies of the data that the operation sees, and in its own characters. Only loops over lists, `cat` and
`merge` make it grow. A comparison gives one word; `and`, `or` and `if` give one of their arguments.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = Any

# A rule is measured with this when it is saved: the largest profile that Klaviyo takes.
DATA_CHARACTERS = 100_000
DATA_ITEMS = 1_000
USUAL_ITEMS = 100  # in the lists of a usual profile
MOST_STEPS = 1_000_000  # the items that loops in loops visit: well under a second
MOST_CHARACTERS = 6_000_000  # in memory, values take ten times that
_WORD = 8  # a number, true, or the text around an item

# The operators that loop over a list.
ITERATORS = frozenset({"some", "all", "none", "filter", "map", "reduce"})
# The operators that give all of their arguments, one of them, or a part of the first. The step of `reduce` can build nothing that grows.
_ALL = frozenset({"cat", "merge", "missing", "missing_some"})
_ONE = frozenset({"if", "?:", "and", "or", "max", "min", "reduce"})
_FIRST = frozenset({"filter", "substr"})


@dataclass(frozen=True)
class _Built:
    """The largest size of a value: copies of the data, and characters and items of its own."""

    copies: int = 0
    own: int = _WORD
    items: int = 0

    def characters(self, data_characters: int) -> int:
        return self.copies * data_characters + self.own


def arguments(given: object) -> list[Json]:
    """Return an operator's arguments: `{"!": x}` is short for `{"!": [x]}`."""
    return given if isinstance(given, list) else [given]


def most_characters(
    expression: Json, *, data_characters: int = DATA_CHARACTERS, data_items: int = DATA_ITEMS
) -> int:
    """Return a rough upper bound for the characters of the largest value that the expression builds from data of this size.

    In all other respects the expression must be valid for `check_logic`.

    >>> most_characters({"==": [{"var": "tier"}, "gold"]}) < 250_000
    True
    >>> most_characters({"!": {"cat": [{"var": ""}] * 1000}}) // DATA_CHARACTERS
    1000
    """
    return _Measure(data_characters, data_items).most(expression)


def most_steps(expression: Json, *, data_items: int) -> int:
    """Return a rough upper bound for the items that the expression visits in data with so many items in its lists.

    >>> most_steps({"some": [{"var": "tags"}, {"in": [{"var": ""}, ["gold", "vip"]]}]}, data_items=100)
    106
    >>> most_steps({"==": [{"var": "tier"}, "gold"]}, data_items=100)
    1
    """
    steps: int = (data_items + items_of(expression)) ** _iterators(expression)
    return steps


def items_of(value: Json) -> int:
    """Return how many items all lists within a value have."""
    if isinstance(value, list):
        return len(value) + sum(map(items_of, value))
    return sum(map(items_of, value.values())) if isinstance(value, Mapping) else 0


def _iterators(value: Json) -> int:
    """Return how deep the loops of an expression are nested."""
    if isinstance(value, list):
        return max(map(_iterators, value), default=0)
    if not isinstance(value, Mapping):
        return 0
    return max(((operator in ITERATORS) + _iterators(given) for operator, given in value.items()), default=0)


class _Measure:
    def __init__(self, data_characters: int, data_items: int) -> None:
        self._data_characters = data_characters
        self._data_items = data_items
        self._most = 0

    def most(self, expression: Json) -> int:
        self._built(expression)
        return self._most

    def _built(self, value: Json) -> _Built:
        if isinstance(value, list):
            return self._together([self._built(item) for item in value])
        if not isinstance(value, Mapping):
            return _Built(own=_WORD + (len(value) if isinstance(value, str) else 0))
        ((operator, given),) = value.items()
        return self._seen(self._given_by(operator, arguments(given)))

    def _given_by(self, operator: str, terms: list[Json]) -> _Built:
        built = [self._built(term) for term in terms]
        together = self._together(built)
        found = _Built()  # a comparison or a count gives one word
        if operator == "var":
            found = self._largest([_Built(copies=1, items=self._data_items), *built[1:]])
        elif operator == "map":
            found = self._gone_through(*built)
        elif operator in _FIRST:
            found = built[0]
        elif operator in _ONE:
            found = self._largest(built)
        elif operator in _ALL:
            found = together
        return found

    def _gone_through(self, rows: _Built, step: _Built) -> _Built:
        # The copies of all items that the steps make are, in sum, so many copies of the list.
        items = rows.items or 1
        return _Built(
            copies=step.copies * rows.copies,
            own=step.copies * rows.own + step.own * items,
            items=items,
        )

    def _together(self, parts: list[_Built]) -> _Built:
        return self._seen(
            _Built(
                copies=sum(part.copies for part in parts),
                own=sum(part.own for part in parts) + _WORD,
                items=sum(max(1, part.items) for part in parts),
            )
        )

    def _largest(self, parts: list[_Built]) -> _Built:
        return _Built(*(max(getattr(part, name) for part in parts) for name in ("copies", "own", "items")))

    def _seen(self, built: _Built) -> _Built:
        self._most = max(self._most, built.characters(self._data_characters))
        return built
