"""What the README and the deployment files must not forget."""

import re
from pathlib import Path

import pytest
from click import Group

from deploy.staging import load_functions
from deploy.tenants.commands import tenants
from shared.jobs.jobs import KINDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FOLDERS = sorted(path.parent.name for path in (ROOT / "functions").glob("*/main.py"))


def rows(first_cell: str) -> list[str]:
    """Return the first cells of the README's table whose first heading is this."""
    table = README.split(f"| {first_cell} |", 1)[1].split("\n\n", 1)[0]
    return re.findall(r"^\| `([^`]+)`", table, re.MULTILINE)


def test_every_function_has_a_row_in_the_readme() -> None:
    assert sorted(rows("Function")) == FOLDERS


def test_every_function_has_a_row_in_the_deployment() -> None:
    assert sorted(load_functions()) == FOLDERS


def test_every_job_kind_has_a_row_in_the_readme() -> None:
    assert sorted(rows("Job")) == sorted(KINDS)


def test_every_variable_a_function_is_given_is_explained() -> None:
    given = {name for function in load_functions().values() for name in function.variables}
    explained = set(re.findall(r"`([A-Z_]{5,})`", README))
    assert given <= explained


def test_every_tenants_command_is_named() -> None:
    assert isinstance(tenants, Group)
    assert [name for name in tenants.commands if f"`{name}`" not in README] == []


@pytest.mark.parametrize("path", re.findall(r"`((?:shared|functions|deploy|tests)/[\w./-]*\w)`", README))
def test_every_file_the_readme_names_is_there(path: str) -> None:
    assert (ROOT / path).exists()
