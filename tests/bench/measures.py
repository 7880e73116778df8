"""Numbers and how they are said: medians, spreads, ratios, aims. Pure; nothing here measures."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Spread:
    """Repetitions of one measurement: their median, least and most, in `unit`."""

    median: float
    least: float
    most: float
    unit: str

    @classmethod
    def of(cls, values: Sequence[float], unit: str) -> "Spread":
        """Sum up at least one repetition."""
        return cls(statistics.median(values), min(values), max(values), unit)

    def __str__(self) -> str:
        numbers = f"{_shown(self.median)} ({_shown(self.least)}..{_shown(self.most)})"
        return f"{numbers} {self.unit}"


@dataclass(frozen=True)
class Aim:
    """The aim for a number.

    >>> Aim("<=", 1.5).is_met_by(1.4), Aim(">=", 0.5).is_met_by(0.4), Aim("=", 1).is_met_by(1.0)
    (True, False, True)
    """

    relation: Literal["<=", ">=", "="]
    bound: float

    def is_met_by(self, value: float) -> bool:
        """Return whether the number, unrounded, reaches the aim."""
        match self.relation:
            case "<=":
                return value <= self.bound
            case ">=":
                return value >= self.bound
            case "=":
                return math.isclose(value, self.bound)

    def __str__(self) -> str:
        return f"{self.relation} {self.bound:g}"


@dataclass(frozen=True)
class Ratio:
    """Ours over the baseline's, of medians."""

    what: str
    ours: Spread
    baseline: Spread
    aim: Aim | None = None
    note: str = ""

    @property
    def value(self) -> float:
        """The ratio."""
        return self.ours.median / self.baseline.median

    def __str__(self) -> str:
        absolute = f"{self.ours} against {self.baseline}"
        return _line(self.what, f"{self.value:.2f}", self.aim, self.value, absolute, self.note)


@dataclass(frozen=True)
class Count:
    """How often something happened for each of something else."""

    what: str
    value: float
    aim: Aim | None = None
    note: str = ""

    def __str__(self) -> str:
        return _line(self.what, f"{self.value:.3g}", self.aim, self.value, "", self.note)


@dataclass(frozen=True)
class Note:
    """A sentence that belongs to the numbers."""

    text: str

    def __str__(self) -> str:
        return f"  ({self.text})"


Finding = Ratio | Count | Note


def percentile(ordered: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values, given in order, do not exceed (nearest rank).

    >>> percentile([1, 2, 3, 4], 0.5), percentile([1, 2, 3, 4], 0.99)
    (2, 4)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def _line(what: str, number: str, aim: Aim | None, value: float, absolute: str, note: str) -> str:
    verdict = "" if aim is None else f"aim {aim}: {'met' if aim.is_met_by(value) else 'MISSED'}"
    rest = "; ".join(part for part in (absolute, note) if part)
    return f"  {what:<58} {number:>5}  {verdict:<18} {rest}".rstrip()


def _shown(number: float) -> str:
    """Return three significant digits, without an exponent.

    >>> _shown(0.41234), _shown(41.234), _shown(1234.5)
    ('0.412', '41.2', '1234')
    """
    if number == 0:
        return "0"
    return f"{number:.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"
