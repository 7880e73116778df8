"""The differences between recorded answers: one from another, or all of one run from all of another, operation by operation. Pure.

It compares statuses, codes, names of headers, the form of bodies, and the values of the few headers that state a rule.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from deploy.rehearsal.answers import RecordedAnswer
from deploy.rehearsal.shapes import Shape, differences, merged, shape_of

# They depend on the number of calls and the state of the service, not on the revision.
_CHANCE = frozenset({401, 408, 425, 429})
_RETIREMENT = "x-klaviyo-api-retirement-date"
_RULES = ("ratelimit-limit", "www-authenticate")  # headers whose value is a rule, not a count


@dataclass(frozen=True)
class Difference:
    """One difference of an operation: its place and the values on both sides; "" means that there is no value."""

    operation: str
    place: str
    one: str
    other: str

    def __str__(self) -> str:
        return f"{self.operation}: {self.place}: {self.one or 'nothing'} became {self.other or 'nothing'}"


def outcome(answer: RecordedAnswer) -> str:
    """Return status and codes.

    >>> outcome(RecordedAnswer("Klaviyo", "POST", "/api/profiles", 409, {}, {"errors": [{"code": "duplicate_profile"}]}))
    '409 duplicate_profile'
    """
    return " ".join([str(answer.status), *answer.codes])


def unlike(one: Sequence[RecordedAnswer], other: Sequence[RecordedAnswer]) -> Iterator[Difference]:
    """Yield where answers of one outcome of one operation differ from others of the same outcome and operation."""
    said = f"{one[0].service} {one[0].operation}"
    names = _headers(one), _headers(other)
    for name in sorted(names[0] ^ names[1]):
        yield Difference(
            said, f"header {name}", name if name in names[0] else "", name if name in names[1] else ""
        )
    for name in _RULES:
        values = _values(one, name), _values(other, name)
        if all(values) and values[0] != values[1]:
            yield Difference(said, f"header {name}", *map(" or ".join, map(sorted, values)))
    kinds = {bool(answer.text) for answer in one}, {bool(answer.text) for answer in other}
    if kinds[0] != kinds[1]:
        yield Difference(said, "body", _form(kinds[0]), _form(kinds[1]))
        return
    for place, mine, theirs in differences(_shape(one), _shape(other)):
        yield Difference(said, f"body {place}".strip(), mine, theirs)


def compared(one: Iterable[RecordedAnswer], other: Iterable[RecordedAnswer]) -> list[Difference]:
    """Return where the answers of two runs of the same calls differ. A call that only one of them has made says nothing."""
    before, after = _by_outcome(one), _by_outcome(other)
    found: list[Difference] = []
    for operation in sorted(before.keys() & after.keys()):
        was, becomes = before[operation], after[operation]
        if was.keys() != becomes.keys():
            found.append(Difference(operation, "answers", _listed(was), _listed(becomes)))
        for name in sorted(was.keys() & becomes.keys()):
            found += [
                Difference(operation, f"{name}, {row.place}", row.one, row.other)
                for row in unlike(was[name], becomes[name])
            ]
    return found


def _by_outcome(answers: Iterable[RecordedAnswer]) -> dict[str, dict[str, list[RecordedAnswer]]]:
    found: dict[str, dict[str, list[RecordedAnswer]]] = {}
    for answer in answers:
        if answer.status not in _CHANCE and answer.status < 500:
            outcomes = found.setdefault(f"{answer.service} {answer.operation}", {})
            outcomes.setdefault(outcome(answer), []).append(answer)
    return found


def _listed(outcomes: Iterable[str]) -> str:
    return ", ".join(sorted(outcomes))


def _headers(answers: Iterable[RecordedAnswer]) -> set[str]:
    return {name for answer in answers for name in answer.headers} - {_RETIREMENT}


def _values(answers: Iterable[RecordedAnswer], name: str) -> set[str]:
    return {answer.headers[name] for answer in answers if name in answer.headers}


def _shape(answers: Iterable[RecordedAnswer]) -> Shape:
    return merged([shape_of(answer.body) for answer in answers]) or shape_of(None)


def _form(are_text: set[bool]) -> str:
    return " or ".join(sorted("no JSON" if is_text else "JSON" for is_text in are_text))
