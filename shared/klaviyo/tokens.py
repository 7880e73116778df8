"""The life of a tenant's access token. One holder refreshes it and stores the whole answer before anybody uses it.

This works with any number of instances: the lease and the tokens are in the store, and this module keeps nothing between calls.
"""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta

from pydantic import SecretStr

from shared import logs
from shared.errors import (
    DisconnectedError,
    DocumentMissingError,
    GrantRefusedError,
    RestingError,
    ServiceError,
    WaitError,
)
from shared.klaviyo.limits import Endpoint
from shared.klaviyo.oauth import KlaviyoOAuth, TokenAnswer
from shared.klaviyo.rests import Rests
from shared.storage.leases import Leases
from shared.tenants.tenants import KlaviyoConnection, Outage, Tenant, TenantStore

REFRESH_AHEAD = timedelta(
    minutes=5
)  # of an hour: early enough that a slow refresh does not leave anyone without
SECOND_LOOK_SECONDS = 30.0
LEASE = timedelta(seconds=120)  # longer than two token calls and the wait between them
RETRY_SECONDS = 5.0
# Klaviyo allows about ten token calls a minute.
REST_SECONDS = 6.0


class TenantTokens:
    """Access tokens of one tenant, as the Klaviyo client asks for them."""

    def __init__(
        self,
        tenant: Tenant,
        *,
        tenants: TenantStore,
        leases: Leases,
        rests: Rests,
        oauth: KlaviyoOAuth,
        clock: Callable[[], datetime],
        sleep: Callable[[float], None],
    ) -> None:
        self._tenant = tenant
        self._tenants = tenants
        self._leases = leases
        self._rests = rests
        self._oauth = oauth
        self._clock = clock
        self._sleep = sleep

    def current(self) -> str:
        """Return a token that should work now. A token that expires soon is refreshed first.

        While a refresh has to wait, the old token is returned as long as it lives.

        Raises:
            DisconnectedError: only a new install can help.
            WaitError: the token has expired, and another worker renews it or Klaviyo cannot renew it now.
        """
        connection = _connected(self._tenant)
        if self._clock() < connection.expires_at - REFRESH_AHEAD:
            return connection.access_token.get_secret_value()
        return self._renewed(rejected=None)

    def instead_of(self, rejected: str) -> str:
        """Return another token than `rejected`, which Klaviyo does not accept. It raises what `current` raises."""
        return self._renewed(rejected=rejected)

    def _renewed(self, *, rejected: str | None) -> str:
        connection = _connected(self._read())
        if self._is_usable(connection, rejected):
            return connection.access_token.get_secret_value()  # another worker was faster
        if rests_until := self._rests.until(self._tenant.name, Endpoint.TOKEN):
            return self._while_it_rests(connection, rejected, rests_until)
        lease = self._leases.acquire(f"klaviyo token {self._tenant.name}", lasting=LEASE)
        if lease is None:
            return self._while_another_refreshes(connection, rejected)
        try:
            connection = _connected(self._read())
            if not self._is_usable(connection, rejected):
                # Who held the lease until now may have been refused.
                if rests_until := self._rests.look(self._tenant.name, Endpoint.TOKEN):
                    return self._while_it_rests(connection, rejected, rests_until)
                connection = self._refresh(connection)
            return connection.access_token.get_secret_value()
        except WaitError:
            # The token endpoint cannot answer; that need not hold up work which the old token still allows.
            if self._lives(connection, rejected):
                return connection.access_token.get_secret_value()
            raise
        finally:
            self._leases.release(lease)

    def _is_usable(self, connection: KlaviyoConnection, rejected: str | None) -> bool:
        if rejected is not None:
            return self._clock() < connection.expires_at and (
                connection.access_token.get_secret_value() != rejected
            )
        return self._clock() < connection.expires_at - REFRESH_AHEAD

    def _lives(self, connection: KlaviyoConnection, rejected: str | None) -> bool:
        return rejected is None and self._clock() < connection.expires_at

    def _while_another_refreshes(self, connection: KlaviyoConnection, rejected: str | None) -> str:
        if self._lives(connection, rejected):
            return connection.access_token.get_secret_value()
        raise WaitError("the access token is being renewed", service="Klaviyo", retry_after=RETRY_SECONDS)

    def _while_it_rests(self, connection: KlaviyoConnection, rejected: str | None, until: datetime) -> str:
        if self._lives(connection, rejected):
            return connection.access_token.get_secret_value()
        raise RestingError(
            "the access token has expired, and Klaviyo could not renew it a moment ago",
            service="Klaviyo",
            retry_after=(until - self._clock()).total_seconds(),
        )

    def _refresh(self, connection: KlaviyoConnection) -> KlaviyoConnection:
        """Refresh under the lease; a refusal is believed only when it is repeated."""
        try:
            return self._refresh_once(connection)
        except GrantRefusedError:
            newer = _connected(self._read())
            if newer.refresh_token != connection.refresh_token:
                return newer  # reinstalled, or refreshed by a holder whose lease ran out
        self._sleep(SECOND_LOOK_SECONDS)
        newer = _connected(self._read())
        if newer.refresh_token != connection.refresh_token:
            return newer
        try:
            return self._refresh_once(newer)
        except GrantRefusedError as error:
            installed = self._disconnect(newer, error)
            if installed is not None:
                return installed
            logs.write(logging.ERROR, "Klaviyo account disconnected", tenant=self._tenant.name)
            raise DisconnectedError("Klaviyo no longer accepts our tokens; install again") from error

    def _refresh_once(self, connection: KlaviyoConnection) -> KlaviyoConnection:
        try:
            answer = self._oauth.refresh(connection.refresh_token.get_secret_value())
        except ServiceError as error:
            logs.write(logging.WARNING, "token refresh failed", tenant=self._tenant.name, reason=str(error))
            if isinstance(error, WaitError):
                asked = error.retry_after
                self._rests.refused(self._tenant.name, Endpoint.TOKEN, asked, at_least=REST_SECONDS)
            raise
        return self._store(answer, of=connection)

    def _store(self, answer: TokenAnswer, *, of: KlaviyoConnection) -> KlaviyoConnection:
        """Store the answer, unless an install has brought other tokens meanwhile; return what stands then."""
        now = self._clock()

        def edit(tenant: Tenant) -> Tenant:
            if tenant.klaviyo is None or tenant.klaviyo.refresh_token != of.refresh_token:
                return tenant
            return tenant.model_copy(update={"klaviyo": with_tokens(tenant.klaviyo, answer, now)})

        return _connected(self._change(edit))

    def _disconnect(
        self, connection: KlaviyoConnection, error: GrantRefusedError
    ) -> KlaviyoConnection | None:
        """Mark the tenant disconnected, unless an install has just connected it again; return that connection then."""
        now = self._clock()

        def edit(tenant: Tenant) -> Tenant:
            if tenant.klaviyo is None or tenant.klaviyo.refresh_token != connection.refresh_token:
                return tenant
            if tenant.klaviyo.disconnected:
                return tenant  # a second open outage would count the same time twice
            refused = tenant.klaviyo.model_copy(update={"disconnected_reason": error.code or "refused"})
            return tenant.model_copy(
                update={"klaviyo": refused, "outages": (*tenant.outages, Outage(began=now))}
            )

        left = self._change(edit).klaviyo
        return None if left is None or left.disconnected else left

    def _read(self) -> Tenant:
        tenant = self._tenants.find(self._tenant.name)
        if tenant is None:
            raise DisconnectedError("the tenant is gone")
        return tenant

    def _change(self, edit: Callable[[Tenant], Tenant]) -> Tenant:
        try:
            return self._tenants.change(self._tenant.name, edit)
        except DocumentMissingError:
            raise DisconnectedError("the tenant is gone") from None


def with_tokens(connection: KlaviyoConnection, answer: TokenAnswer, now: datetime) -> KlaviyoConnection:
    """Return the connection with the whole token answer in it."""
    return connection.model_copy(
        update={
            "access_token": SecretStr(answer.access_token.get_secret_value()),
            "refresh_token": SecretStr(answer.refresh_token.get_secret_value()),
            "expires_at": now + timedelta(seconds=answer.expires_in),
            "scope": answer.scope or connection.scope,
        }
    )


def _connected(tenant: Tenant) -> KlaviyoConnection:
    if tenant.klaviyo is None or tenant.klaviyo.disconnected:
        raise DisconnectedError("the tenant's Klaviyo account is not connected")
    return tenant.klaviyo
