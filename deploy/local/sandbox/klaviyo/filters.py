"""Klaviyo's filter expressions: `equals(email,"a@example.org"),greater-than(created,2026-01-01T00:00:00Z)`. It reads
them and selects rows; each endpoint decides its fields.

Klaviyo's page "API overview" (filtering) and `x-klaviyo-filters` of the OpenAPI file. A comma joins clauses as AND; a
field that cannot be filtered is refused with the names of those that can.

Assumed (filters-are-exact, emails-have-no-case):
strings stand in single or double quotes, with a backslash before a quote inside; spaces around a comma do not
matter; emails are compared without regard to case, everything else exactly.
"""

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from deploy.local.sandbox.klaviyo.documents import InvalidParameterError
from deploy.local.sandbox.klaviyo.events import parse_time

_STRING = r'"(?:[^"\\]|\\.)*"' + r"|'(?:[^'\\]|\\.)*'"
_LIST = rf"\[\s*(?:(?:{_STRING})\s*(?:,\s*(?:{_STRING})\s*)*)?\]"
_CLAUSE = re.compile(rf"\s*([a-z-]+)\(\s*([\w.]+)\s*(?:,\s*({_STRING}|{_LIST}|[^\s\"'\[\](),]+)\s*)?\)\s*")
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "greater-than": operator.gt,
    "greater-or-equal": operator.ge,
    "less-than": operator.lt,
    "less-or-equal": operator.le,
}
Row = TypeVar("Row")
BEFORE_AND_AFTER = ("greater-than", "less-than")
COMPARISONS = tuple(_COMPARE)


@dataclass(frozen=True)
class Field:
    """A field that can be filtered: its operators, and the kind of its values. `read` finds it in a row."""

    read: Callable[[Any], Any]
    operators: tuple[str, ...]
    kind: Literal["string", "time", "number", "none"] = "string"
    single: bool = True


@dataclass(frozen=True)
class Clause:
    """One condition. `values` are Unix seconds for times; empty for `has`."""

    operator: str
    field: str
    values: tuple[Any, ...]


def parse(text: str, fields: Mapping[str, Field], resource: str) -> list[Clause]:
    """Return the clauses of a filter.

    Raises:
        InvalidParameterError: it cannot be read, or uses a field or operator that `fields` does not offer.
    """
    clauses, position = [], 0
    while match := _CLAUSE.match(text, position):
        clauses.append(_clause(match, fields, resource))
        position = match.end()
        if position == len(text):
            return clauses
        if text[position] != ",":
            break
        position += 1
    raise InvalidParameterError("The filter cannot be read.", "filter")


def matching(rows: Iterable[Row], clauses: Iterable[Clause], fields: Mapping[str, Field]) -> list[Row]:
    """Return the rows that satisfy every clause, in their order."""
    tests = [(fields[clause.field].read, _test(clause)) for clause in clauses]
    return [row for row in rows if all(holds(read(row)) for read, holds in tests)]


def _clause(match: re.Match[str], fields: Mapping[str, Field], resource: str) -> Clause:
    name, field_name, written = match.groups()
    field = fields.get(field_name)
    if field is None:
        offered = ", ".join(fields)
        raise InvalidParameterError(
            f"'{field_name}' is not a filterable field for the resource '{resource}'. Filterable fields: {offered}",
            "filter",
        )
    if name not in field.operators:
        offered = ", ".join(field.operators)
        raise InvalidParameterError(
            f"'{field_name}' cannot be filtered by '{name}'. Operators: {offered}", "filter"
        )
    return Clause(name, field_name, _values(name, field_name, field, written))


def _values(name: str, field_name: str, field: Field, written: str | None) -> tuple[Any, ...]:
    if (written is None) != (field.kind == "none"):
        raise InvalidParameterError(f"'{name}' has the wrong number of arguments.", "filter")
    if written is None:
        return ()
    if written.startswith("["):
        if field.kind == "string" and (values := tuple(_unquoted(text) for text in _strings(written))):
            return values
    elif name != "any" and field.single and (value := _single(field.kind, written)) is not None:
        return (value,)
    raise InvalidParameterError(f"'{field_name}' is filtered by a value of another kind.", "filter")


def _single(kind: str, written: str) -> str | float | None:
    quoted = written[0] in "\"'"
    if kind == "string":
        return _unquoted(written) if quoted else None
    if kind == "time":
        return None if quoted else parse_time(written)
    try:
        return None if quoted else float(written)
    except ValueError:
        return None


def _strings(written: str) -> list[str]:
    return re.findall(_STRING, written)


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1])


def _test(clause: Clause) -> Callable[[Any], bool]:
    if clause.operator == "has":
        return lambda value: True
    if clause.operator in ("equals", "any"):
        wanted = {_folded(clause.field, value) for value in clause.values}
        return lambda value: value is not None and _folded(clause.field, value) in wanted
    compare, bound = _COMPARE[clause.operator], clause.values[0]
    return lambda value: value is not None and compare(value, bound)


def _folded(field: str, value: Any) -> Any:
    return value.casefold() if field == "email" and isinstance(value, str) else value
