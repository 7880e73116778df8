"""The composition root: only this module builds stores, clients and the queue, each when it is first needed.

Somebody waits during a cold start, so nothing heavy is imported or connected before a request needs it. Everything built here is safe for
threads. The rooms get their stores and clients from here; this module never imports a room above it.
"""

import gc
import logging
import os
import random
import secrets
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from shared import logs
from shared.errors import ConfigurationError
from shared.settings import Needs, QueueSettings, Settings, StoreSettings

if TYPE_CHECKING:
    from shared.http.answers import Problem
    from shared.http.client import HttpClient
    from shared.http.connections import Connections
    from shared.jobs.cloud_tasks import CloudTasksQueue
    from shared.jobs.queue import TaskQueue
    from shared.klaviyo.client import KlaviyoClient
    from shared.klaviyo.oauth import KlaviyoOAuth
    from shared.klaviyo.rests import Rests
    from shared.omneo.client import OmneoClient
    from shared.storage.documents import Documents
    from shared.storage.encryption import KeyRing
    from shared.storage.leases import Leases
    from shared.tenants.cache import TenantCache
    from shared.tenants.former import FormerTenants
    from shared.tenants.secret_uses import SecretUses
    from shared.tenants.tenants import Tenant, TenantStore

T = TypeVar("T")

_WARMING_SECONDS = 3.0  # the first call waits for it


def _now() -> datetime:
    return datetime.now(UTC)


def _new_id() -> str:
    return uuid.uuid4().hex


def _new_word() -> str:
    return secrets.token_urlsafe(32)  # also a PKCE verifier: 43 characters


def _tried(way: Callable[[], None]) -> None:
    with suppress(Exception):  # a thread would write it out as no line of the log is written
        way()


@dataclass(frozen=True)
class Services:
    """Everything outside the code. Clock, chance and sleep are arguments, so that tests can replace them."""

    settings: Settings
    clock: Callable[[], datetime] = _now
    random: Callable[[], float] = random.random
    sleep: Callable[[float], None] = time.sleep
    new_id: Callable[[], str] = _new_id
    new_word: Callable[[], str] = _new_word
    short_waits: int = 0  # see http/client.py; above zero only if a person waits for the answer
    _kept: dict[type, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def from_environment(cls, needs: Needs, *, short_waits: int = 0) -> "Services":
        """Check the environment and set up the log. Ends the process with one readable message if that fails."""
        try:
            settings = Settings.from_env(os.environ, needs)
        except ConfigurationError as error:
            logs.configure("")
            logs.write(logging.CRITICAL, str(error))
            sys.exit(1)
        logs.configure(settings.project)
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")  # its own lines are not ours, nor JSON
        os.environ.setdefault(
            "PYDANTIC_DISABLE_PLUGINS", "__all__"
        )  # it looks for some in every package, and there are none
        gc.freeze()  # the objects of the start stay; the first call is faster if the collector does not look at them again
        services = cls(settings, short_waits=short_waits)
        if (
            "K_SERVICE" in os.environ
        ):  # Cloud Run's own variable; the launcher forks once, and the copy takes the calls
            os.register_at_fork(after_in_child=services.warm)
        return services

    def warm(self) -> None:
        """Build and connect everything that every call needs, before the first call. That call reports a failure."""
        ways = [self._look_into_the_store] if self.settings.store else []
        ways += [self._look_at_the_queue] if self.settings.queue else []
        threads = [threading.Thread(target=_tried, args=(way,), daemon=True) for way in ways]
        ends = time.monotonic() + _WARMING_SECONDS
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, ends - time.monotonic()))

    def _look_into_the_store(self) -> None:
        self.tenants.find("warm")

    def _look_at_the_queue(self) -> None:
        self._cloud_tasks.connect()

    def kept(self, kind: type[T], make: Callable[[], T]) -> T:
        """Return the one object of a kind that this process keeps between calls. `make` makes it at the first call."""
        found: T = self._kept.get(kind) or self._kept.setdefault(kind, make())
        return found

    @cached_property
    def documents(self) -> "Documents":
        """The document store."""
        store = self._store
        if store.sqlite_path:
            from shared.storage.sqlite import SqliteDocuments

            return SqliteDocuments(store.sqlite_path, clock=self.clock)
        from shared.storage.firestore import FirestoreDocuments, firestore_client

        return FirestoreDocuments(firestore_client(store.project))

    @cached_property
    def keys(self) -> "KeyRing":
        """The keys that secrets are encrypted with."""
        from shared.storage.encryption import KeyRing

        return KeyRing(self._store.keys)

    @cached_property
    def tenants(self) -> "TenantStore":
        """The tenants, always fresh."""
        from shared.tenants.tenants import TenantStore

        return TenantStore(self.documents, self.keys)

    @cached_property
    def tenant_cache(self) -> "TenantCache":
        """The tenants, possibly some seconds old."""
        from shared.tenants.cache import TenantCache

        return TenantCache(self.tenants.find, time.monotonic)

    @cached_property
    def leases(self) -> "Leases":
        """Leases over all instances."""
        from shared.storage.leases import Leases

        return Leases(self.documents, self.clock, self.new_id)

    @cached_property
    def secret_uses(self) -> "SecretUses":
        """When secrets were last used."""
        from shared.tenants.secret_uses import SecretUses

        return SecretUses(self.documents, self.clock)

    @cached_property
    def rests(self) -> "Rests":
        """The rests of Klaviyo's endpoints."""
        from shared.klaviyo.rests import Rests

        return Rests(self.documents, self.clock)

    @cached_property
    def former_tenants(self) -> "FormerTenants":
        """The leftovers of deleted tenants."""
        from shared.tenants.former import FormerTenants

        return FormerTenants(self.documents, self.keys)

    @cached_property
    def queue(self) -> "TaskQueue":
        """The tenants' queues."""
        return self._cloud_tasks

    @cached_property
    def _cloud_tasks(self) -> "CloudTasksQueue":
        from shared.jobs.cloud_tasks import CloudTasksQueue, tasks_client

        settings = self._queue
        return CloudTasksQueue(settings, tasks_client(settings), self.clock)

    def klaviyo(self, tenant: "Tenant") -> "KlaviyoClient":
        """Return a client of the tenant's Klaviyo account."""
        from shared.klaviyo.client import KlaviyoClient, read_problem
        from shared.klaviyo.pace import TenantPace, Unpaced
        from shared.klaviyo.tokens import TenantTokens

        tokens = TenantTokens(
            tenant,
            tenants=self.tenants,
            leases=self.leases,
            rests=self.rests,
            oauth=self.klaviyo_oauth,
            clock=self.clock,
            sleep=self.sleep,
        )
        http = self._http("Klaviyo", self.settings.klaviyo_api_url, read_problem)
        pace = Unpaced() if self.short_waits else TenantPace(tenant.name, self.rests, self.clock)
        return KlaviyoClient(http, tokens, self.settings.klaviyo_revision, pace)

    def klaviyo_with(self, access_token: SecretStr) -> "KlaviyoClient":
        """Return a client for the account of a token that no tenant has yet."""
        from shared.klaviyo.client import FixedToken, KlaviyoClient, read_problem

        http = self._http("Klaviyo", self.settings.klaviyo_api_url, read_problem)
        return KlaviyoClient(http, FixedToken(access_token), self.settings.klaviyo_revision)

    @cached_property
    def klaviyo_oauth(self) -> "KlaviyoOAuth":
        """Klaviyo's token endpoint."""
        from shared.klaviyo.oauth import KlaviyoApp, KlaviyoOAuth, read_problem

        id, secret = self.settings.klaviyo_client_id, self.settings.klaviyo_client_secret
        if id is None or secret is None:
            raise ConfigurationError("this function was started without the Klaviyo app's credentials")
        http = self._http("Klaviyo", self.settings.klaviyo_api_url, read_problem)
        return KlaviyoOAuth(http, KlaviyoApp(id, secret))

    def omneo(self, tenant: "Tenant") -> "OmneoClient":
        """Return a client of the tenant's Omneo."""
        from shared.omneo.client import OmneoClient, base_url, read_problem

        http = self._http("Omneo", base_url(self.settings.omneo_api_url, tenant.name), read_problem)
        return OmneoClient(http, tenant.omneo_token)

    @cached_property
    def _connections(self) -> "Connections":
        from shared.http.connections import Connections

        return Connections()

    def _http(self, service: str, url: str, read_problem: "Callable[[Any], Problem]") -> "HttpClient":
        from shared.http.client import HttpClient, ShortWaits

        waits = ShortWaits(self.short_waits, sleep=self.sleep)
        return HttpClient(service, url, read_problem, self._connections, short_waits=waits)

    @property
    def _store(self) -> StoreSettings:
        if self.settings.store is None:
            raise ConfigurationError("this function was started without a store")
        return self.settings.store

    @property
    def _queue(self) -> QueueSettings:
        if self.settings.queue is None:
            raise ConfigurationError("this function was started without a queue")
        return self.settings.queue
