"""Records of Klaviyo's data sources: the accepted create jobs, single and bulk. No HTTP and no store.

Klaviyo's pages "Create Data Source Record", "Bulk Create Data Source Records" and "Custom Objects API overview": one record of at
most 512 KB, or 500 of them in at most 4 MB; `relationships` is required from revision 2026-10-15 on; no schema is enforced.

Assumed (sizes-are-of-1024, refusal-names-the-record):
KB and MB are multiples of 1024, counted over the JSON in UTF-8 without spaces; a record too large, and a bulk job
with too many or none, is 400; a bulk job with a bad record is refused whole, with one error for each bad record.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.klaviyo import documents
from deploy.local.sandbox.klaviyo.errors import Problem

SINGLE = "data-source-record-create-job"
BULK = "data-source-record-bulk-create-job"
MOST_RECORDS = 500
LARGEST_RECORD = 512 * 1024
LARGEST_BULK = 4 * 1024 * 1024
SOURCE_POINTER = "/data/relationships/data-source"

_ITEM = "data-source-record"
_LIST = "data-source-records"
_ATTRIBUTES = "/data/attributes"


@dataclass(frozen=True)
class Record:
    """One record as it was accepted, with the data source it was sent to. `received_at` is in Unix seconds."""

    data_source_id: str
    title: str
    bulk: bool
    received_at: float
    record: Mapping[str, Any] = field(repr=False)


def problems(document: Any, *, bulk: bool, unwanted: str = "") -> Iterator[Problem]:
    """Yield everything wrong with the body of a create job. A record that has the property `unwanted` is wrong, too."""
    name = _LIST if bulk else _ITEM
    rule = (lambda value: isinstance(value, dict), "an object with 'data'")
    type = BULK if bulk else SINGLE
    wrong = list(documents.problems(document, type, {name: rule}, required=[name]))
    yield from wrong
    if not isinstance(document, dict) or not isinstance(document.get("data"), dict):
        return
    yield from _source_problems(document["data"])
    if wrong:
        return
    items, pointer = document["data"]["attributes"][name].get("data"), f"{_ATTRIBUTES}/{name}/data"
    yield from _list_problems(items, pointer, unwanted) if bulk else _item_problems(items, pointer, unwanted)


def data_source_id(document: Mapping[str, Any]) -> str:
    """Return the data source that an acceptable document names."""
    return str(document["data"]["relationships"]["data-source"]["data"]["id"])


def records(document: Mapping[str, Any], *, bulk: bool) -> list[Mapping[str, Any]]:
    """Return the records of an acceptable document."""
    attributes = document["data"]["attributes"]
    items = attributes[_LIST]["data"] if bulk else [attributes[_ITEM]["data"]]
    return [item["attributes"]["record"] for item in items]


def _source_problems(data: Mapping[str, Any]) -> Iterator[Problem]:
    related = data.get("relationships")
    named = related.get("data-source") if isinstance(related, dict) else None
    row = named.get("data") if isinstance(named, dict) else None
    if not isinstance(row, dict):
        yield Problem("The relationship 'data-source' is required.", SOURCE_POINTER)
    elif row.get("type") != "data-source":
        yield Problem("'type' must be 'data-source'.", f"{SOURCE_POINTER}/data/type")
    elif not isinstance(row.get("id"), str) or not row["id"]:
        yield Problem("'id' is required and must be a string.", f"{SOURCE_POINTER}/data/id")


def _list_problems(items: Any, pointer: str, unwanted: str) -> Iterator[Problem]:
    if not isinstance(items, list) or not 1 <= len(items) <= MOST_RECORDS:
        yield Problem(f"A job holds 1 to {MOST_RECORDS} records.", pointer)
        return
    for index, item in enumerate(items):
        yield from _item_problems(item, f"{pointer}/{index}", unwanted)
    if _size(items) > LARGEST_BULK:
        yield Problem("A job is at most 4 MB.", pointer)


def _item_problems(item: Any, pointer: str, unwanted: str) -> Iterator[Problem]:
    if not isinstance(item, dict) or item.get("type") != _ITEM:
        yield Problem(f"'type' must be '{_ITEM}'.", f"{pointer}/type")
        return
    attributes = item.get("attributes")
    record = attributes.get("record") if isinstance(attributes, dict) else None
    at = f"{pointer}/attributes/record"
    if not isinstance(record, dict):
        yield Problem("'record' is required and must be an object.", at)
    elif _size(record) > LARGEST_RECORD:
        yield Problem("A record is at most 512 KB.", at)
    elif unwanted and unwanted in record:
        yield Problem("This record cannot be taken.", at)


def _size(value: Any) -> int:
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return len(text.encode(errors="surrogatepass"))
