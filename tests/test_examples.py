"""The examples that Hypothesis tries are the same everywhere (support/examples.py), and only they."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TEST = """
from hypothesis import given, strategies

@given(strategies.text() | strategies.integers())
def test_it(value):
    print(repr(value))
"""
CONSTANTS = "WORDS = [" + ", ".join(f"'canary {number}'" for number in range(50)) + "]\n"
Tried = Callable[..., str]


@pytest.fixture
def tried(tmp_path: Path) -> Tried:
    """Return what runs a property in a process of its own and returns the examples that were tried."""
    (tmp_path / "test_it.py").write_text(TEST)
    (tmp_path / "product.py").write_text(CONSTANTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    def tried(*options: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-s", "-p", "tests.support.examples", "-p", "no:cacheprovider", *options, "test_it.py"],
            cwd=tmp_path, env={"PYTHONPATH": f"{ROOT}:{tmp_path}", **environment}, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        return done.stdout.rpartition("\n1 passed")[0]

    return tried


def test_the_examples_are_the_same_in_ci_beside_other_modules_and_at_every_run(tried: Tried) -> None:
    first = tried(PYTHONHASHSEED="1")
    assert first.count("\n") > 50
    assert tried(PYTHONHASHSEED="2", CI="true") == first
    assert tried("-p", "product") == first


def test_whoever_asks_for_others_gets_others(tried: Tried) -> None:
    assert tried("--hypothesis-profile=new") != tried("--hypothesis-profile=new")
