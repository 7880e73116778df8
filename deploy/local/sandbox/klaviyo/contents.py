"""The contents of an account, which a test puts there or looks at. No HTTP here."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.data_sources import DataSource
from deploy.local.sandbox.klaviyo.directory import Directory
from deploy.local.sandbox.klaviyo.event_resources import Event
from deploy.local.sandbox.klaviyo.records import Record
from deploy.local.sandbox.klaviyo.webhooks import Webhook

_REVISION = "2026-10-15"


class Contents(Directory):
    """The contents of a service's accounts."""

    def account(self, account: str, *, topics: Sequence[str] | None = None, **details: str) -> None:
        """Make an account if needed, and set its details and its webhook topics.

        `details` are the fields of `Details`: organization_name, timezone, currency, country, locale, default_opt_in.
        """
        with self._lock:
            known = self._account(account)
            known.details = replace(known.details, **details)
            known.topics = known.topics if topics is None else list(topics)

    def profile(self, account: str, *, id: str | None = None, **attributes: Any) -> Profile:
        """Write a profile as Klaviyo's users would: found by id or identifier, else created."""
        with self._lock:
            return self._account(account).apply_profile(
                {"id": id, "attributes": attributes}, revision=_REVISION
            )

    def data_source(self, account: str, title: str, **attributes: str) -> DataSource:
        """Make a data source as another session would, whatever exists already."""
        with self._lock:
            known = self._account(account)
            source = DataSource(self._identifiers.ulid(), title, **attributes)
            known.data_sources[source.id] = source
        return source

    def webhook(
        self, account: str, name: str, *, endpoint_url: str, secret_key: str, topics: Sequence[str]
    ) -> Webhook:
        """Make a webhook as another session would, whatever exists already."""
        with self._lock:
            id, now = self._identifiers.ulid(), self.clock()
            webhook = Webhook(id, name, endpoint_url, secret_key, list(topics), now)
            known = self._account(account)
            known.webhooks[id] = webhook
            known.parcels.start(id, known.outbox)
        return webhook

    def disable_webhook(self, account: str, id: str) -> None:
        """Disable a webhook as Klaviyo does when it was in error for 48 hours. KeyError if there is none like it."""
        with self._lock:
            self._account(account).webhooks[id].enabled = False

    def events(self, account: str) -> list[Event]:
        """Return the events recorded, oldest first; a repeated unique_id is not among them."""
        with self._lock:
            return list(self._current(account).events)

    def profiles(self, account: str) -> list[Profile]:
        """Return the account's profiles, oldest first."""
        with self._lock:
            return list(self._current(account).profiles.values())

    def run_jobs(self) -> None:
        """Let every job have its effect that is due by now; calls and questions about the account do so too."""
        with self._lock:
            for account in list(self._accounts):
                self._current(account)

    def data_sources(self, account: str) -> list[DataSource]:
        """Return the account's data sources, oldest first."""
        with self._lock:
            return list(self._account(account).data_sources.values())

    def delete_data_source(self, account: str, id: str) -> None:
        """Delete a data source as a merchant does; its records stay readable here. KeyError if there is none like it."""
        with self._lock:
            del self._account(account).data_sources[id]

    def records(self, account: str) -> list[Record]:
        """Return the records of all data sources, in the order in which they were accepted."""
        with self._lock:
            return list(self._account(account).records)

    def webhooks(self, account: str) -> list[Webhook]:
        """Return the account's webhooks, oldest first, with address and secret as they were set."""
        with self._lock:
            return [replace(webhook) for webhook in self._account(account).webhooks.values()]
