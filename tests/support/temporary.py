"""The place of a run's temporary files: in memory, if the machine has enough. On a disk, each of some thousand stores
would wait for it. The files of a successful run are removed at its end; those of the last failed run stay for a look.
"""

import os
import re
import shutil
from pathlib import Path

import pytest

_MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a folder of its user's own in it, as it does in /tmp
_MEMINFO = Path("/proc/meminfo")
_ROOM = 8 * 1024**3  # bytes; a whole run keeps a third of that


class _InMemory:
    """Remembers how a run ended, and removes its files if it succeeded."""

    def __init__(self) -> None:
        self._went_well = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Note the result, after every plugin that may still fail the run."""
        self._went_well = session.exitstatus == pytest.ExitCode.OK

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self, config: pytest.Config) -> None:
        """Remove the files, once all workers have ended."""
        kept = getattr(config, "_tmp_path_factory")._basetemp  # noqa: B009 - pytest offers no public way
        if self._went_well and kept is not None:
            shutil.rmtree(kept, ignore_errors=True)


def pytest_configure(config: pytest.Config) -> None:
    """Choose memory, unless somebody has chosen already; the workers of a run get their places from its first process."""
    if hasattr(config, "workerinput") or config.option.basetemp or "PYTEST_DEBUG_TEMPROOT" in os.environ:
        return
    if _has_room():
        os.environ["PYTEST_DEBUG_TEMPROOT"] = str(_MEMORY)
        config.pluginmanager.register(_InMemory(), "temporary files in memory")


def _has_room() -> bool:
    if not (_MEMORY.is_dir() and _MEMINFO.is_file()):
        return False
    found = os.statvfs(_MEMORY)
    available = re.search(r"^MemAvailable: +(\d+) kB$", _MEMINFO.read_text(), re.MULTILINE)
    return (
        not found.f_flag & os.ST_NOEXEC  # tests write programs
        and found.f_bavail * found.f_frsize >= _ROOM
        and available is not None
        and int(available[1]) * 1024 >= _ROOM
    )
