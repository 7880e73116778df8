"""The form of the files between the scripts and the modules here: rows with a tab between columns for loops, JSON for gcloud."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def rows_in(path: Path) -> list[list[str]]:
    """Return the rows of a file, each as its columns."""
    return [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]


def words_in(path: Path) -> list[str]:
    """Return the words of a file, none if there is no such file."""
    return path.read_text().split() if path.exists() else []


def write_rows(path: Path, rows: Iterable[Iterable[str]]) -> None:
    """Write rows of columns."""
    path.write_text("".join("\t".join(row) + "\n" for row in rows), encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a value as JSON."""
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
