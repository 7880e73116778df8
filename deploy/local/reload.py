"""Starts functions again when their source changes: those whose folder has changed, or all of them if `shared/` has."""

import threading
from collections.abc import Callable, Collection, Iterable
from pathlib import Path

from deploy.local.processes import StartError
from deploy.staging import REPOSITORY

_SETTLED_MS = 300  # an editor that writes several files, or git that writes many, is one change
_STAGED = ("functions", "shared")


class Reload:
    """Watches the source of the functions in a thread, from `start` until `stop`.

    `restart` gets the names of the functions to start again; `say` gets a line about the change, and one when they
    answer.
    """

    def __init__(
        self,
        functions: Collection[str],
        restart: Callable[[Collection[str]], None],
        say: Callable[[str], None],
        *,
        repository: Path = REPOSITORY,
    ) -> None:
        self._functions = functions
        self._restart = restart
        self._say = say
        self._repository = repository.resolve()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="reload", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        import watchfiles  # noqa: F401 - here, so that the thread watches at once

        self._thread.start()

    def stop(self) -> None:
        """Stop watching. Safe to call again."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        from watchfiles import PythonFilter, watch

        folders = [self._repository / name for name in _STAGED]
        also = (".html", ".css", ".js", ".toml", ".json", ".yaml")
        for changes in watch(
            *folders,
            watch_filter=PythonFilter(extra_extensions=also),
            debounce=_SETTLED_MS,
            stop_event=self._stopping,
            raise_interrupt=False,
        ):
            self._react(sorted({Path(path) for _kind, path in changes}))

    def _react(self, paths: list[Path]) -> None:
        shown = [path.relative_to(self._repository) for path in paths]
        names = concerned(shown, self._functions)
        if not names:
            return
        more = f" and {len(shown) - 1} more" if len(shown) > 1 else ""
        what = "every function starts" if len(names) == len(self._functions) else f"{', '.join(names)} starts"
        self._say(f"{shown[0]}{more} changed: {what} again.")
        try:
            self._restart(names)
        except StartError as error:
            self._say(str(error))
        else:
            self._say("Ready again.")


def concerned(paths: Iterable[Path], functions: Collection[str]) -> list[str]:
    """Return the functions that are staged from one of these paths, which begin at the repository.

    >>> concerned([Path("functions/admin/main.py")], ["admin", "install"])
    ['admin']
    >>> concerned([Path("shared/logs.py")], ["admin", "install"])
    ['admin', 'install']
    """
    folders = {path.parts[:2] for path in paths}
    if any(parts[0] == "shared" for parts in folders):
        return list(functions)
    return [name for name in functions if ("functions", name) in folders]
