"""Twig prints what php-twig prints, or refuses by name: over a table that is recorded, and over one made by chance where PHP is there."""

import json
import os
import re
import shutil

import pytest

from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig
from tests.deploy.local.sandbox.omneo.twig.table import (
    AUTOLOADER,
    CONTEXT,
    RECORDED,
    ask_php,
    by_chance,
    rendered,
    templates,
)

KEPT = json.loads(RECORDED.read_text())
ROWS = KEPT["rows"]
PRINTED = [row for row in ROWS if "refused" not in row]
REFUSED = [row for row in ROWS if "refused" in row]


@pytest.fixture
def referee() -> None:
    """Skip, or fail in CI, where php-twig is missing."""
    if shutil.which("php") is None or not AUTOLOADER.exists():
        message = "php-cli and php-twig are not installed: apt-get install php-cli php-twig"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def test_the_table_is_large_and_recorded_whole() -> None:
    assert [row["template"] for row in ROWS] == templates()
    assert len(PRINTED) > 500
    assert len({row["php"] for row in PRINTED}) > 300


@pytest.mark.parametrize("row", PRINTED, ids=lambda row: row["template"][:60])
def test_what_is_supported_prints_what_php_twig_printed(row: dict[str, str]) -> None:
    assert rendered(row["template"], KEPT["now"]) == (row["php"], "")


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["template"][:60])
def test_what_is_not_supported_is_refused_with_line_and_column(row: dict[str, str]) -> None:
    assert rendered(row["template"], KEPT["now"]) == (None, row["refused"])
    assert re.fullmatch(r"line \d+, column \d+: [A-Za-z\"].+\.", row["refused"])


@pytest.mark.usefixtures("referee")
def test_php_twig_still_says_what_is_recorded() -> None:
    answers = ask_php(templates())
    printed = zip(ROWS, answers.printed, strict=True)
    wrong = [
        (row["template"], php, here)
        for row, php in printed
        if "refused" not in row and (here := rendered(row["template"], answers.now)[0]) != php
    ]
    assert wrong == []


@pytest.mark.usefixtures("referee")
@pytest.mark.parametrize("seed", range(1, 5))
def test_templates_made_by_chance_print_what_php_twig_prints_or_are_refused(seed: int) -> None:
    asked = by_chance(700, seed)
    answers = ask_php(asked)
    here = [rendered(template, answers.now)[0] for template in asked]
    rows = [*zip(asked, answers.printed, here, strict=True)]
    assert [row for row in rows if row[2] is not None and row[1] != row[2]] == []
    agreed = sum(row[1] is not None and row[1] == row[2] for row in rows)
    assert agreed > 0.6 * len(rows)


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ word|striptags }}", 'line 1, column 9: The filter "striptags" is not supported.'),
        ("a\n  {{ nope(1) }}", 'line 2, column 6: The function "nope" is not supported.'),
        ("\n\n{% include 'x' %}", 'line 3, column 4: The tag "include" is not supported.'),
        ("{{ 1 is prime }}", 'line 1, column 9: The test "prime" is not supported.'),
        ("{{ a matches '/x/' }}", 'line 1, column 6: The operator "matches" is not supported'),
        ("{{ 'x'|date }}", "line 1, column 8: The text is no date that can be read here."),
        ("{% if yes %}", 'line 1, column 1: The tag "if" is not closed.'),
        ("{{ word", "line 1, column 1: This is not closed."),
        ("{{ (1 ] }}", 'line 1, column 4: "(" is not closed.'),
        ("{{ word|slice(nope=1) }}", 'line 1, column 9: "slice" has no argument "nope".'),
        ('{{ "a\n#{x" }}', "line 2, column 4: A string is not closed."),
    ],
)
def test_a_refusal_names_what_and_where(template: str, reason: str) -> None:
    with pytest.raises(TemplateFailedError, match=re.escape(reason)):
        Twig(lambda: 0.0).render(template, CONTEXT)


def test_a_refusal_never_repeats_a_value_of_the_context() -> None:
    for template in ("{{ word + 1 }}", "{{ word|date }}", "{{ id|slice(word) }}", "{{ word|merge([1]) }}"):
        with pytest.raises(TemplateFailedError) as caught:
            Twig(lambda: 0.0).render(template, CONTEXT)
        assert "canary" not in str(caught.value)


def test_a_template_is_checked_without_a_context() -> None:
    twig = Twig(lambda: 0.0)
    twig.check("{{ anything.at.all|upper }}")
    with pytest.raises(TemplateFailedError):
        twig.check("{{ anything|nosuch }}")
