"""Templates, what php-twig prints of them, and what is said of those that are refused here.

`python -m tests.deploy.local.sandbox.omneo.twig.table` records it anew, where Debian's php-cli and php-twig are installed.
"""

import json
import random
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig

HERE = Path(__file__).parent
RECORDED = HERE / "recorded.json"
CONTEXT: dict[str, Any] = json.loads((HERE / "context.json").read_text())
AUTOLOADER = Path("/usr/share/php/Twig/autoload.php")

_PLACES = re.compile(r"\{\{.*?\}\}(?=\s|\||\{\{|$)")


@dataclass(frozen=True)
class Answers:
    """What php-twig prints, None where it refuses, and what time it was, in Unix seconds."""

    now: float
    printed: Sequence[str | None]


def templates() -> list[str]:
    """Return the templates of the table: each line, and each expression of a line that has several."""
    found: list[str] = []
    for line in (HERE / "expressions.txt").read_text().splitlines():
        parts = _PLACES.findall(line) if "{%" not in line and "{#" not in line else []
        found += [*parts, line] if len(parts) > 1 else [line]
    return list(dict.fromkeys(found))


def ask_php(asked: Sequence[str], context: Mapping[str, Any] = CONTEXT) -> Answers:
    """Let php-twig render the templates, all in one second."""
    question = {"context": context, "templates": asked}
    command = ["php", "-d", "memory_limit=512M", str(HERE / "referee.php")]
    ran = subprocess.run(
        command, input=json.dumps(question), capture_output=True, text=True, check=True, timeout=120
    )
    told = json.loads(ran.stdout)
    return Answers(told["now"], told["answers"])


def rendered(template: str, now: float) -> tuple[str | None, str]:
    """Return what is printed here, or None and what is said of it."""
    try:
        return Twig(lambda: now).render(template, CONTEXT), ""
    except TemplateFailedError as error:
        return None, str(error)


# Templates made by chance

_VALUES = (
    "yes", "no", "nothing", "missing", "zero", "empty", "zero_text", "blank", "whole", "part", "number", "negative", "tiny", "large",
    "amount", "word", "digits", "spaced", "day", "zoned", "date_only", "stamp", "quote", "name", "emoji", "list", "words", "nested",
    "none", "map", "profile.email", "profile.tags", "profile.deep", "rows", "value_remaining", "1", "0", "2.5", "-3", "'a'", "''",
    "'10'", "'1.50'", "[1, 2]", "{a: 1}", "true", "null", "'-5'", "'abc def'",
)  # fmt: skip
_FILTERS = (
    "upper", "lower", "length", "first", "last", "reverse", "trim", "capitalize", "join", "join(',')", "json_encode", "number_format",
    "number_format(2)", "number_format(1, ',', '.')", "round", "round(1)", "round(-1)", "abs", "slice(0, 2)", "slice(1)", "slice(-2)",
    "slice(1, -1)", "keys", "default('d')", "default", "url_encode", "e", "e('js')", "sort|join(',')", "merge([1])", "split(',')",
    "split('', 2)", "date('Y-m-d')", "date('c')", "date_modify('+1 day')|date('c')", "date('H:i', 'Australia/Sydney')", "format(1)",
    "replace({'a': 'b'})", "batch(2)|json_encode", "title", "map(v => v)", "filter(v => v)|length", "reduce((c, v) => c ~ v, '')",
    "column('a')", "raw", "json_encode(128)", "json_encode(256)", "date('D jS M y g:ia')",
)  # fmt: skip
_SIGNS = (
    "+", "-", "*", "/", "//", "%", "**", "~", "==", "!=", "<", ">", "<=", ">=", "<=>", "and", "or", "in", "not in", "starts with",
    "ends with", "..", "b-and", "b-or", "b-xor", "??",
)  # fmt: skip
_TESTS = ("null", "defined", "empty", "even", "odd", "iterable", "same as(1)", "divisible by(2)", "none")


def by_chance(count: int, seed: int) -> list[str]:
    """Return so many templates that nobody thought of, the same for the same seed."""
    chance = random.Random(seed)
    found = []
    for _ in range(count):
        expression = _expression(chance, chance.choice([1, 2, 2, 3]))
        printed = f"{{{{ {expression} }}}}"
        found.append(
            printed if chance.random() < 0.8 else f"{{% if {expression} %}}y{{% else %}}n{{% endif %}}"
        )
    return found


def _expression(chance: random.Random, depth: int) -> str:
    if depth == 0 or chance.random() < 0.15:
        return chance.choice(_VALUES)
    one, other, third = (_expression(chance, depth - 1) for _ in range(3))
    forms = {
        f"{one}|{chance.choice(_FILTERS)}": 25,
        f"{one} {chance.choice(_SIGNS)} {other}": 25,
        f"({one})": 7,
        f"{one} is {chance.choice(('', 'not '))}{chance.choice(_TESTS)}": 6,
        f"{one} ? {other} : {third}": 6,
        f"{one} ?: {other}": 3,
        f"{chance.choice(('not ', '-', '+'))}{one}": 3,
        f"{chance.choice(('max', 'min'))}({one}, {other})": 3,
        f"[{one}, {other}]|join('|')": 3,
        f'"x#{{{one}}}y"': 2,
        f"{{k: {one}}}|json_encode": 2,
    }
    return chance.choices([*forms], [*forms.values()])[0]


def record() -> None:
    """Write down what php-twig prints of the table."""
    asked = templates()
    answers = ask_php(asked)
    rows = []
    for template, printed in zip(asked, answers.printed, strict=True):
        found, said = rendered(template, answers.now)
        row = {"template": template, "php": printed}
        rows.append(row if found is not None else {**row, "refused": said})
    kept = {"now": answers.now, "rows": rows}
    RECORDED.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    record()
