"""Watches the output of the whole suite for personal data and secrets.

Every personal or secret value in a test holds the word below. If the word appears in captured output, in a log file, or
in the bytes of a document store, a value has leaked, and the run fails. The message names the place, not the value.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

CANARY = "canary"
_WATCHED_FILES = ("*.log", "documents.db*")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Fail a test whose output holds a canary. `allow_canary` marks those that print one on purpose."""
    report = yield
    if report.when == "teardown" and item.get_closest_marker("allow_canary") is None:
        leaks = [title for title, text in report.sections if title.startswith("Captured") and CANARY in text]
        if leaks:
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} let a personal or secret value out: see {', '.join(leaks)}"
    return report


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run if a process that was started by a test wrote a canary into its log or a store."""
    base = getattr(session.config, "_tmp_path_factory").getbasetemp()  # noqa: B009 - pytest offers no public way
    leaks = [str(path.relative_to(base)) for path in _leaking_files(base)]
    if leaks:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            reporter.write_line(f"\nPersonal or secret values in: {', '.join(leaks)}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _leaking_files(base: Path) -> Iterator[Path]:
    for pattern in _WATCHED_FILES:
        for path in base.rglob(pattern):
            if path.is_file() and CANARY.encode() in path.read_bytes():
                yield path
