"""From the body of a data-source-record call to records that Klaviyo takes, and the rules to join and split records.

A record is a free-form object: Klaviyo enforces no schema. Klaviyo has no key that makes a record unique either, so each one
carries an id of ours in the property `omneo_record_id`, by which a copy can be recognised: the caller's own, if the record has that
property, otherwise a new id from the time of the call. It stays the same however often the record is sent.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from shared.errors import InvalidPayloadError, PayloadTooLargeError
from shared.klaviyo.resources import DATA_SOURCES
from shared.values import lacks_a_part, read_id, read_plain
from shared.values.amounts import with_rounded_money

RECORD_ID = "omneo_record_id"

# https://developers.klaviyo.com/en/reference/bulk_create_data_source_records
MOST_RECORDS = 500
RECORD_BYTES = 512 * 1024
BULK_BYTES = 4_000_000
# The limit of records that travel or are stored together: they fit a task, and, encrypted and uncompressed, a document of the store.
PARCEL_BYTES = 700_000

_BESIDE_A_RECORD = len('{"type": "data-source-record", "attributes": {"record": }}, ')
_BETWEEN_WORDS = re.compile(r"[\s_-]+")
_BLAMED = re.compile(r"/data/attributes/data-source-records/data/(\d{1,4})(?:/.*)?")

Record = dict[str, Any]


@dataclass(frozen=True)
class Records:
    """The records that a call brings, and the title of their data source."""

    data_source: str
    records: tuple[Record, ...]


def read_records(body: object, *, id: str) -> Records:
    """Return the records of `body`. A record without an id gets an id that is made from `id`, the id of the call.

    Raises:
        InvalidPayloadError, PayloadTooLargeError: names the field and the fix.
    """
    if not isinstance(body, dict):
        raise InvalidPayloadError("Send a JSON object.")
    data_source = data_source_named(body.get("data_source"))
    if "records" not in body:
        return Records(data_source, (_checked(body.get("record"), "record", id),))
    if "record" in body:
        raise InvalidPayloadError("Send record or records, not both.")
    given = body["records"]
    if not isinstance(given, list) or not 1 <= len(given) <= MOST_RECORDS:
        raise InvalidPayloadError(f"records must be a list of 1 to {MOST_RECORDS} objects.")
    checked = (_checked(one, f"records[{number}]", f"{id}-{number}") for number, one in enumerate(given))
    return Records(data_source, tuple(checked))


def data_source_named(name: object) -> str:
    """Return the title of the data source that the text names: with or without "Omneo", in any case, with any separator between the words.

    >>> data_source_named("rewards"), data_source_named("OMNEO_rewards\u200b")
    ('Omneo Rewards', 'Omneo Rewards')

    Raises:
        InvalidPayloadError: it is not one of the six, which the message names.
    """
    words = _BETWEEN_WORDS.sub(" ", read_plain(name)).casefold().split() if isinstance(name, str) else []
    for title in DATA_SOURCES:
        if words and words in (title.casefold().split(), title.casefold().split()[1:]):
            return title
    raise InvalidPayloadError(f"data_source must be one of: {', '.join(DATA_SOURCES)}.")


def bytes_of(record: Mapping[str, Any]) -> int:
    """Return the bytes of a record as JSON in UTF-8, the form in which it is stored.

    >>> bytes_of({"a": "\u20ac"})
    11
    """
    return len(json.dumps(record, separators=(",", ":"), ensure_ascii=False).encode())


def bytes_sent(record: Mapping[str, Any]) -> int:
    """Return the bytes of a record in a call, where every character outside ASCII is escaped.

    >>> bytes_sent({"a": "\u20ac"}) - bytes_sent({"a": "e"})
    5
    """
    return len(json.dumps(record)) + _BESIDE_A_RECORD


def fitting(sizes: Sequence[int], *, most_bytes: int) -> int:
    """Return how many of the records with these sizes, from the first on, fit together: at least one, if there is one."""
    size = 0
    for count, one in enumerate(sizes[:MOST_RECORDS]):
        size += one
        if count and size > most_bytes:
            return count
    return min(len(sizes), MOST_RECORDS)


def parcels(records: Sequence[Record]) -> Iterator[tuple[Record, ...]]:
    """Yield the records in order, in as few parts as possible that each fit a task."""
    first, sizes = 0, [bytes_of(record) + 1 for record in records]
    while first < len(records):
        count = fitting(sizes[first:], most_bytes=PARCEL_BYTES)
        yield tuple(records[first : first + count])
        first += count


def blamed(fields: Sequence[str], count: int) -> list[int]:
    """Return which of `count` records a refusal of a bulk job blames, by the places that it names.

    >>> blamed(["/data/attributes/data-source-records/data/3/attributes/record", "/data"], 5)
    [3]
    """
    found = {int(match[1]) for field in fields if (match := _BLAMED.fullmatch(field))}
    return sorted(index for index in found if index < count)


def apart(records: Sequence[Record], bad: Sequence[int]) -> list[tuple[Record, ...]]:
    """Split records that were refused together, in their order: each bad record stands alone, or there are two halves if no bad record is
    known.

    Every part is smaller than the whole, so repeated splits end at single records.

    >>> [len(part) for part in apart([{}] * 5, [1, 3])], [len(part) for part in apart([{}] * 5, [])]
    ([1, 1, 1, 1, 1], [2, 3])
    >>> [len(part) for part in apart([{}] * 9, [4])]
    [4, 1, 4]
    """
    cuts = {cut for index in bad for cut in (index, index + 1)} or {len(records) // 2}
    edges = sorted({0, *cuts, len(records)})
    return [tuple(records[first:last]) for first, last in pairwise(edges)]


def _checked(record: object, path: str, id: str) -> Record:
    if not isinstance(record, dict) or not record:
        raise InvalidPayloadError(f"{path} must be an object with at least one property.")
    named = {**with_rounded_money(record), RECORD_ID: _own_id(record.get(RECORD_ID)) or id}
    if bytes_of(named) > RECORD_BYTES:
        raise PayloadTooLargeError(f"{path} must be at most {RECORD_BYTES // 1024} KB.")
    return named


def _own_id(value: object) -> str:
    """Return the caller's id of a record as text: 7, 7.0 and "7" are the same. It is "" for a value that is no id, or that every record
    would share.
    """
    id = read_id(value) or ""
    return "" if lacks_a_part(id) else id
