"""How a run is shared out among processes (support/sharing_out.py)."""

from pathlib import Path

import pytest

from tests.support import sharing_out
from tests.support.sharing_out import pytest_xdist_auto_num_workers, shared_out

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("count", "shares"),
    [
        (2, ["acf12", "b3456"]),
        (3, ["af1", "b23", "c456"]),
        (4, ["af", "b1", "c2", "3456"]),
    ],
)
def test_each_process_begins_with_its_kinds_and_no_test_is_lost_or_comes_twice(
    count: int, shares: list[str]
) -> None:
    kinds = {"a": 0, "b": 1, "c": 2, "f": 0}
    ordered = shared_out("12a3b4c56f", [kinds.get(name) for name in "12a3b4c56f"], count)
    assert "".join(ordered) == "".join(shares)


def test_more_tests_with_a_kind_than_a_process_is_given_stay_together() -> None:
    assert shared_out("aaaa1b", [0, 0, 0, 0, None, 1], 3) == list("aaaab1")


def test_every_place_of_a_kind_is_there() -> None:
    assert [place for kind in sharing_out._KINDS for place in kind if not (ROOT / place).exists()] == []


def test_the_environment_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PYTEST_XDIST_AUTO_NUM_WORKERS", raising=False)
    assert (pytest_xdist_auto_num_workers() or 0) > 1
    monkeypatch.setenv("PYTEST_XDIST_AUTO_NUM_WORKERS", "7")
    assert pytest_xdist_auto_num_workers() is None
