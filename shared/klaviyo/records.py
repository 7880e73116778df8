"""Klaviyo's calls about data sources and their records. No rules about what to send live here."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from shared.klaviyo.json_api import JsonApi, next_cursor, read, rows_of
from shared.klaviyo.limits import Endpoint


class RecordCalls(JsonApi):
    """Finds and makes data sources, and sends records to them.

    Success means that Klaviyo has accepted the record; only the ingestion logs of an object type show the result. No key stops Klaviyo from
    taking a record twice.
    """

    def data_sources(self) -> dict[str, str]:
        """Return the ids of all data sources by their titles."""
        # https://developers.klaviyo.com/en/reference/get_data_sources
        found: dict[str, str] = {}
        cursor: str | None = ""
        while cursor is not None:
            params = {"page[size]": "100"} | ({"page[cursor]": cursor} if cursor else {})
            page = self._get(Endpoint.READ_DATA_SOURCES, "/api/data-sources", params)
            found |= read(
                lambda body: {row["attributes"]["title"]: str(row["id"]) for row in rows_of(body)}, page
            )
            cursor = read(partial(next_cursor, before=cursor), page)
        return found

    def create_data_source(self, title: str, description: str) -> str:
        """Make a private data source and return its id. Titles are unique; repeating this call is refused."""
        # https://developers.klaviyo.com/en/reference/create_data_source
        attributes = {
            "title": title,
            "description": description,
            "visibility": "private",
            "namespace": "custom-objects",
        }
        made = self._post(
            Endpoint.CREATE_DATA_SOURCE,
            "/api/data-sources",
            {"data": {"type": "data-source", "attributes": attributes}},
        )
        return read(lambda body: str(body["data"]["id"]), made)

    def create_data_source_record(self, source_id: str, record: Mapping[str, Any]) -> None:
        """Send one record, of at most 512 KB. 75 calls a second, 750 a minute."""
        # https://developers.klaviyo.com/en/reference/create_data_source_record
        attributes = {"data-source-record": {"data": _record(record)}}
        self._send_records(Endpoint.RECORDS, "data-source-record-create-job", source_id, attributes)

    def bulk_create_data_source_records(self, source_id: str, records: Sequence[Mapping[str, Any]]) -> None:
        """Send up to 500 records, of 4 MB in all. 3 calls a second, 15 a minute. A refusal means that none was taken."""
        # https://developers.klaviyo.com/en/reference/bulk_create_data_source_records
        attributes = {"data-source-records": {"data": [_record(record) for record in records]}}
        self._send_records(Endpoint.BULK_RECORDS, "data-source-record-bulk-create-job", source_id, attributes)

    def _send_records(
        self, endpoint: Endpoint, type: str, source_id: str, attributes: Mapping[str, Any]
    ) -> None:
        # The relationship is optional before revision 2026-10-15 and required from then on.
        related = {"data-source": {"data": {"type": "data-source", "id": source_id}}}
        job = {"type": type, "attributes": attributes, "relationships": related}
        self._post(endpoint, f"/api/{type}s", {"data": job})


def _record(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "data-source-record", "attributes": {"record": record}}
