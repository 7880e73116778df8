"""The rows: each stands on code that is there, each comment "Assumed" has its rows, and the guide shows them."""

import re
from pathlib import Path

import pytest

from deploy.guide.assumptions import PAGE, with_tables
from deploy.rehearsal.assumption import Assumption, CannotBeTried, Place, Service
from deploy.rehearsal.assumptions.sandbox import SANDBOX
from deploy.rehearsal.assumptions.table import ASSUMPTIONS
from shared.http.answers import retry_after
from shared.profiles import deleted

ROOT = Path(__file__).parents[3]
ROWS = {row.name: row for row in (*ASSUMPTIONS, *SANDBOX)}
COMMENT = re.compile(r"\b(?:Assumed|(?:is|are) assumed|[Ww]e assume)\b(?: \(([a-z0-9, -]+)\))?")
SPOKEN_OF = (
    "deploy/rehearsal",
    "deploy/guide",
    "deploy/tenants/rehearse.py",
    "tests/deploy/rehearsal",
)  # where rows are told, or spoken of


def comments() -> dict[str, list[str]]:
    """Return the names that each comment gives its assumption, by file and place; none where it gives none."""
    found: dict[str, list[str]] = {}
    for top in ("functions", "shared", "deploy", "tests"):
        for path in (ROOT / top).rglob("*"):
            place = str(path.relative_to(ROOT))
            if path.suffix in {".py", ".sh", ".yaml", ".toml"} and not place.startswith(SPOKEN_OF):
                text = path.read_text(encoding="utf-8")
                found |= {f"{place}:{match.start()}": names_in(match[1]) for match in COMMENT.finditer(text)}
    return found


def names_in(text: str | None) -> list[str]:
    return text.split(", ") if text else []


def test_every_comment_names_rows_that_there_are() -> None:
    named = comments()
    assert len(named) >= 45
    introduction = [place for place in named if place.startswith("deploy/local/sandbox/__init__.py")]
    assert [place for place, names in named.items() if not names and place not in introduction] == []
    assert {name for names in named.values() for name in names} - ROWS.keys() == set()


def test_every_row_of_the_sandbox_is_named_where_it_is_assumed() -> None:
    named = {name for names in comments().values() for name in names}
    assert {row.name for row in SANDBOX} - named == set()


def test_no_name_stands_twice() -> None:
    assert len(ROWS) == len(ASSUMPTIONS) + len(SANDBOX)


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_every_row_names_a_file_that_is_there_and_is_whole(row: Assumption) -> None:
    assert (ROOT / row.place.path).is_file()
    sentences = [row.sentence, row.if_wrong]
    if isinstance(row.tried, CannotBeTried):
        sentences.append(row.tried.because)
    assert [text for text in sentences if not text or text.endswith(".")] == []


def test_a_row_whose_code_is_gone_fails() -> None:
    with pytest.raises(AttributeError, match="GONE"):
        Place(deleted, "GONE")


def test_a_place_knows_its_file() -> None:
    assert Place(retry_after).path == "shared/http/answers.py"
    assert (Place(deleted, "OMNEO_LAGS").path, Place(deleted, "OMNEO_LAGS").name) == (
        "shared/profiles/deleted.py",
        "OMNEO_LAGS",
    )


def test_a_name_is_some_words_with_hyphens() -> None:
    with pytest.raises(ValueError, match="some words"):
        Assumption("One thing", Service.OMNEO, "x", Place(retry_after), "y", CannotBeTried("z"))


def test_the_page_is_what_the_rows_write() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run python -m deploy.guide"


def test_a_page_without_a_place_for_the_tables_is_refused() -> None:
    with pytest.raises(ValueError, match="these two lines"):
        with_tables("# Assumptions")
