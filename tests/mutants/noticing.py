"""Runs tests on mutants of a module, in a copy of the repository, and says whether they notice."""

import gc
import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from types import CodeType, FunctionType

import pytest

# What most tests import, and what takes longest: it is loaded once, and each run starts with it. Nothing of ours, for that changes.
_LOADED = ["pytest", "flask", "requests", "pydantic", "google.cloud.tasks_v2", "google.cloud.firestore_v1"]
_PARTS = ("shared", "functions", "deploy", "tests")
_PASSED = 0
_LONGEST = 1800.0


class Tests:
    """Test files that are collected once, and run in a fork for each mutant of a module.

    A fork gives the functions of the module their changed code. A change outside them would need a new import, so all is collected anew.
    """

    def __init__(self, folder: Path, module: str, tests: list[str]) -> None:
        self._folder, self._module, self._tests = folder, module, tests
        self._path = folder / module
        self._original = self._path.read_text(encoding="utf-8")
        self._collected: Connection | None = None
        self._within = 0.0

    def notice(self, code: str) -> bool:
        """Return whether a test fails on the changed module, or all together take far longer than on the module as it is.

        Raises:
            ValueError: a test fails on the module as it is.
        """
        if not self._tests:
            return False
        if self._collected is None:
            self._collected = self._begun()
            began = monotonic()
            if self._status(self._collected, self._original, _LONGEST) != _PASSED:
                raise ValueError(f"Without any mutant a test fails in {' '.join(self._tests)}")
            self._within = 10 + 5 * (monotonic() - began)
        if _swaps(self._original, code, str(self._path)) is not None:
            return self._status(self._collected, code, self._within) != _PASSED
        self._path.write_text(code, encoding="utf-8")
        try:
            return self._status(self._begun(), self._original, self._within + 60) != _PASSED
        finally:
            self._path.write_text(self._original, encoding="utf-8")

    def _begun(self) -> Connection:
        """Return the end of a line to a new process that collects the tests."""
        runs = multiprocessing.get_context("forkserver")
        runs.set_forkserver_preload(_LOADED)
        ours, theirs = runs.Pipe()
        runs.Process(
            target=_collect, args=(theirs, str(self._folder), str(self._path), self._tests), daemon=True
        ).start()
        theirs.close()
        return ours

    def _status(self, collected: Connection, code: str, within: float) -> int:
        """Return the exit status of the tests, or another than a pass if they cannot be collected."""
        try:
            collected.send((self._path.read_text(encoding="utf-8"), code, within))
            return int(collected.recv())
        except (EOFError, ConnectionError):
            return int(pytest.ExitCode.INTERNAL_ERROR)


class Copy:
    """A copy of the repository in which modules are changed and tested, one at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def tests(self, module: str, tests: list[str]) -> Tests:
        """Return those tests, to be run on mutants of the module."""
        return Tests(self._folder, module, tests)


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


class _Forking:
    """The plugin that holds a collected session, and goes on with the tests in a fork for each mutant that comes."""

    def __init__(self, line: Connection, path: str) -> None:
        self._line, self._path = line, path

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self) -> None:
        """Let no property test look for the smallest example: the first is enough."""
        from hypothesis import Phase, settings

        name = f"{settings.get_current_profile_name()}, as found"
        settings.register_profile(name, settings(), phases=[Phase.explicit, Phase.generate])
        settings.load_profile(name)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Return nothing in a fork, whose tests run then, and that there is no more to run when nothing more is asked."""
        if session.testsfailed:
            return None
        with suppress(EOFError, ConnectionError):
            while True:
                original, code, within = self._line.recv()
                child = os.fork()
                if not child:
                    os.setsid()
                    _swap(_swaps(original, code, self._path) or {}, self._path)
                    return None
                self._line.send(_ended(child, within))
        os._exit(0)


def _ended(child: int, within: float) -> int:
    """Return the exit status of a fork, which is killed with all that it has started if it takes too long."""
    until = monotonic() + within
    while monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return status
        # A wait for a signal that never comes to be handled: the death of the fork ends it early.
        signal.sigtimedwait({signal.SIGCHLD}, 0.05)
    with suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    return os.waitpid(child, 0)[1]


def _collect(line: Connection, folder: str, path: str, tests: list[str]) -> None:
    """Collect the tests in the copy, as a process of its own, and run them in forks whose examples are the same each time."""
    # One server forks for everybody in a process of tests, and others may have let it import what is ours.
    for name in [name for name in sys.modules if name.partition(".")[0] in _PARTS]:
        del sys.modules[name]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD})
    os.chdir(folder)
    os.environ.update(CI="true", PYTHONDONTWRITEBYTECODE="1")
    sys.dont_write_bytecode = True
    sys.path[:] = [folder, *(path for path in sys.path if not Path(path, "shared").is_dir())]
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    # Every run would load it, and one test in all has a use for it, which loads it itself.
    without = ["-p", "no:cacheprovider", "-p", "no:schemathesis"]
    os._exit(int(pytest.main(["--exitfirst", "--quiet", *without, *tests], [_Forking(line, path)])))


def _swap(codes: dict[tuple[str, int], CodeType], path: str) -> None:
    """Give the functions of a module their other code."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    gc.unfreeze()  # what is frozen is not listed
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename == path:
            code = codes.get((function.__qualname__, function.__code__.co_firstlineno))
            if code:
                function.__code__ = code


def _swaps(original: str, changed: str, path: str) -> dict[tuple[str, int], CodeType] | None:
    """Return the code of each function of the changed module, or nothing if more has changed than the bodies of functions."""
    try:
        before, after = (compile(text, path, "exec", dont_inherit=True) for text in (original, changed))
    except SyntaxError:
        return None
    old, new = _functions(before), _functions(after)
    if old.keys() != new.keys() or any(old[name].co_freevars != new[name].co_freevars for name in old):
        return None
    if _outside(before) != _outside(after):
        return None
    return {name: code for name, code in new.items() if code != old[name]}


def _functions(code: CodeType) -> dict[tuple[str, int], CodeType]:
    """Return the functions of a module and of its classes, without those inside of functions."""
    found = {}
    for inner in _codes(code):
        if inner.co_flags & _OPTIMIZED:
            found[inner.co_qualname, inner.co_firstlineno] = inner
        else:
            found.update(_functions(inner))
    return found


def _outside(code: CodeType) -> list[object]:
    """Return what a module and its classes do when they are imported."""
    inner = [_outside(inner) for inner in _codes(code) if not inner.co_flags & _OPTIMIZED]
    constants = [(type(value), value) for value in code.co_consts if not isinstance(value, CodeType)]
    return [code.co_code, code.co_names, constants, inner]


def _codes(code: CodeType) -> list[CodeType]:
    return [value for value in code.co_consts if isinstance(value, CodeType)]


# The flag of a function's code, which the bodies of modules and classes lack.
_OPTIMIZED = 0x1
