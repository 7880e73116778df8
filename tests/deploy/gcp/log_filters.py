"""As much of Cloud Logging's query language as our filters use: comparisons joined by AND.

https://cloud.google.com/logging/docs/view/logging-query-language
"""

import re
from collections.abc import Mapping
from typing import Any

_TERM = re.compile(r'(?P<field>[\w.]+)\s*(?P<operator>=~|!=|=|>|:)\s*(?P<value>\*|"[^"]*"|\([^)]*\)|[\d.]+)')


def matches(filter: str, line: Mapping[str, Any]) -> bool:
    """Return whether a log line of one of our functions is found by the filter."""
    terms = re.split(r"\s+AND\s+", filter)
    return all(
        _holds(term, {"resource": {"type": "cloud_run_revision"}, "jsonPayload": line}) for term in terms
    )


def extracted(extractor: str, line: Mapping[str, Any]) -> str:
    """Return what a label's extractor finds in the line, "" if nothing."""
    if found := re.fullmatch(r"EXTRACT\(([\w.]+)\)", extractor):
        value = _field(found[1], {"jsonPayload": line})
        return "" if value is None else str(value)
    found = re.fullmatch(r'REGEXP_EXTRACT\(([\w.]+), "(.*)"\)', extractor)
    assert found is not None, f"{extractor} is no extractor"
    matched = re.search(found[2], str(_field(found[1], {"jsonPayload": line})))
    return matched[1] if matched else ""


def _holds(term: str, entry: Mapping[str, Any]) -> bool:
    found = _TERM.fullmatch(term.strip())
    assert found is not None, f"{term} is not understood"
    value = _field(found["field"], entry)
    operator, wanted = found["operator"], found["value"]
    if operator == ":":
        assert wanted == "*"
        return value is not None
    if operator == ">":
        return isinstance(value, int | float) and value > float(wanted)
    if operator == "=~":
        return re.search(wanted.strip('"'), str(value)) is not None
    if operator == "!=":
        return str(value) != wanted.strip('"')
    if wanted.startswith("("):
        return str(value) in re.findall(r'"([^"]*)"', wanted)
    return str(value) == wanted.strip('"')


def _field(path: str, entry: Mapping[str, Any]) -> Any:
    value: Any = entry
    for name in path.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value
