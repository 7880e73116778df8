"""The product's clients, with the calls that only a rehearsal makes: one method for each endpoint.

`checks/` decides what they send, and why.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

from shared.klaviyo.client import KlaviyoClient
from shared.klaviyo.filters import any_of, equals
from shared.klaviyo.json_api import read, rows_of, segment
from shared.klaviyo.limits import Endpoint
from shared.omneo.client import OmneoClient

Row = Mapping[str, Any]

_UNCOUNTED = (
    Endpoint.READ_LIST
)  # the extension never makes the call; a rehearsal keeps no pace, and waits where it is throttled


class RehearsedKlaviyo(KlaviyoClient):
    """Klaviyo's client, with the calls that only a rehearsal makes. They return whole answers."""

    @classmethod
    def like(cls, client: KlaviyoClient) -> Self:
        """Return one that calls as `client` does."""
        return cls(client._http, client._tokens, client._revision, client._pace)

    def profile_row(self, id: str) -> Row:
        """Return a profile as Klaviyo shows it, with its subscriptions."""
        answer = self._get(
            Endpoint.READ_PROFILE,
            f"/api/profiles/{segment(id)}",
            {"additional-fields[profile]": "subscriptions"},
        )
        return read(lambda body: {**body["data"]}, answer)

    def send_event(self, data: Row) -> None:
        """Record an event; `data` is the whole resource."""
        self._post(Endpoint.EVENTS, "/api/events", {"data": data})

    def events_of(self, profile_id: str) -> list[Row]:
        """Return the events of a profile, the newest first, at most a page of them."""
        answer = self._get(
            Endpoint.READ_EVENTS,
            "/api/events",
            {"filter": equals("profile_id", profile_id), "sort": "-datetime"},
        )
        return read(lambda body: [{**row} for row in rows_of(body)], answer)

    def newest_events(self, metric_id: str) -> list[Row]:
        """Return the newest events of a metric of Klaviyo's own, at most a page of them."""
        answer = self._get(
            Endpoint.READ_EVENTS,
            "/api/events",
            {"filter": equals("metric_id", metric_id), "sort": "-datetime"},
        )
        return read(lambda body: [{**row} for row in rows_of(body)], answer)

    def create_list(self, name: str) -> Row:
        """Make a list with single opt-in, and return it as Klaviyo shows it."""
        # https://developers.klaviyo.com/en/reference/create_list
        attributes = {"name": name, "opt_in_process": "single_opt_in"}
        answer = self._post(_UNCOUNTED, "/api/lists", {"data": {"type": "list", "attributes": attributes}})
        return read(lambda body: {**body["data"]}, answer)

    def lists_named(self, name: str) -> list[str]:
        """Return the ids of the lists with this name, at most a page of them."""
        answer = self._get(_UNCOUNTED, "/api/lists", {"filter": any_of("name", [name])})
        return read(lambda body: [str(row["id"]) for row in rows_of(body)], answer)

    def delete_list(self, id: str) -> None:
        """Remove a list; its members stay. Raises NotFoundError: it is not there."""
        # https://developers.klaviyo.com/en/reference/delete_list
        self._send(_UNCOUNTED, "DELETE", f"/api/lists/{segment(id)}")

    def delete_data_source(self, id: str) -> None:
        """Remove a data source. Raises NotFoundError: it is not there."""
        # https://developers.klaviyo.com/en/reference/delete_data_source
        self._send(_UNCOUNTED, "DELETE", f"/api/data-sources/{segment(id)}")

    def webhook_rows(self) -> list[Row]:
        """Return the account's webhooks as Klaviyo shows them."""
        answer = self._get(Endpoint.READ_WEBHOOKS, "/api/webhooks", {"include": "webhook-topics"})
        return read(lambda body: [{**row} for row in rows_of(body)], answer)

    def send_records(self, source_id: str, records: Sequence[Any]) -> None:
        """Send records in one bulk job, as they are: one that is no object, too."""
        self.bulk_create_data_source_records(source_id, records)


class RehearsedOmneo(OmneoClient):
    """Omneo's client, with the calls that only a rehearsal makes."""

    @classmethod
    def like(cls, client: OmneoClient) -> Self:
        """Return one that calls as `client` does."""
        return cls(client._http, client._token)

    def create_profile(self, fields: Row) -> str:
        """Make a profile, and return its id."""
        # https://docs.omneo.io/dev-guides/profiles/working-with-profiles
        return str(self._call("POST", "/api/v3/profiles", body=fields)["data"]["id"])

    def delete_profile(self, id: str) -> None:
        """Delete a profile; any 2xx will do. Raises NotFoundError: it is not there."""
        self._call("DELETE", f"/api/v3/profiles/{id}", any_success=True)

    def profiles_by_email(self, email: str) -> Any:
        """Return the whole answer of the filter by email."""
        return self._call("GET", "/api/v3/profiles", params={"filter[email]": email})

    def profile_row(self, id: str) -> Any:
        """Return the whole answer to a read of a profile, or raise the error for its refusal."""
        return self._call("GET", f"/api/v3/profiles/{id}")

    def add_interaction(self, body: Row) -> Any:
        """Add an interaction, and return the whole answer."""
        return self._call("POST", "/api/v3/interactions", body=body)

    def mint(self, body: Row) -> Any:
        """Ask for an ID token, and return the whole answer."""
        return self._call("POST", "/id/api/v1/auth/token", body=body)

    def reward_rows(self, profile_id: str) -> Any:
        """Return the newest rewards of a profile as Omneo lists them."""
        params = {"filter[profile_id]": profile_id, "sort": "-created_at", "page[size]": "100"}
        return self._call("GET", "/api/v3/rewards", params=params)

    def add_reward(self, body: Row) -> Any:
        """Make a reward, and return the whole answer."""
        return self._call("POST", "/api/v3/rewards", body=body)

    def delete_reward(self, id: int | str) -> None:
        """Delete a reward; any 2xx will do. Raises NotFoundError: it is not there."""
        self._call("DELETE", f"/api/v3/rewards/{id}", any_success=True)

    def definition_rows(self) -> Any:
        """Return the first page of reward definitions."""
        return self._call("GET", "/api/v3/rewards/definitions", params={"page[size]": "100"})

    def webhook_rows(self, namespace: str) -> Any:
        """Return the first page of the webhooks of a namespace."""
        params = {"filter[namespace]": namespace, "page[size]": "100"}
        return self._call("GET", "/api/v3/webhooks", params=params)

    def verified(self) -> Any:
        """Return the whole answer of the check of the token."""
        return self._call("GET", "/api/v3/auth/verify", any_success=True)
