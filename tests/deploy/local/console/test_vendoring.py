"""The files of others in the console are those that their table names, with their licences."""

import hashlib
import json

import pytest

from deploy.local.console.vendoring import EDITOR, Vendored, vendored
from deploy.staging import REPOSITORY

ROWS = list(vendored())


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.path.name)
def test_a_vendored_file_is_the_one_that_was_published(row: Vendored) -> None:
    assert hashlib.sha256(row.path.read_bytes()).hexdigest() == row.sha256


def test_every_file_in_a_vendored_folder_is_named() -> None:
    folders = [REPOSITORY / "deploy/local/console/static/vendored", REPOSITORY / "tests/browser/vendored"]
    there = {path for folder in folders for path in folder.iterdir()}
    assert there == {row.path for row in ROWS}


def test_every_package_has_its_licence_here() -> None:
    licensed = {row.package for row in ROWS if "LICENSE" in row.source}
    assert {row.package for row in ROWS} == licensed
    assert all(row.licence for row in ROWS)


def test_what_is_made_of_packages_is_of_the_versions_that_are_pinned() -> None:
    pinned = json.loads((EDITOR / "package-lock.json").read_text())["packages"]
    made = [row for row in ROWS if row.path.name.startswith("editor.")]
    assert {row.version for row in made} == {pinned["node_modules/@codemirror/view"]["version"]}
    licences = next(row.path for row in made if row.source == "LICENSES").read_text()
    for name in json.loads((EDITOR / "package.json").read_text())["dependencies"]:
        assert f"{name} {pinned[f'node_modules/{name}']['version']}, MIT\n" in licences
