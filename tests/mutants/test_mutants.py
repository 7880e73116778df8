"""The command itself: it makes the same mutants for the same seed, and tells those that no test notices."""

from pathlib import Path

import pytest

from tests.mutants.__main__ import main
from tests.mutants.core import CORE, neighbours, own_tests
from tests.mutants.making import sample

REPOSITORY = Path(__file__).parents[2]

RULE = '''"""A rule."""


def fee(amount: int, told: list[str]) -> int:
    """Return the fee."""
    told.append("asked")
    if amount >= 10:
        return 1
    return 2
'''

SEES_ALL = """from shared.room.rule import fee


def test_it() -> None:
    told: list[str] = []
    assert [fee(amount, told) for amount in (9, 10, 11)] == [2, 1, 1]
    assert told == ["asked"] * 3
"""

SEES_ONE_WAY = """from shared.room.rule import fee


def test_it() -> None:
    assert fee(11, []) == 1
"""


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """Return a repository with one module, whose test is still to be written."""
    for path, text in (
        ("shared/room/rule.py", RULE),
        ("pyproject.toml", '[tool.pytest.ini_options]\npythonpath = ["."]\n'),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    (tmp_path / "tests/shared/room").mkdir(parents=True)
    return tmp_path


@pytest.mark.parametrize(("test", "status"), [(SEES_ALL, 0), (SEES_ONE_WAY, 1)])
def test_what_no_test_notices_is_told_and_the_sources_stay_as_they_are(
    house: Path, capsys: pytest.CaptureFixture[str], test: str, status: int
) -> None:
    (house / "tests/shared/room/test_rule.py").write_text(test)
    assert main(["shared/room/rule.py", "--most", "6"], house) == status
    first, *survivors = capsys.readouterr().out.splitlines()
    assert first.startswith("shared/room/rule.py: ")
    assert ("6 of 6 killed, 6 by its own tests, 0 survived" in first) is (status == 0)
    assert ('-    told.append("asked")' in survivors) is (status == 1)
    assert (house / "shared/room/rule.py").read_text() == RULE


@pytest.mark.parametrize("path", ["tests/shared/room/test_house.py", "tests/functions/test_fees.py"])
def test_what_its_own_tests_miss_is_shown_to_those_of_its_room_and_to_those_that_import_it(
    house: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    (house / path).parent.mkdir(exist_ok=True)
    (house / "tests/shared/room/test_rule.py").write_text(SEES_ONE_WAY)
    (house / path).write_text(SEES_ALL)
    assert main(["shared/room/rule.py", "--most", "6"], house) == 0
    told = capsys.readouterr().out
    assert "6 of 6 killed, " in told
    assert "6 by its own tests" not in told


def test_the_examples_of_its_docstrings_are_its_own_tests(
    house: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examples = """Return the fee.

    >>> told: list[str] = []
    >>> [fee(amount, told) for amount in (9, 10, 11)], len(told)
    ([2, 1, 1], 3)
    """
    rule = RULE.replace("Return the fee.", examples)
    (house / "shared/room/rule.py").write_text(rule)
    settings = house / "pyproject.toml"
    settings.write_text(f'{settings.read_text()}addopts = "--doctest-modules"\n')
    assert main(["shared/room/rule.py", "--most", "6", "--alone"], house) == 0
    assert "6 by its own tests, 0 survived" in capsys.readouterr().out


def test_without_a_mutant_the_tests_must_pass(house: Path) -> None:
    (house / "tests/shared/room/test_rule.py").write_text("def test_it() -> None:\n    assert False\n")
    with pytest.raises(ValueError, match="Without any mutant"):
        main(["shared/room/rule.py"], house)


def test_a_seed_decides_which_mutants_are_made_and_none_is_the_original() -> None:
    diffs = [[mutant.diff(RULE) for mutant in sample(RULE, most=5, seed=seed)] for seed in (1, 1, 2)]
    assert diffs[0] == diffs[1] != diffs[2]
    assert all(diffs[0])


def test_each_place_has_a_mutant_before_any_has_two() -> None:
    every = sample(RULE, most=1000, seed=1)
    assert any('-    told.append("asked")' in mutant.diff(RULE) for mutant in every)
    first = {
        line
        for mutant in sample(RULE, most=8, seed=1)
        for line in mutant.diff(RULE).splitlines()
        if line[0] == "-"
    }
    assert len(first) >= 4


@pytest.mark.parametrize(
    ("rule", "is_left_out"),
    [
        ("def f(a):\n    if a:\n        return 1\n    return None\n", False),
        ("def f(a):\n    try:\n        a()\n    except KeyError:\n        return None  # gone\n", False),
        ("def f(a):\n    if a:\n        return None\n    a()\n", True),
        ("def f(a):\n    for b in a:\n        return None\n", True),
    ],
)
def test_a_return_of_nothing_is_left_out_unless_the_function_ends_there_anyway(
    rule: str, is_left_out: bool
) -> None:
    lines = [line for mutant in sample(rule, most=1000, seed=1) for line in mutant.diff(rule).splitlines()]
    assert any(line.startswith("-") and "return None" in line for line in lines) is is_left_out


def test_what_the_type_checker_alone_sees_is_not_changed() -> None:
    rule = "@dataclass(frozen=True, slots=True)\nclass A:\n    b: bool = True\n"
    diffs = [mutant.diff(rule) for mutant in sample(rule, most=1000, seed=1)]
    assert any("b: bool = False" in diff for diff in diffs)
    assert not any("+@dataclass(frozen=" in diff for diff in diffs)


def test_no_mutant_is_the_original() -> None:
    rule = 'def f(a):\n    if a:\n        pass\n    """Says."""\n    return a + 1\n'
    diffs = [mutant.diff(rule) for mutant in sample(rule, most=1000, seed=1)]
    assert any("a - 1" in diff for diff in diffs)
    assert all(diffs)


@pytest.mark.parametrize("room", ["consent", "jobs", "metrics", "profiles", "records", "rewards"])
def test_every_module_of_a_flow_and_of_its_jobs_is_a_core_module(room: str) -> None:
    found = {str(path.relative_to(REPOSITORY)) for path in (REPOSITORY / "shared" / room).rglob("*.py")}
    assert {path for path in found if not path.endswith("__init__.py")} <= {*CORE}


@pytest.mark.parametrize("module", CORE)
def test_a_core_module_has_tests(module: str) -> None:
    own, others = own_tests(module, REPOSITORY), neighbours(module, REPOSITORY)
    assert (REPOSITORY / module).exists()
    assert all((REPOSITORY / path).exists() for path in own)
    assert own or others
    assert not set(own) & set(others)


def test_tests_that_bear_another_modules_name_are_that_ones() -> None:
    assert own_tests("shared/metrics/rules/event.py", REPOSITORY) == [
        "tests/shared/metrics/rules/test_event.py"
    ]
    assert "tests/shared/consent/test_flush_crashes.py" in own_tests("shared/consent/flush.py", REPOSITORY)
