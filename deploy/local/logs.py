"""`make logs`: the logs of all functions of a running bundle, as one stream in the order of time, for a person or as JSON."""

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_SHOWN_AT_FIRST = 200
_EVERY_SECONDS = 0.2
_FIRST = ("severity", "message")
_TRACE = "logging.googleapis.com/"


@dataclass(frozen=True, order=True)
class Line:
    """One line of a function's log. `fields` is empty where the line is no structured one, a traceback's say."""

    at: str
    name: str
    text: str

    @property
    def fields(self) -> Mapping[str, Any]:
        """Return the fields of a structured line."""
        try:
            found = json.loads(self.text) if self.text.startswith("{") else {}
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True)
class Wanted:
    """The filter of lines: of one tenant, of one job, whose id may be cut short; "" for all."""

    tenant: str = ""
    job: str = ""

    def matches(self, line: Line) -> bool:
        """Return whether the line is wanted."""
        if not self.tenant and not self.job:
            return True
        fields = line.fields
        of_tenant = not self.tenant or fields.get("tenant") == self.tenant
        return of_tenant and str(fields.get("job", "")).startswith(self.job)


class Follower:
    """Reads the logs in a folder, each from where it was read before. A log that was put aside is read anew.

    At first no more than the last `most` bytes of each are read.
    """

    def __init__(self, folder: Path, *, most: int = sys.maxsize) -> None:
        self._folder = folder
        self._most = most
        self._read: dict[Path, int] = {}

    def new_lines(self) -> list[Line]:
        """Return the complete lines since the last time, oldest first."""
        lines: list[Line] = []
        for path in self._folder.glob("*.log"):
            size = path.stat().st_size
            start = self._read.get(path, max(0, size - self._most))
            if size < start:
                start = 0
            with path.open("rb") as log:
                log.seek(start)
                complete, newline, _rest = log.read().rpartition(b"\n")
            is_cut = path not in self._read and start > 0
            self._read[path] = start + len(complete) + len(newline)
            if is_cut:
                complete = complete.partition(b"\n")[2]
            lines += (_line(path.stem, text) for text in complete.decode(errors="replace").splitlines())
        return sorted(lines, key=lambda line: line.at)


def _line(name: str, text: str) -> Line:
    at, _, rest = text.partition(" ")
    return Line(at, name, rest)


def follow(folder: Path, wanted: Wanted, sleep: Callable[[float], None] = time.sleep) -> Iterator[Line]:
    """Yield the newest lines that are wanted, then every new one, without an end."""
    follower = Follower(folder)
    yield from [line for line in follower.new_lines() if wanted.matches(line)][-_SHOWN_AT_FIRST:]
    while True:
        sleep(_EVERY_SECONDS)
        yield from (line for line in follower.new_lines() if wanted.matches(line))


def as_text(line: Line) -> str:
    """Return the line for a person: time, function, severity, message, and its other fields.

    >>> as_text(Line("2026-11-21T10:00:00.123Z", "targets", '{"severity": "INFO", "message": "call answered", "status": 202}'))
    '10:00:00.123 targets          INFO     call answered  status=202'
    """
    clock = line.at[11:23]
    fields = line.fields
    if not fields:
        return f"{clock} {line.name:<16} {line.text}"
    others = {
        name: value
        for name, value in fields.items()
        if name not in (*_FIRST, "function") and not name.startswith(_TRACE)
    }
    shown = " ".join(f"{name}={_value(value)}" for name, value in others.items())
    head = f"{clock} {line.name:<16} {fields.get('severity', ''):<8} {fields.get('message', '')}"
    return f"{head}  {shown}".rstrip()


def as_json(line: Line) -> str:
    """Return the line as one JSON object, with `time` and `function`."""
    said = line.fields or {"message": line.text}
    return json.dumps({"time": line.at, "function": line.name, **said})


def _value(value: Any) -> str:
    return (
        value
        if isinstance(value, str) and value and " " not in value
        else json.dumps(value, ensure_ascii=False)
    )


def newest_folder(data_dir: Path, port: int) -> Path | None:
    """Return the logs of `make run` on this port or of `make serve`, the one that wrote last; None if both have never run here."""
    folders = [data_dir / f"demo-{port}" / "logs", data_dir / "logs"]
    written = {
        folder: max((path.stat().st_mtime for path in folder.glob("*.log")), default=0.0)
        for folder in folders
        if folder.is_dir()
    }
    return max(written, key=lambda folder: written[folder], default=None)
