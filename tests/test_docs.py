"""The documents say what is so: links lead somewhere, what they name exists, and nothing that a reader needs is left out."""

import ast
import importlib.util
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import Any

import click
import pytest

from deploy.guide.settings import PAGE, value_of, with_table
from deploy.staging import load_functions, load_schedules
from deploy.targets.commands import targets
from deploy.tenants.commands import tenants
from shared.admin.routes import ROUTES
from shared.consent.rules.decisions import TOPICS
from shared.direction import Direction
from shared.installation.pages.refusals import EXPLANATIONS, OUR_FAULT, OUR_PAUSE
from shared.jobs.jobs import KINDS
from shared.klaviyo.resources import DATA_SOURCES, SCOPES
from shared.profiles.rules.exclusions import Exclusion
from shared.profiles.rules.mapping import DEFAULTS
from shared.profiles.rules.sync_plan import Absence
from shared.tenants.settings import settings_schema
from tests.support.markdown import Page, pages
from tests.test_layers import FLOOR

ROOT = Path(__file__).parents[1]
PAGES = {page.path.relative_to(ROOT).as_posix(): page for page in pages(ROOT)}
README, CODE = PAGES["README.md"], PAGES["shared/README.md"]
CONNECT, CONSENT, OPERATE = (
    PAGES[f"deploy/guide/{name}.md"] for name in ("connect", "profiles-and-consent", "operate")
)
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))

_PATH = re.compile(r"(?<![\w./-])((?:shared|functions|deploy|tests)/[\w./-]*\w)")
_FILE = re.compile(r"[\w./-]+\.(?:py|md|sh|yaml|toml|html|txt)")

each_page = pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)


# Links, paths, commands


@each_page
def test_every_link_leads_somewhere(page: Page) -> None:
    assert [link for link in page.links if "://" not in link and not leads_somewhere(link, page)] == []


@each_page
def test_every_file_and_folder_that_a_page_names_is_there(page: Page) -> None:
    named = {*_PATH.findall(page.text), *(code for code in page.code if _FILE.fullmatch(code))}
    assert [path for path in sorted(named) if not is_there(path, page)] == []


@each_page
def test_every_make_command_that_a_page_names_exists(page: Page) -> None:
    for target, *given in (code.split() for code in after(r"^make ", page)):
        assert target in TARGETS, f"make {target}"
        for variable in re.findall(r"\b([A-Z_]+)=", " ".join(given)):
            assert f"$({variable})" in MAKEFILE, f"make {target} {variable}="


@each_page
def test_every_module_that_a_page_runs_exists(page: Page) -> None:
    modules = [code.split()[0].rstrip(".") for code in after(r"python -m ", page)]
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []


@each_page
def test_every_tenants_command_and_option_that_a_page_names_exists(page: Page) -> None:
    known = commands()
    for words in (code.split() for code in after(r"python -m deploy\.tenants ", page)):
        name = " ".join(takewhile(lambda word: word[0].islower(), words[:2]))
        name = name if name in known else words[0]
        if name.isupper():
            continue  # any command
        assert name in known, name
        given = {word for word in words if word.startswith("--")} - {"--help"}
        assert given <= options(known[name]), name


def test_the_pages_name_links_paths_and_commands_at_all() -> None:
    for found in ("connect.md#uninstall", "settings.md#mappings"):
        assert any(found in link for page in PAGES.values() for link in page.links)
    assert len([path for page in PAGES.values() for path in _PATH.findall(page.text)]) > 100
    assert len([code for page in PAGES.values() for code in after(r"^make ", page)]) > 20
    assert len([code for page in PAGES.values() for code in after(r"python -m deploy\.tenants ", page)]) > 40


def test_a_page_with_a_fault_is_noticed(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text(
        "# One thing\n\nSee [this](#one-thing), [that](#another) and [it](gone.md).\n"
    )
    page = Page.read(tmp_path / "page.md")
    assert [link for link in page.links if not leads_somewhere(link, page)] == ["#another", "gone.md"]
    assert not is_there("shared/gone.py", page)


# Tables: a row for each thing that is, and none for what is not


def test_each_claim_of_the_security_page_is_held_by_a_test_that_there_is() -> None:
    page = PAGES["deploy/SECURITY.md"]
    held = [
        row[-1] for first in ("Who", "Claim", "Secret") for row in page.table(first) if "tests/" in row[-1]
    ]
    assert len(held) == page.text.count("tests/") > 20
    for file, name in (strip(cell).split("::") for cell in held):
        assert f"def {name}(" in (ROOT / file).read_text(), name


def test_the_readme_fits_on_a_page() -> None:
    assert len(README.text.splitlines()) <= 150


def test_every_function_has_a_row_in_the_readme() -> None:
    assert sorted(README.names("Function")) == FOLDERS


def test_every_function_has_a_row_in_the_deployment() -> None:
    assert sorted(load_functions()) == FOLDERS


def test_every_room_has_a_row_in_the_order_of_imports() -> None:
    rows = [row.removeprefix("shared/").removesuffix(".py") for row in CODE.names("Room")]
    assert sorted(rows) == sorted(FLOOR)
    assert [FLOOR[room] for room in rows] == sorted(FLOOR.values())


def test_every_job_kind_has_a_row() -> None:
    assert sorted(CODE.names("Job")) == sorted(KINDS)


def test_every_scheduled_job_has_a_row() -> None:
    assert sorted(OPERATE.names("Scheduled job")) == sorted(load_schedules())


def test_every_tenants_command_has_a_row_with_all_its_options() -> None:
    rows = {strip(row[0]): row for row in OPERATE.table("Command")}
    documented = {
        name: next((row for first, row in rows.items() if named(first, name)), []) for name in commands()
    }
    assert len(rows) == len(documented)
    for name, command in commands().items():
        assert set(re.findall(r"`(--[a-z-]+)`", " ".join(documented[name]))) == options(command), name


def test_every_targets_command_has_a_row_with_all_its_options() -> None:
    rows = {strip(row[0]): row for row in OPERATE.table("Targets command")}
    assert len(rows) == len(commands(targets))
    for name, command in commands(targets).items():
        documented = next(row for first, row in rows.items() if named(first, name))
        assert set(re.findall(r"`(--[a-z-]+)`", " ".join(documented))) == options(command), name


def test_every_call_of_admin_has_a_row() -> None:
    assert sorted(OPERATE.names("Call")) == sorted(f"{method} {path}" for method, path in ROUTES)


def test_every_make_command_with_a_row_exists() -> None:
    assert {name.removeprefix("make ") for name in OPERATE.names("Make command")} <= TARGETS


def test_every_answer_has_a_row() -> None:
    source = (ROOT / "shared/web/answers.py").read_text()
    given = {(status, code) for status, code in re.findall(r'\((\d{3}), "(\w+)"\)', source)}
    rows = {(row[0], code) for row in OPERATE.table("Status") for code in re.findall(r"`(\w+)`", row[1])}
    assert rows == given


def test_every_check_of_the_doctor_has_a_row() -> None:
    found = {f"{direction} queue" for direction in Direction}
    sources = [path.read_text() for path in (ROOT / "shared/admin").glob("*.py")]
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func) == "Finding"
            and isinstance(node.args[0], ast.Constant)
        ):
            found.add(str(node.args[0].value))
    assert set(OPERATE.names("Check")) == found


def test_every_variable_has_a_row() -> None:
    rows = set(OPERATE.names("Variable"))
    given = {name for function in load_functions().values() for name in function.variables}
    assert given | variables_read() <= rows
    assert rows <= given | variables_read() | {"FIRESTORE_EMULATOR_HOST", "ALERT_EMAIL"}


def test_every_consent_topic_has_a_row() -> None:
    assert sorted(CONSENT.names("Topic")) == sorted(TOPICS)


def test_every_reason_not_to_sync_has_a_row() -> None:
    assert sorted(CONSENT.names("Reason")) == sorted([*Exclusion, *Absence])


def test_every_default_property_is_named() -> None:
    assert [name for name in DEFAULTS.values() if f"`{name}`" not in CONSENT.text] == []


def test_what_an_install_makes_and_asks_for_is_named() -> None:
    assert [title for title in DATA_SOURCES if f"`{title}`" not in CONNECT.text] == []
    assert set(re.findall(r"`([a-z-]+:(?:read|write))`", CONNECT.text)) == set(SCOPES)


def test_every_page_that_stops_an_install_has_a_row() -> None:
    titles = {one.title for one in (*EXPLANATIONS.values(), OUR_FAULT, OUR_PAUSE)}
    wrong_key = "This name and key do not belong together."
    assert wrong_key in (ROOT / "shared/installation/steps.py").read_text()
    assert {row[0] for row in CONNECT.table("The page says")} == titles | {wrong_key}


# Settings


def test_the_settings_page_is_what_the_schema_writes() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text, "run python -m deploy.guide"


def test_every_setting_has_a_row_with_meaning_default_and_example() -> None:
    rows = Page.read(PAGE).table("Setting")
    assert [strip(row[0]) for row in rows] == list(settings_schema(16)["properties"])
    assert [row[0] for row in rows if not all(row)] == []


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 365}, "whole number, from 1 to 365"),
        (
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": 9}, {"type": "null"}]},
            "number, above 0, at most 9",
        ),
        ({"type": "string", "enum": ["leave", "subscribe"]}, "`leave` or `subscribe`"),
        ({"type": "string", "enum": [*"abcdefghijkl"]}, "text, one that the schema lists"),
        (
            {"type": "string", "maxLength": 40, "pattern": "^(a|b)$"},
            r"text, at most 40 characters, pattern `^(a\|b)$`",
        ),
    ],
)
def test_what_a_setting_takes_is_said_in_words(rule: dict[str, Any], words: str) -> None:
    assert value_of(rule) == words


def test_a_settings_page_without_a_place_for_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="these two lines"):
        with_table("# Settings")


# What is read


def leads_somewhere(link: str, page: Page) -> bool:
    """Return whether a relative link's file is there, and has the anchor."""
    name, _, anchor = link.partition("#")
    target = page.path.parent / name if name else page.path
    return target.exists() and (not anchor or anchor in Page.read(target).anchors)


def is_there(path: str, page: Page) -> bool:
    """Return whether a path exists, seen from the top or from beside the page."""
    return path == "main.py" or (ROOT / path).exists() or (page.path.parent / path).exists()


def after(start: str, page: Page) -> Iterator[str]:
    """Yield what follows `start` in each piece of code that has it, up to a comment or a pipe."""
    for code in page.code:
        if found := re.search(start, code):
            yield re.split(r"#|\||\[-", code[found.end() :])[0].strip() or "-"


def commands(group: click.Command = tenants, above: str = "") -> dict[str, click.Command]:
    """Return the commands by name, those of a group as in `dead list`."""
    found: dict[str, click.Command] = {}
    assert isinstance(group, click.Group)
    for name, command in group.commands.items():
        full = f"{above} {name}".strip()
        found |= commands(command, full) if isinstance(command, click.Group) else {full: command}
    return found


def options(command: click.Command) -> set[str]:
    """Return the long options that a command takes."""
    return {
        name
        for one in command.params
        if isinstance(one, click.Option)
        for name in one.opts
        if name[:2] == "--"
    }


def named(cell: str, command: str) -> bool:
    """Return whether a cell as `rotate NAME` documents the command."""
    return [word for word in cell.split() if not word.isupper()] == command.split()


def strip(cell: str) -> str:
    """Return what stands between the backticks."""
    return cell.strip("`")


def variables_read() -> set[str]:
    """Return the environment variables that the functions and the local bundle read by name."""
    settings = re.findall(r'\("([A-Z_]{4,})"', (ROOT / "shared/settings.py").read_text())
    local = "".join(path.read_text() for path in (ROOT / "deploy/local").glob("*.py"))
    return {*settings, *re.findall(r'(?:environ|environment|given)\.get\("([A-Z_]+)"\)', local)}
