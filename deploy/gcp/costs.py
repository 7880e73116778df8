"""The highest cost of the instances in a month, compared with the ceiling. It reads costs.yaml and calls nothing."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field

from deploy.gcp.preflight import Finding
from deploy.staging import Function

VARIABLE = "COST_CEILING"  # dollars a month, for one environment
_HOURS = 730  # of a month, as Google's own price tables have it
_SECONDS = 3600
_UNITS = {"Mi": 1 / 1024, "Gi": 1}


class MillionCalls(BaseModel):
    """The cost of a million calls in dollars, without the instances that serve them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    public: float = Field(gt=0)
    worker: float = Field(gt=0)


class Costs(BaseModel):
    """All of costs.yaml."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    ceiling: int = Field(gt=0)
    vcpu_second: float = Field(gt=0)
    gib_second: float = Field(gt=0)
    at_rest: int = Field(ge=0)
    million_calls: MillionCalls
    busiest: int = Field(gt=0)

    def month(self, function: Function) -> float:
        """Return the cost of all instances of a function in a month in which each is busy all the time."""
        return function.max_instances * self._instance(function) * _SECONDS * _HOURS

    def months(self, functions: Iterable[Function]) -> int:
        """Return the cost of the whole environment in such a month, without the cost of each call."""
        return round(sum(map(self.month, functions)) + self.at_rest)

    def hour_of_calls(self, functions: Iterable[Function]) -> int:
        """Return the cost of the calls of one hour in which every instance is busy, without the instances."""
        millions = {True: self.million_calls.public, False: self.million_calls.worker}
        seconds = (
            function.max_instances * self.busiest / 1e6 * millions[function.public] for function in functions
        )
        return round(sum(seconds) * _SECONDS)

    def _instance(self, function: Function) -> float:
        return function.cpu * self.vcpu_second + _gib(function.memory) * self.gib_second


def load() -> Costs:
    """Return the content of costs.yaml."""
    path = Path(__file__).with_name("costs.yaml")
    return Costs.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def ceiling(costs: Costs, given: Mapping[str, str]) -> int:
    """Return the ceiling of this environment: the given one, else the one in costs.yaml."""
    return int(given.get(VARIABLE) or costs.ceiling)


def told(costs: Costs, functions: Mapping[str, Function], most: int) -> list[str]:
    """Return the lines of a plan about its cost."""
    rows = functions.values()
    return [
        f"at most {costs.months(rows):,} dollars a month, if every instance is busy all the time; the ceiling is {most:,}",
        f"calls that keep them all busy cost {costs.hour_of_calls(rows):,} dollars an hour more",
    ]


def listed(costs: Costs, functions: Mapping[str, Function], most: int) -> dict[str, Any]:
    """Return the same as data."""
    rows = functions.values()
    return {
        "ceiling": most,
        "month_at_most": costs.months(rows),
        "instances": {row.name: round(costs.month(row)) for row in rows},
        "hour_of_calls_at_most": costs.hour_of_calls(rows),
    }


def findings(costs: Costs, functions: Mapping[str, Function], most: int) -> list[Finding]:
    """If the instances may cost more than the ceiling, return that, and the setting to lower."""
    sum = costs.months(functions.values())
    if sum <= most:
        return []
    dearest = max(functions.values(), key=costs.month)
    return [
        Finding(
            "problem",
            f"the instances may cost {sum:,} dollars a month, more than the ceiling of {most:,}: lower max_instances in "
            f"deploy/gcp/functions.yaml ({dearest.name} may cost {costs.month(dearest):,.0f}), or raise {VARIABLE}",
        )
    ]


def _gib(memory: str) -> float:
    """Return the GiB of a row's `memory`.

    >>> _gib("512Mi"), _gib("1Gi")
    (0.5, 1)
    """
    return int(memory[:-2]) * _UNITS[memory[-2:]]
