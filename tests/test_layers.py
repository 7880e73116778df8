"""The architecture, as a test: who may import whom, and how long an entry point may be."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Where something may be imported; everywhere else in the product it may not.
ONLY_IN = {
    "flask": {"shared/web/endpoints.py", "shared/installation/pages/policy.py", "functions/"},
    "werkzeug": {"shared/web/endpoints.py", "shared/installation/pages/policy.py"},
    "functions_framework": {"functions/"},
    "google": {"shared/gcp/", "deploy/local/tasks/"},
    "grpc": {"shared/gcp/", "deploy/local/tasks/"},
    "sqlite3": {"shared/sqlite/", "deploy/local/tasks/"},
    "requests": {
        "shared/http/client.py",
        "shared/http/connections.py",
        "deploy/local/sandbox/",
        "deploy/local/demo.py",
    },
    "os": {"shared/services.py", "shared/storage/encryption.py", "shared/sqlite/", "deploy/"},
    "shared.gcp": {"shared/services.py", "shared/gcp/", "deploy/gcp/queues.py"},
    "shared.sqlite": {"shared/services.py", "shared/sqlite/"},
    "shared.services": {
        "shared/web/endpoints.py",
        "shared/installation/pages/policy.py",
        "shared/handlers/",
        "functions/",
        "deploy/",
    },
    "shared.web.endpoints": {"functions/", "shared/installation/pages/policy.py"},
    "shared.installation.pages.policy": {"functions/"},
    "shared.handlers": {
        "functions/",
        "shared/handlers/",
        "shared/installation/pages/policy.py",
        "shared/pages/",
        "deploy/",
    },
    "deploy": {"deploy/"},
    "tests": set(),
}
# What a part may import of the product and of the outside.
MAY_IMPORT = {
    "shared/domain/": {"shared.errors", "shared.domain", "pydantic"},
    "shared/errors.py": set(),
    "shared/jobs/jobs.py": {"shared.errors", "shared.consent_events", "pydantic"},
    "shared/web/authentication.py": {"shared.tenants.tenants", "pydantic"},
    "shared/storage/documents.py": set(),
}
# Pure modules read no clock and draw no chance.
PURE = ("shared/domain/", "shared/errors.py", "shared/web/authentication.py", "shared/settings.py")
IMPURE = {"time", "random", "secrets", "socket", "threading", "subprocess", "logging", "uuid", "os"}


def product_files() -> list[str]:
    """Return every source file of the product, relative to the repository."""
    return sorted(
        str(path.relative_to(ROOT))
        for top in ("functions", "shared", "deploy")
        for path in (ROOT / top).rglob("*.py")
    )


def imports(path: str) -> Iterator[str]:
    """Yield the dotted names that a file imports when it runs; imports for types alone bind nothing."""
    for node in _running(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _running(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test) == "TYPE_CHECKING":
            continue
        yield from _running(child)


def _is_below(name: str, top: str) -> bool:
    return name == top or name.startswith(f"{top}.")


@pytest.mark.parametrize("path", product_files())
def test_what_belongs_in_one_place_stays_there(path: str) -> None:
    misplaced = [
        (name, top)
        for name in imports(path)
        for top, places in ONLY_IN.items()
        if _is_below(name, top) and not any(path.startswith(place) for place in places)
    ]
    assert misplaced == []


@pytest.mark.parametrize("path", [path for path in product_files() if path.startswith(tuple(MAY_IMPORT))])
def test_the_middle_depends_on_nothing_outside(path: str) -> None:
    allowed = next(names for start, names in MAY_IMPORT.items() if path.startswith(start))
    foreign = [
        name
        for name in imports(path)
        if name.split(".")[0] in {"shared", "pydantic", "requests", "google", "flask", "functions", "deploy"}
        and not any(_is_below(name, top) for top in allowed)
    ]
    assert foreign == []


@pytest.mark.parametrize("path", [path for path in product_files() if path.startswith(PURE)])
def test_pure_modules_read_no_clock_and_draw_no_chance(path: str) -> None:
    assert [name for name in imports(path) if name.split(".")[0] in IMPURE] == []


@pytest.mark.parametrize(
    "path", [path for path in product_files() if path.startswith("deploy/local/sandbox/")]
)
def test_the_sandbox_knows_nothing_of_the_product(path: str) -> None:
    assert [name for name in imports(path) if _is_below(name, "shared") or _is_below(name, "functions")] == []


@pytest.mark.parametrize("path", [path for path in product_files() if path.startswith("deploy/local/tasks/")])
def test_the_queue_emulator_knows_nothing_of_the_product(path: str) -> None:
    assert [name for name in imports(path) if _is_below(name, "shared") or _is_below(name, "functions")] == []


@pytest.mark.parametrize("path", [path for path in product_files() if path.endswith("/main.py")])
def test_an_entry_point_fits_on_a_screen(path: str) -> None:
    assert len((ROOT / path).read_text().splitlines()) < 40


def test_the_environment_is_read_in_one_place_of_what_ships() -> None:
    readers = [
        path
        for path in product_files()
        if path.startswith(("shared", "functions"))
        and any(
            isinstance(node, ast.Attribute) and ast.unparse(node) in {"os.environ", "os.getenv"}
            for node in ast.walk(ast.parse((ROOT / path).read_text()))
        )
    ]
    assert readers == ["shared/services.py"]
