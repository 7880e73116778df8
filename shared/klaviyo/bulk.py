"""Klaviyo's calls about many profiles, or of many events, at once: one method per endpoint. The callers decide what to send."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from shared.consent_events import Consent
from shared.klaviyo.consent_jobs import SOURCE
from shared.klaviyo.filters import any_of
from shared.klaviyo.json_api import JsonApi, next_cursor, read, rows_of, segment
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.profiles import KlaviyoProfile, with_subscriptions

SUBSCRIBED_AT_ONCE = 1000
UNSUBSCRIBED_AT_ONCE = 100
READ_AT_ONCE = 100
EVENTS_AT_ONCE = 1000
_CONSENTS = (
    (Consent.EMAIL, "email", "marketing"),
    (Consent.SMS, "sms", "marketing"),
    (Consent.SMS_TRANSACTIONAL, "sms", "transactional"),
)

Identifier: TypeAlias = Literal["id", "email", "phone_number", "external_id"]


@dataclass(frozen=True)
class Subscriber:
    """A person to subscribe, with the date of each consent, or to unsubscribe, where dates and id are not used.

    `id` is Klaviyo's id, "" if there is no profile yet. A profile with another address gets this address, and no second profile is made.
    """

    email: str = field(repr=False)
    phone_number: str = field(repr=False)
    consents: Mapping[Consent, datetime | None]
    id: str = ""


@dataclass(frozen=True)
class ImportJob:
    """The state of a bulk import."""

    id: str
    status: str
    total: int
    completed: int
    failed: int

    @property
    def is_over(self) -> bool:
        """Whether Klaviyo has ended the import."""
        return self.status in {"complete", "cancelled"}


@dataclass(frozen=True)
class RefusedRow:
    """A profile that an import did not take: its `external_id` and its id as they were sent, "" if there was none, and Klaviyo's code and field."""

    external_id: str
    code: str
    field: str
    klaviyo_id: str = ""


class BulkCalls(JsonApi):
    """Calls that read or start something about many profiles, or send many events."""

    def bulk_create_events(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Record at most 1,000 events, of 5 MB in all, each as `create_event` takes one. 10 calls a second, 150 a minute.

        Success means accepted, and no call shows the result. If Klaviyo already has one event, by profile, metric and `unique_id`, or if
        one stands twice here, refuses all of them: so never repeat this call after an answer that says nothing.
        """
        # https://developers.klaviyo.com/en/reference/bulk_create_events
        rows = {"events-bulk-create": {"data": [bulk_row(event) for event in events]}}
        self._post(
            Endpoint.BULK_EVENTS,
            "/api/event-bulk-create-jobs",
            {"data": {"type": "event-bulk-create-job", "attributes": rows}},
        )

    def profiles_by(self, name: Identifier, values: Collection[str]) -> list[KlaviyoProfile]:
        """Return the profiles with any of these values, at most 100, with their subscriptions."""
        # https://developers.klaviyo.com/en/reference/get_profiles
        params = {
            "filter": any_of(name, values),
            "additional-fields[profile]": "subscriptions",
            "page[size]": str(READ_AT_ONCE),
        }
        answer = self._get(Endpoint.READ_PROFILES, "/api/profiles", params)
        return read(lambda body: [with_subscriptions(row) for row in rows_of(body)], answer)

    def import_profiles(self, resources: Sequence[Mapping[str, Any]]) -> str:
        """Start an import of at most 10,000 profiles and 5 MB, and return its job's id. Repeating it is harmless."""
        # https://developers.klaviyo.com/en/reference/bulk_import_profiles
        body = {
            "type": "profile-bulk-import-job",
            "attributes": {"profiles": {"data": list(resources)}},
        }
        return read(
            lambda answer: str(answer["data"]["id"]),
            self._post(Endpoint.BULK_IMPORT, "/api/profile-bulk-import-jobs", {"data": body}),
        )

    def import_job(self, id: str) -> ImportJob:
        """Return the state of an import."""
        # https://developers.klaviyo.com/en/reference/get_bulk_import_profiles_job
        answer = self._get(Endpoint.READ_BULK_IMPORT, f"/api/profile-bulk-import-jobs/{segment(id)}")
        return read(lambda body: _import_job(body["data"]), answer)

    def import_errors(self, id: str, cursor: str = "") -> tuple[list[RefusedRow], str]:
        """Return a page of the profiles that an import did not take, and the cursor of the next page, "" on the last."""
        # https://developers.klaviyo.com/en/reference/get_errors_for_bulk_import_profiles_job
        page = self._get(
            Endpoint.READ_IMPORT_ERRORS,
            f"/api/profile-bulk-import-jobs/{segment(id)}/import-errors",
            {"page[cursor]": cursor} if cursor else {},
        )
        rows = read(lambda body: [_import_error(row) for row in rows_of(body)], page)
        return rows, read(lambda body: next_cursor(body, before=cursor), page) or ""

    def subscribe_many(self, people: Sequence[Subscriber], *, list_id: str = "") -> None:
        """Subscribe at most 1,000 persons with the dates of their consents: Klaviyo asks nobody again, and no welcome Flow starts.

        Repeating it is harmless.
        """
        # https://developers.klaviyo.com/en/reference/bulk_subscribe_profiles
        job = "profile-subscription-bulk-create-job"
        attributes = {
            "custom_source": SOURCE,
            "historical_import": True,
            "profiles": {"data": [_subscribed(person) for person in people]},
        }
        related = {"relationships": {"list": {"data": {"type": "list", "id": list_id}}}} if list_id else {}
        self._post(
            Endpoint.SUBSCRIBE, f"/api/{job}s", {"data": {"type": job, "attributes": attributes, **related}}
        )

    def unsubscribe_many(self, people: Sequence[Subscriber]) -> None:
        """Unsubscribe at most 100 persons everywhere. A repeat is harmless."""
        # https://developers.klaviyo.com/en/reference/bulk_unsubscribe_profiles. Never with a list: see consent_jobs.py.
        job = "profile-subscription-bulk-delete-job"
        attributes = {"profiles": {"data": [_unsubscribed(person) for person in people]}}
        self._post(Endpoint.UNSUBSCRIBE, f"/api/{job}s", {"data": {"type": job, "attributes": attributes}})


def bulk_row(event: Mapping[str, Any]) -> dict[str, Any]:
    """Return an event as a row of a bulk job, which names the profile beside the event."""
    inner = {name: value for name, value in event.items() if name != "profile"}
    events = {"data": [{"type": "event", "attributes": inner}]}
    return {"type": "event-bulk-create", "attributes": {"profile": event["profile"], "events": events}}


def _import_job(row: Mapping[str, Any]) -> ImportJob:
    counts = row["attributes"]
    return ImportJob(
        id=str(row["id"]),
        status=str(counts["status"]),
        total=int(counts.get("total_count") or 0),
        completed=int(counts.get("completed_count") or 0),
        failed=int(counts.get("failed_count") or 0),
    )


def _import_error(row: Mapping[str, Any]) -> RefusedRow:
    attributes = row["attributes"]
    original = _mapping(attributes.get("original_payload"))
    inner = _mapping(original.get("attributes", original))
    return RefusedRow(
        external_id=str(inner.get("external_id") or ""),
        code=str(attributes.get("code") or ""),
        field=str(_mapping(attributes.get("source")).get("pointer") or ""),
        klaviyo_id=str(original.get("id") or ""),
    )


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _subscribed(person: Subscriber) -> dict[str, Any]:
    row = _row(
        person, lambda consent: {"consent": "SUBSCRIBED", "consented_at": _time(person.consents[consent])}
    )
    if person.id:
        return {**row, "id": person.id}
    # A new profile gets the email too: from the phone number alone, the sync of the person would not find it.
    email = {"email": person.email} if person.email else {}
    return {**row, "attributes": {**email, **row["attributes"]}}


def _unsubscribed(person: Subscriber) -> dict[str, Any]:
    return _row(person, lambda consent: {"consent": "UNSUBSCRIBED"})


def _row(person: Subscriber, say: Callable[[Consent], dict[str, Any]]) -> dict[str, Any]:
    said: dict[str, dict[str, Any]] = {}
    for consent, channel, kind in _CONSENTS:
        if consent in person.consents:
            said.setdefault(channel, {})[kind] = say(consent)
    addresses = {
        **({"email": person.email} if "email" in said else {}),
        **({"phone_number": person.phone_number} if "sms" in said else {}),
    }
    return {"type": "profile", "attributes": {**addresses, "subscriptions": said}}


def _time(at: datetime | None) -> str | None:
    return None if at is None else at.astimezone(UTC).isoformat(timespec="seconds")
