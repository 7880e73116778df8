"""Counts the acts, faults and deaths over all histories of a run: one that never happens proves nothing. A few hundred
histories are too few for the rarest; `make histories` has enough.
"""

import json
from collections import Counter

import pytest

from tests.world.plans import ALL_ACTS, ALL_DEATHS, ALL_FAULTS

FIRED, BATCHES, QUICK_BATCHES = "fired", 30, 3
ENOUGH = BATCHES - QUICK_BATCHES  # the number of histories in `make histories`


def wanted() -> list[str]:
    """Return the names of everything that must happen in a run of enough batches."""
    return [*(f"act {name}" for name in ALL_ACTS), *ALL_FAULTS, *ALL_DEATHS]


class _Counting:
    """Adds the reports of the batches from all processes."""

    def __init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self.batches = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in the report of a batch."""
        for name, value in report.user_properties:
            if name == FIRED and report.when == "call":
                self.fired.update(json.loads(str(value)))
                self.batches += 1

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Fail the run if enough batches were lived and something never happened."""
        if self.batches < ENOUGH:
            return
        missing = [what for what in wanted() if not self.fired[what]]
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if missing and reporter is not None:
            reporter.write_line(
                f"\nThis never happened in the simulated world: {', '.join(missing)}", red=True
            )
            session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_configure(config: pytest.Config) -> None:
    """Count where the reports of all workers come together."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Counting(), "simulated world")
