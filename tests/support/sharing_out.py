"""How a run is divided: the number of processes, and the first tests of each. Tests that start real processes
(browsers, gcloud, functions) wait for them as often as they compute. So there is one process of pytest more than there
are cores. These tests come first, each kind in its own process: the run does not wait for them at the end, and shared
parts start once.
"""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")

_KINDS = (
    ("tests/browser",),
    ("tests/deploy/gcp",),
    (
        "tests/test_boot.py",
        "tests/deploy/local/test_run_and_serve.py",
        "tests/deploy/local/test_bundle.py",
        "tests/deploy/local/tasks/test_process.py",
    ),
)
_ROOT = Path(__file__).parents[2]


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """Return the number for `--numprocesses=auto`, unless the environment gives one."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    own = getattr(os, "sched_getaffinity", None)  # Linux only: the cores that this process may use
    return (len(own(0)) if own else os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put each kind at the beginning of one process's part: xdist gives each process a part of the list, and moves the ends of parts."""
    count = getattr(config, "workerinput", {}).get("workercount", 1)
    if count > 1:
        items[:] = shared_out(items, [_kind(item.path) for item in items], count)


def shared_out(items: Sequence[T], kinds: Sequence[int | None], count: int) -> list[T]:
    """Return the items in the order that gives each of `count` processes its kinds first; items of no kind fill up the rest."""
    rest = iter([item for item, kind in zip(items, kinds, strict=True) if kind is None])
    ordered: list[T] = []
    for number in range(count):
        own = [
            item
            for item, kind in zip(items, kinds, strict=True)
            if kind is not None and kind % count == number
        ]
        share = (len(items) - len(ordered)) // (count - number)
        ordered += [*own, *islice(rest, max(0, share - len(own)))]
    return [*ordered, *rest]


def _kind(path: Path) -> int | None:
    name = path.relative_to(_ROOT).as_posix() if path.is_relative_to(_ROOT) else ""
    return next((number for number, places in enumerate(_KINDS) if name.startswith(places)), None)
