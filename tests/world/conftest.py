"""Counts, over all histories of a run, what has happened in them: an act, a fault or a death that never comes proves nothing.

A few hundred are too few for the rarest; `make histories` has enough.
"""

import json
from collections import Counter

import pytest

from tests.world.plans import ALL_ACTS, ALL_DEATHS, ALL_FAULTS

FIRED, BATCHES, QUICK_BATCHES = "fired", 30, 3
ENOUGH = BATCHES - QUICK_BATCHES  # what `make histories` lives


def wanted() -> list[str]:
    """Return what has to happen in a run of enough batches, by the names under which it is counted."""
    return [*(f"act {name}" for name in ALL_ACTS), *ALL_FAULTS, *ALL_DEATHS]


class _Counting:
    """Adds up what the batches report, wherever they ran."""

    def __init__(self) -> None:
        self.fired: Counter[str] = Counter()
        self.batches = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in what a batch has seen."""
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
