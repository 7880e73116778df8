"""The order of the sandbox's rooms: which file may import which. Imports for types alone and inside functions count too."""

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
SANDBOX = "deploy.local.sandbox"
# What the files of a room may import of the sandbox. The files at its top, which belong to no room, may import every room.
MAY_IMPORT = {
    "stage": {"stage"},
    "klaviyo": {"klaviyo", "stage"},
    "omneo": {"omneo", "stage"},
}


def _name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SOURCES = {_name(path): path for path in (ROOT / SANDBOX.replace(".", "/")).rglob("*.py")}


def imported(name: str) -> Iterator[str]:
    """Yield the dotted names that a module of the sandbox imports, in whatever place; a module's contents as the module."""
    for node in ast.walk(ast.parse(SOURCES[name].read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            package = node.module or ""
            for alias in node.names:
                inner = f"{package}.{alias.name}"
                yield inner if inner in SOURCES else package


def room(name: str) -> str:
    """Return the room of a module, "" if it is at the sandbox's top."""
    first = name.removeprefix(SANDBOX).lstrip(".").partition(".")[0]
    return first if first in MAY_IMPORT else ""


def test_every_module_belongs_to_a_room_or_to_the_top() -> None:
    assert {room(name) for name in SOURCES} == {"", *MAY_IMPORT}
    assert {name for name in SOURCES if not room(name)} == {
        SANDBOX,
        f"{SANDBOX}.__main__",
        f"{SANDBOX}.sandbox",
    }


def test_no_module_imports_one_that_leads_back_to_it() -> None:
    arrows = {name: [other for other in imported(name) if other in SOURCES] for name in SOURCES}
    TopologicalSorter(arrows).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("name", sorted(name for name in SOURCES if room(name)))
def test_the_stage_stands_below_both_services_and_neither_imports_the_other(name: str) -> None:
    ours = [other for other in imported(name) if other.startswith(SANDBOX)]
    assert [other for other in ours if room(other) not in MAY_IMPORT[room(name)]] == []


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_it_imports_nothing_of_ours(name: str) -> None:
    outside = [other for other in imported(name) if not other.startswith(SANDBOX)]
    ours = {"shared", "functions", "tests", "deploy"}
    assert [other for other in outside if other.split(".")[0] in ours] == []
