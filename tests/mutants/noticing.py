"""Runs a module's own tests on a mutant of it, in a copy of the repository, and says whether they notice."""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic

import pytest

# What most tests import, and what takes longest: it is loaded once, and each run starts with it. Nothing of ours, for that changes.
_LOADED = ["pytest", "flask", "requests", "pydantic", "google.cloud.tasks_v2", "google.cloud.firestore_v1"]
_PARTS = ("shared", "functions", "deploy", "tests")


class Copy:
    """A copy of the repository in which modules are changed and tested, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = multiprocessing.get_context("forkserver")
        self._runs.set_forkserver_preload(_LOADED)

    def notices(self, tests: list[str], *, within: float) -> bool:
        """Return whether a test fails, or all together take longer than `within` seconds."""
        run = self._runs.Process(target=_run, args=(str(self._folder), tests))
        run.start()
        run.join(within)
        if run.is_alive():
            with suppress(ProcessLookupError):
                os.killpg(run.pid or 0, signal.SIGKILL)
            run.join()
        return run.exitcode != 0

    def seconds(self, tests: list[str]) -> float:
        """Return how long the tests take on the code as it is.

        Raises:
            ValueError: they fail.
        """
        began = monotonic()
        if tests and self.notices(tests, within=1800):
            raise ValueError(f"Without any mutant a test fails in {' '.join(tests)}")
        return monotonic() - began

    @contextmanager
    def changed(self, module: str, code: str) -> Iterator[None]:
        """Let a module have other code for a while."""
        path = self._folder / module
        original = path.read_text(encoding="utf-8")
        path.write_text(code, encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(original, encoding="utf-8")


@contextmanager
def copied(repository: Path) -> Iterator[Copy]:
    """Yield a copy of the repository in a temporary folder."""
    with TemporaryDirectory(prefix="mutants-") as folder:
        for part in _PARTS:
            if (repository / part).exists():
                shutil.copytree(
                    repository / part, Path(folder, part), ignore=shutil.ignore_patterns("__pycache__")
                )
        for path in repository.iterdir():
            if path.is_file():
                shutil.copy(path, folder)
        yield Copy(Path(folder))


def _run(folder: str, tests: list[str]) -> None:
    """Run the tests in the copy, as a process of its own whose examples are the same each time."""
    # One server forks for everybody in a process of tests, and others may have let it import what is ours.
    for name in [name for name in sys.modules if name.partition(".")[0] in _PARTS]:
        del sys.modules[name]
    os.setsid()
    os.chdir(folder)
    os.environ.update(CI="true", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.path[:] = [folder, *(path for path in sys.path if not Path(path, "shared").is_dir())]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # Every run would load it, and one test in all has a use for it, which loads it itself.
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    os._exit(int(pytest.main(["--exitfirst", "--quiet", *without, *tests])))
