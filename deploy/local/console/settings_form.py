"""A tenant's settings as a form, from the schema that the admin API publishes, and back to the body of PUT settings.

Pure.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

CHOSEN_FROM = 12  # a list of more is offered while one types
Json = dict[str, Any]


class CannotSaveError(Exception):
    """A field cannot be read as it is filled in; the message names it and the fix."""


@dataclass(frozen=True)
class Field:
    """A setting as a person fills it in. `kind` is "choice", "offered", "number", "json" or "text"; "" brings the default back."""

    name: str
    kind: str
    value: str
    hint: str
    default: str
    choices: tuple[str, ...] = ()
    example: str = ""


def fields(schema: Json, settings: Mapping[str, Any]) -> list[Field]:
    """Return a field for each setting that can be changed and shown, in the order of the schema."""
    return list(_fields(schema, settings))


def changes(schema: Json, settings: Mapping[str, Any], form: Mapping[str, str]) -> Json:
    """Return the changed fields of the form, as the body of PUT settings.

    Raises:
        CannotSaveError: names the field and the fix.
    """
    found: Json = {}
    for field in _fields(schema, settings):
        if field.name in form and form[field.name].strip() != field.value:
            found[field.name] = _read(field, form[field.name].strip())
    return found


def _fields(schema: Json, settings: Mapping[str, Any]) -> Iterator[Field]:
    for name, row in schema["properties"].items():
        if row.get("readOnly") or row.get("writeOnly"):
            continue
        rule = _rule(row, schema)
        examples = row.get("examples") or [""]
        yield Field(
            name,
            _kind(rule),
            _written(settings.get(name)),
            row.get("description", ""),
            _written(row.get("default")),
            _choices(rule),
            _written(examples[0]),
        )


def _rule(row: Json, schema: Json) -> Json:
    """Return the rule of the value if it is set: a null beside it only means that the value is optional."""
    rules = [rule for rule in row.get("anyOf", [row]) if rule.get("type") != "null"]
    rule: Json = rules[0] if rules else row
    if reference := rule.get("$ref"):
        return dict(schema["$defs"][reference.rpartition("/")[2]])
    return rule


def _choices(rule: Json) -> tuple[str, ...]:
    return ("true", "false") if rule.get("type") == "boolean" else tuple(rule.get("enum", ()))


def _kind(rule: Json) -> str:
    if choices := _choices(rule):
        return "choice" if len(choices) <= CHOSEN_FROM else "offered"
    return {"integer": "number", "number": "number", "object": "json"}.get(rule.get("type", ""), "text")


def _written(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _read(field: Field, text: str) -> Any:
    if not text:
        return None
    if field.kind in ("text", "offered") or (
        field.kind == "choice" and set(field.choices) != {"true", "false"}
    ):
        return text
    try:
        return json.loads(text)
    except ValueError:
        what = "a number" if field.kind == "number" else "JSON"
        raise CannotSaveError(f"{field.name}: write {what}, as in {field.example}.") from None
