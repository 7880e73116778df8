"""The table of tenant settings in `settings.md`, written from the published JSON Schema.

The text around the table is written by hand. Nothing here says what a setting means: the schema does.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from shared.tenants.settings import settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH

PAGE = Path(__file__).with_name("settings.md")
BEGIN = "<!-- The table below is written from the schema: python -m deploy.guide -->"
END = "<!-- The end of the written table -->"
HEADINGS = ("Setting", "Meaning", "Value", "Default", "Example")
MOST_WORDS = 10  # an enumeration that is longer stands in the schema alone

Rule = Mapping[str, Any]


def with_table(page: str) -> str:
    """Return the page with the table between its two comments written anew.

    Raises:
        ValueError: a comment is missing.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"settings.md needs these two lines around its table: {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{table()}\n\n{END}{after}"


def table() -> str:
    """Return the table in Markdown, one row for each setting, without a line break at its end."""
    properties = settings_schema(WEBHOOK_SECRET_LENGTH)["properties"]
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_row(name, rule) for name, rule in properties.items())]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, rule: Rule) -> tuple[str, ...]:
    meaning = rule["description"].replace("|", r"\|")
    way = " (write only)" if rule.get("writeOnly") else " (only shown)" if rule.get("readOnly") else ""
    example = _code(rule["examples"][0]) if rule.get("examples") else ""
    return f"`{name}`", f"{meaning}{way}", value_of(rule), _default(rule), example


def _default(rule: Rule) -> str:
    if "default" not in rule:
        return "-"  # the meaning says what holds until it is set
    return "none" if rule["default"] is None else _code(rule["default"])


def value_of(rule: Rule) -> str:
    """Return in words what a value must be, as in "whole number, from 1 to 365"."""
    options = [option for option in rule.get("anyOf", (rule,)) if option.get("type") != "null"]
    return " or ".join(", ".join(_words(option)) for option in options)


def _words(option: Rule) -> Iterator[str]:
    if "$ref" in option:
        option = _definition(option["$ref"])
    words = option.get("enum", ())
    if words and len(words) <= MOST_WORDS:
        yield " or ".join(_code(word) for word in words)
        return
    yield _KINDS[option["type"]]
    if words:
        yield "one that the schema lists"
    if "exclusiveMinimum" in option:
        yield f"above {option['exclusiveMinimum']:,}"
    yield from _range(option.get("minimum"), option.get("maximum"), "")
    if option["type"] == "string":
        yield from _range(option.get("minLength"), option.get("maxLength"), " characters")
    if "pattern" in option:
        yield f"pattern {_code(option['pattern'])}"


def _range(least: float | None, most: float | None, unit: str) -> Iterator[str]:
    if least is not None and most is not None:
        yield f"from {least:,} to {most:,}{unit}"
    elif most is not None:
        yield f"at most {most:,}{unit}"


def _definition(reference: str) -> Rule:
    definitions: dict[str, Rule] = settings_schema(WEBHOOK_SECRET_LENGTH)["$defs"]
    return definitions[reference.rpartition("/")[2]]


def _code(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return f"`{text.replace('|', chr(92) + '|')}`"


_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "JSON object",
    "array": "list",
}
