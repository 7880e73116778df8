"""Leaves the Klaviyo accounts that another one has replaced: it removes our webhook, and gives the grant back.

A merchant may connect such an account again at any moment; then it is left alone.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from shared.errors import (
    ExtensionError,
    GrantRefusedError,
    NotFoundError,
    RefusedError,
    TokenRejectedError,
    WaitError,
)
from shared.installation.giving_back import kept_for, revoke
from shared.installation.left_behind import ACCOUNT, with_left_behind
from shared.installation.pending import PendingInstalls
from shared.installation.provision import LEASE
from shared.klaviyo.client import KlaviyoClient
from shared.klaviyo.resources import webhook_name
from shared.klaviyo.tokens import REFRESH_AHEAD, with_tokens
from shared.services import Services
from shared.tenants.tenants import FormerAccount, KlaviyoConnection, Tenant

Id = TypeVar("Id", int, str)

ANOTHER_RUNS_SECONDS = 5.0


def leave_former_accounts(tenant: Tenant, services: Services) -> None:
    """Leave every account that another one has replaced. `left_behind` lists everything that cannot be removed.

    Raises:
        WaitError: Klaviyo cannot answer now, or the set-up is being changed; finished parts stay noted. An account that cannot be left yet
            holds up none of the others.
    """
    if not tenant.former_accounts:
        return
    lease = services.leases.acquire(tenant.setup_lease, lasting=LEASE)
    if lease is None:
        raise WaitError(
            "another set-up is running", service="The extension", retry_after=ANOTHER_RUNS_SECONDS
        )
    later: WaitError | None = None
    try:
        for former in tenant.former_accounts:
            try:
                _leave_and_note(tenant, former, services)
            except WaitError as error:
                later = later or error
    finally:
        services.leases.release(lease)
    if later:
        raise later


def remove_webhook(
    tenant: Tenant,
    webhook_id: str,
    klaviyo: KlaviyoClient,
    *,
    before_each: Callable[[], None] = lambda: None,
) -> None:
    """Remove the tenant's webhook, found by its name or id, from an account. A missing webhook is no error.

    `before_each` is called right before each removal, and can stop it with an error.
    """
    for hook in klaviyo.webhooks():
        if hook.name == webhook_name(tenant.name) or hook.id == webhook_id:
            before_each()
            unless_gone(klaviyo.delete_webhook, hook.id)


def unless_gone(delete: Callable[[Id], None], id: Id) -> None:
    """Delete something that was listed a moment ago; it is no error if it is gone."""
    try:
        delete(id)
    except NotFoundError:
        return


class _ConnectedAgainError(ExtensionError):
    """The tenant is joined to the account again, so the account is no former one."""


def _check_still_former(name: str, former: FormerAccount, services: Services) -> None:
    """Read the tenant again: a merchant may reconnect the account at any moment, and that set-up takes over an expired lease."""
    now = services.tenants.find(name)
    if now is not None and now.klaviyo_account_id == former.connection.account_id:
        raise _ConnectedAgainError


def _leave_and_note(tenant: Tenant, former: FormerAccount, services: Services) -> None:
    with suppress(_ConnectedAgainError):  # `connect` has removed it from the former accounts
        _check_still_former(tenant.name, former, services)
        _note_left(tenant.name, former, _leave(tenant, former, services), services)


def _leave(tenant: Tenant, former: FormerAccount, services: Services) -> list[str]:
    """Leave one account; return the things that cannot be removed from it, as lines of `left_behind`."""
    connection = former.connection
    where = f"{ACCOUNT}{connection.account_id}"
    gone = f"{where} was disconnected before: it keeps our webhook, which the extension no longer answers."
    if connection.disconnected:
        return [gone]
    left = []
    try:
        if not former.webhook_is_gone:
            _take_webhook_away(tenant, former, services)
    except (GrantRefusedError, TokenRejectedError):
        return [gone]
    except RefusedError as error:
        left = [f"{where} may still have our webhook, because {error}. Remove it there."]
    if kept := kept_for("", connection.account_id, services):
        return [
            *left,
            *([kept] if kept.startswith(ACCOUNT) else []),
        ]  # it stays for the tenant that shares it
    if PendingInstalls.of(services).asks_about(connection.account_id):
        return left  # a merchant may be about to connect it again; if not, the sweep gives the grant back
    token = _newest(tenant.name, former, services).refresh_token.get_secret_value()
    return [*left, *revoke(connection.account_id, token, services)]


def _take_webhook_away(tenant: Tenant, former: FormerAccount, services: Services) -> None:
    connection = former.connection
    if connection.expires_at - REFRESH_AHEAD <= services.clock():
        connection = _refreshed(tenant.name, former, services)
    try:
        _remove_webhook(tenant, former, connection, services)
    except (
        TokenRejectedError
    ):  # the access token has expired meanwhile, but the refresh token may still be valid
        _remove_webhook(tenant, former, _refreshed(tenant.name, former, services), services)
    _note(tenant.name, former, {"webhook_is_gone": True}, services)


def _remove_webhook(
    tenant: Tenant, former: FormerAccount, connection: KlaviyoConnection, services: Services
) -> None:
    remove_webhook(
        tenant,
        former.webhook_id,
        services.klaviyo_with(connection.access_token),
        before_each=lambda: _check_still_former(tenant.name, former, services),
    )


def _refreshed(name: str, former: FormerAccount, services: Services) -> KlaviyoConnection:
    connection = _newest(name, former, services)
    answer = services.klaviyo_oauth.refresh(connection.refresh_token.get_secret_value())
    connection = with_tokens(connection, answer, services.clock())
    # Stored before it is used: the refresh token may be a new one.
    _note(name, former, {"connection": connection}, services)
    return connection


def _newest(name: str, former: FormerAccount, services: Services) -> KlaviyoConnection:
    """Return the tokens of the account that the store holds now."""
    tenant = services.tenants.find(name)
    known = tenant.former_accounts if tenant else ()
    account = former.connection.account_id
    return next((one.connection for one in known if one.connection.account_id == account), former.connection)


def _note(name: str, former: FormerAccount, changes: dict[str, object], services: Services) -> None:
    account = former.connection.account_id

    def edit(now: Tenant) -> Tenant:
        noted = tuple(
            one.model_copy(update=changes) if one.connection.account_id == account else one
            for one in now.former_accounts
        )
        return now.model_copy(update={"former_accounts": noted})

    services.tenants.change(name, edit)


def _note_left(name: str, former: FormerAccount, left: list[str], services: Services) -> None:
    account = former.connection.account_id

    def edit(now: Tenant) -> Tenant:
        if now.klaviyo_account_id == account:
            return now  # connected again meanwhile
        rest = tuple(one for one in now.former_accounts if one.connection.account_id != account)
        return with_left_behind(now.model_copy(update={"former_accounts": rest}), *left)

    services.tenants.change(name, edit)
