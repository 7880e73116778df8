"""A run that hears no signals starts processes that do (support/signals.py)."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST = """
import os, signal, subprocess

def test_it() -> None:
    for name in ("HUP", "INT", "QUIT"):
        os.kill(os.getpid(), getattr(signal, f"SIG{name}"))  # as before, the run itself does not hear it
        assert subprocess.run(["sh", "-c", f"kill -{name} $$"], check=False).returncode != 0
"""
IGNORING = "trap '' HUP INT QUIT; exec \"$@\""


def test_a_child_of_a_run_that_ignores_signals_hears_them(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    pytest = [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.signals", "test_it.py"]
    done = subprocess.run(
        ["sh", "-c", IGNORING, "sh", *pytest],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
