"""The house, as a test: the rooms of shared/, their order, what is pure, and where the outside may be imported."""

import ast
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# The order of imports, from the top down. A row is a floor: its rooms may use all floors below, and each other one way.
ORDER = (
    ("worker",),
    ("targets", "admin"),
    ("installation",),
    ("explain", "erasure"),
    ("resync",),
    ("profiles",),
    ("metrics", "records", "rewards", "consent"),
    ("web", "notify"),
    ("traffic", "audit", "receipts"),
    ("services",),
    ("jobs",),
    ("klaviyo", "omneo"),
    ("http", "tenants", "storage", "json_logic"),
    ("settings", "logs", "errors", "values", "consent_events", "direction", "matching"),
)
FLOOR = {room: number for number, rooms in enumerate(ORDER) for room in rooms}
# The five flows do not use each other; `profiles` may use `consent`.
FLOWS = {"metrics", "records", "rewards", "consent", "profiles"}
FLOWS_MAY = {("profiles", "consent")}

# Where something of the outside may be imported; everywhere else in the product it may not.
ONLY_IN = {
    "flask": {"shared/web/", "shared/installation/pages/policy.py", "functions/", "deploy/local/console/"},
    "werkzeug": {"shared/web/", "shared/installation/pages/policy.py", "deploy/local/console/"},
    "functions_framework": {"functions/"},
    "google": {"shared/storage/firestore.py", "shared/jobs/cloud_tasks.py", "deploy/local/tasks/"},
    "grpc": {"shared/storage/firestore.py", "shared/jobs/cloud_tasks.py", "deploy/local/tasks/"},
    "sqlite3": {"shared/storage/sqlite.py", "shared/storage/sqlite_file.py", "deploy/local/tasks/"},
    "requests": {
        "shared/http/",
        "deploy/local/sandbox/",
        "deploy/local/demo_tenant.py",
        "deploy/local/console/",
        "deploy/gcp/google.py",
    },
    "os": {"shared/services.py", "shared/storage/", "deploy/"},
    "shared.storage.firestore": {"shared/services.py"},
    "shared.storage.sqlite": {"shared/services.py"},
    "shared.jobs.cloud_tasks": {"shared/services.py", "deploy/gcp/queues.py"},
    "deploy": {"deploy/"},
    "tests": set(),
}
IMPURE = {
    "time", "random", "secrets", "socket", "threading", "subprocess", "logging", "uuid", "os", "requests", "google",
    "flask",
}  # fmt: skip
# What the rules of a room may use of the house: words, and rules of the rooms below.
PURE_ROOMS = {"errors", "values", "consent_events", "direction", "matching", "json_logic"}
WORDS = {"shared.klaviyo.resources"}  # titles and scopes as Klaviyo shows them
PURE_FILES = ("shared/errors.py", "shared/settings.py", "shared/matching.py")


def product_files(*tops: str) -> list[str]:
    """Return the source files below these folders, all of the product by default, relative to the repository."""
    return sorted(
        str(path.relative_to(ROOT))
        for top in tops or ("functions", "shared", "deploy")
        for path in (ROOT / top).rglob("*.py")
    )


def imports(path: str, *, types: bool = False) -> tuple[str, ...]:
    """Return the dotted names that a file imports when it runs, with `types` also those for the type checker alone."""
    return _imports(ROOT / path, types)


@cache  # many tests ask of the same files
def _imports(path: Path, types: bool) -> tuple[str, ...]:
    return tuple(_named(_running(ast.parse(path.read_text()), types)))


def _named(nodes: Iterator[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (_name(node.module, alias.name) for alias in node.names)


def _name(module: str, name: str) -> str:
    below = ROOT / module.replace(".", "/") / name
    return f"{module}.{name}" if below.is_dir() or below.with_suffix(".py").exists() else module


def _running(node: ast.AST, types: bool) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if not types and isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield from _running(child, types)


def _is_below(name: str, top: str) -> bool:
    return name == top or name.startswith(f"{top}.")


def room_of(path: str) -> str:
    """Return the room that a file of shared/ stands in, "" for shared/__init__.py."""
    part = path.split("/")[1]
    return "" if part == "__init__.py" else part.removesuffix(".py")


@cache
def arrows() -> dict[tuple[str, str], list[str]]:
    """Return who imports whom among the rooms, each arrow with the files that draw it; imports for types count."""
    found: dict[tuple[str, str], list[str]] = {}
    for path in product_files("shared"):
        for name in imports(path, types=True):
            parts = name.split(".")
            if parts[0] == "shared" and len(parts) > 1 and room_of(path) not in {"", parts[1]}:
                found.setdefault((room_of(path), parts[1]), []).append(path)
    return found


def test_every_room_has_its_floor() -> None:
    assert {room_of(path) for path in product_files("shared")} - {""} == set(FLOOR)


def test_a_room_imports_only_rooms_below_it() -> None:
    upwards = {arrow: files for arrow, files in arrows().items() if FLOOR[arrow[0]] > FLOOR[arrow[1]]}
    assert upwards == {}


def test_rooms_on_one_floor_do_not_import_each_other_back() -> None:
    assert [arrow for arrow in arrows() if (arrow[1], arrow[0]) in arrows()] == []


def test_the_flows_do_not_use_each_other() -> None:
    between = {arrow for arrow in arrows() if set(arrow) <= FLOWS}
    assert between <= FLOWS_MAY


def test_services_names_no_room_above_it() -> None:
    """`Services` is handed to rooms; a room builds its own stores from it."""
    named = {to for (room, to) in arrows() if room == "services"}
    assert [room for room in named if FLOOR[room] < FLOOR["services"]] == []


def circles(files: list[str]) -> list[str]:
    """Return the files that can be reached from themselves by imports, those for types alone left out."""
    modules = {
        path.removesuffix("/__init__.py").removesuffix(".py").replace("/", "."): path for path in files
    }
    edges = {
        name: {other for other in imports(path) if other in modules and other != name}
        for name, path in modules.items()
    }
    removed = True
    while removed:
        removed = False
        for name in [name for name, others in edges.items() if not others]:
            removed = True
            del edges[name]
            for others in edges.values():
                others.discard(name)
    return sorted(edges)


@pytest.mark.parametrize("top", ["shared", "deploy", "functions"])
def test_nothing_imports_itself_by_a_circle(top: str) -> None:
    assert circles(product_files(top)) == []


def test_a_circle_would_be_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    names = ["a", "b", "c"]
    for here, there in pairwise([*names, names[0]]):
        (tmp_path / f"{here}.py").write_text(f"import {there}\n")
    assert circles([f"{name}.py" for name in names]) == names


@pytest.mark.parametrize("path", product_files())
def test_what_belongs_in_one_place_stays_there(path: str) -> None:
    misplaced = [
        (name, top)
        for name in imports(path)
        for top, places in ONLY_IN.items()
        if _is_below(name, top)
        and f"{path.removesuffix('.py').replace('/', '.')}" != top
        and not any(path.startswith(place) for place in places)
    ]
    assert misplaced == []


RULES = [path for path in product_files("shared") if "/rules/" in path or path.startswith("shared/values/")]


@pytest.mark.parametrize("path", [*RULES, *PURE_FILES, "shared/web/authentication.py"])
def test_pure_modules_read_no_clock_and_draw_no_chance(path: str) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in IMPURE] == []


@pytest.mark.parametrize("path", RULES)
def test_rules_use_words_and_rules_alone(path: str) -> None:
    foreign = [
        name
        for name in imports(path, types=True)
        if name.startswith("shared.")
        and name not in WORDS
        and ".rules" not in name
        and name.split(".")[1] not in PURE_ROOMS
    ]
    assert foreign == []


@pytest.mark.parametrize("path", product_files("deploy/local/sandbox", "deploy/local/tasks"))
def test_the_sandbox_and_the_queue_emulator_know_nothing_of_the_product(path: str) -> None:
    assert [name for name in imports(path) if _is_below(name, "shared") or _is_below(name, "functions")] == []


@pytest.mark.parametrize("path", [path for path in product_files("functions") if path.endswith("/main.py")])
def test_an_entry_point_fits_on_a_screen(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) < 40


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in (ROOT / "tests" / "shared").rglob("test_*.py")]
)
def test_a_test_of_shared_stands_in_the_room_it_tests(path: str) -> None:
    assert (ROOT / Path(path).relative_to("tests")).parent.is_dir()


def test_the_environment_is_read_in_one_place_of_what_ships() -> None:
    readers = [
        path
        for path in product_files("shared", "functions")
        if any(
            isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
        )
    ]
    assert readers == ["shared/services.py"]
