"""The watch for leaks, watched: it must fail a run that leaks, and only such a run."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PRINTS = "def test_it() -> None:\n    print({word!r})\n"
LOGS = "import logging\ndef test_it() -> None:\n    logging.getLogger().error({word!r})\n"
WRITES = "def test_it(tmp_path) -> None:\n    (tmp_path / 'worker.log').write_text({word!r})\n"
STORES = "def test_it(tmp_path) -> None:\n    (tmp_path / 'documents.db').write_bytes(b'\\x00' + {word!r}.encode())\n"


@pytest.fixture
def elsewhere() -> Iterator[Path]:
    """Return a folder that this run's own watch does not look into."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


@pytest.mark.parametrize("source", [PRINTS, LOGS, WRITES, STORES], ids=["output", "log", "log file", "store"])
@pytest.mark.parametrize(
    ("word", "status"), [("a-canary-token", 1), ("a-token", 0)], ids=["leaks", "does not"]
)
def test_a_run_fails_exactly_when_something_personal_gets_out(
    elsewhere: Path, source: str, word: str, status: int
) -> None:
    (elsewhere / "test_it.py").write_text(source.format(word=word))
    (elsewhere / "pytest.ini").write_text("[pytest]\nmarkers = allow_canary\n")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.support.canary", "--basetemp", elsewhere / "base", "test_it.py"],
        cwd=elsewhere, env={"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == status
    assert word.encode() not in done.stdout or status == 1
