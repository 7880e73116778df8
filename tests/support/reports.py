"""Makes every test report fit to travel from the process that made it: tests print half surrogate pairs on purpose, and no encoding takes them."""

from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape the characters in a test's output that UTF-8 cannot express."""
    report = yield
    report.sections = [(title, _written(text)) for title, text in report.sections]
    return report


def _written(text: str) -> str:
    return text.encode(errors="backslashreplace").decode()
