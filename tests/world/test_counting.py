"""A run of enough batches fails if an act, a fault or a death never happened.

`conftest.py` counts; this test removes one from the counts.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.world.conftest import ENOUGH, FIRED, wanted
from tests.world.plans import ALL_ACTS, ALL_DEATHS, ALL_FAULTS

_ROOT = Path(__file__).resolve().parents[2]
_BATCH = """
import pytest

@pytest.mark.parametrize("batch", range({batches}))
def test_a_batch(batch, record_property):
    record_property({name!r}, {fired!r})
"""


def run_of_batches(folder: Path, fired: dict[str, int], batches: int) -> tuple[int, str]:
    """Return the exit status and the output of a run of pytest in which each batch reports this."""
    text = _BATCH.format(batches=batches, name=FIRED, fired=json.dumps(fired))
    (folder / "test_batches.py").write_text(text)
    (folder / "pytest.ini").write_text("[pytest]\n")
    loaded = ["-ptests.world.conftest", "-pno:cacheprovider", "-pno:schemathesis"]
    command = [sys.executable, "-m", "pytest", "-q", *loaded, "--rootdir", str(folder), str(folder)]
    done = subprocess.run(command, cwd=_ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize(
    "missing", [f"act {ALL_ACTS[0]}", ALL_FAULTS[0], ALL_DEATHS[-1], ""], ids=lambda name: name or "nothing"
)
def test_a_run_in_which_something_never_happened_fails_and_says_what(tmp_path: Path, missing: str) -> None:
    status, said = run_of_batches(tmp_path, {name: 1 for name in wanted() if name != missing}, ENOUGH)
    assert status == bool(missing)
    assert (f"This never happened in the simulated world: {missing}\n" in said) is bool(missing)


def test_a_run_of_some_batches_alone_says_nothing_of_what_the_others_would_have_shown(tmp_path: Path) -> None:
    assert run_of_batches(tmp_path, {}, ENOUGH - 1)[0] == 0


def test_every_act_fault_and_death_that_there_is_is_wanted() -> None:
    assert len(wanted()) == len({*ALL_ACTS}) + len({*ALL_FAULTS}) + len({*ALL_DEATHS})
