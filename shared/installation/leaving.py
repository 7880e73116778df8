"""Leaves a Klaviyo account: it removes our webhook and revokes the grant, but only if surely nobody else uses the grant.

A grant is the account's, not a tenant's: production and its staging twin may share one, and revoking it disconnects both.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import SecretStr

from shared import logs
from shared.errors import (
    DocumentMissingError,
    ExtensionError,
    GrantRefusedError,
    NotFoundError,
    RefusedError,
    TokenRejectedError,
    WaitError,
)
from shared.installation.pending import PendingInstall, PendingInstalls
from shared.installation.provision import LEASE
from shared.klaviyo.resources import webhook_name
from shared.tenants.tenants import FormerAccount, KlaviyoConnection, Tenant

if TYPE_CHECKING:
    from shared.klaviyo.client import KlaviyoClient
    from shared.services import Services

Id = TypeVar("Id", int, str)

ANOTHER_RUNS_SECONDS = 5.0
_ACCOUNT = "Klaviyo account "
_UNKNOWN_ACCOUNT = "Klaviyo still shows the app as installed, because it is not known which account it is: remove the app there."


def leave_former_accounts(tenant: Tenant, services: "Services") -> None:
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


def give_back(name: str, account_id: str, refresh_token: str, services: "Services") -> None:
    """Revoke a grant that the tenant does not need; if that fails, `left_behind` says so."""
    if account_id and _may_be_anothers(account_id, services):
        return
    left = kept_for(name, account_id, services)
    if not left:
        try:
            left = "".join(revoke(account_id, refresh_token, services))
        except WaitError as error:
            left = _still_installed(account_id, error)
    if left:
        with suppress(DocumentMissingError):  # the tenant was deleted since
            services.tenants.change(name, lambda now: with_left_behind(now, left))


def give_back_unanswered(services: "Services") -> None:
    """Give back the grant of each question that got no answer in time or could not be asked.

    Raises:
        StoreUnavailableError: the store cannot answer now.
    """
    installs = PendingInstalls.of(services)
    for id, pending in installs.unanswered():
        with logs.context(tenant=pending.tenant):
            try:
                account_id, refresh_token = _grant_of(pending, services)
                # Klaviyo may be asked twice if this process ends in between.
                give_back(pending.tenant, account_id, refresh_token, services)
            except WaitError as error:
                logs.write(logging.WARNING, "a grant is not given back yet", reason=str(error))
                continue  # the next sweep asks again
            except (GrantRefusedError, TokenRejectedError):
                pass  # it has ended by itself; a later install may end it too
            installs.forget(id)
            logs.write(logging.INFO, "an install that nobody has confirmed was given up", reason="unanswered")


def _grant_of(pending: PendingInstall, services: "Services") -> tuple[str, str]:
    """Return the account of the grant, and the refresh token. Klaviyo is asked if the account is unknown; it is "" if Klaviyo refuses.

    Raises:
        WaitError: Klaviyo cannot say it now.
        GrantRefusedError, TokenRejectedError: the grant has ended.
    """
    tokens: Any = pending.kept["tokens"]
    known: Any = pending.kept.get("account")
    refresh_token = str(tokens["refresh_token"])
    if known:
        return str(known["id"]), refresh_token
    try:
        return _account_behind(SecretStr(str(tokens["access_token"])), services), refresh_token
    except TokenRejectedError:  # it is valid for an hour
        answer = services.klaviyo_oauth.refresh(refresh_token)
        return _account_behind(answer.access_token, services), answer.refresh_token.get_secret_value()


def _account_behind(access_token: SecretStr, services: "Services") -> str:
    try:
        return services.klaviyo_with(access_token).account().id
    except RefusedError:
        return ""


def revoke(account_id: str, refresh_token: str, services: "Services") -> list[str]:
    """Revoke a grant that nobody needs; return Klaviyo's refusals as lines of `left_behind`.

    Raises:
        WaitError: Klaviyo cannot answer now.
    """
    try:
        services.klaviyo_oauth.revoke(refresh_token)
    except RefusedError as error:
        return [_still_installed(account_id, error)]
    return []


def _still_installed(account_id: str, error: Exception) -> str:
    return f"{_ACCOUNT}{account_id} still shows the app as installed, because {error}. Remove the app there."


def _may_be_anothers(account_id: str, services: "Services") -> bool:
    """Return whether somebody else may use the same grant: a tenant that holds the account, or a merchant who is being asked about it."""
    return bool(services.tenants.holding(account_id)) or PendingInstalls.of(services).asks_about(account_id)


def kept_for(name: str, account_id: str, services: "Services") -> str:
    """Return why the grant of the account must not be revoked, as a line of `left_behind`; "" if only the tenant `name` can need it."""
    if not account_id:
        return _UNKNOWN_ACCOUNT
    sharing = [other for other in services.tenants.holding(account_id) if other != name]
    if sharing:
        return (
            f"Klaviyo still shows the app as installed, because {', '.join(sharing)} uses the same account."
        )
    if unknown := [other for other in services.tenants.of_unknown_account() if other != name]:
        return (
            f"{_ACCOUNT}{account_id} still shows the app as installed, because it is not known which account"
            f" {', '.join(unknown)} uses."
        )
    return ""


def with_left_behind(tenant: Tenant, *lines: str) -> Tenant:
    """Return the tenant with these lines in `left_behind`, each once."""
    return tenant.model_copy(update={"left_behind": tuple(dict.fromkeys((*tenant.left_behind, *lines)))})


def left_in_other_accounts(tenant: Tenant, account_id: str) -> tuple[str, ...]:
    """Return the lines of `left_behind` that stay true when this account is installed or left: those that name another account."""
    return tuple(
        line
        for line in tenant.left_behind
        if line.startswith(_ACCOUNT) and line.removeprefix(_ACCOUNT).split()[0] != account_id
    )


def remove_webhook(
    tenant: Tenant,
    webhook_id: str,
    klaviyo: "KlaviyoClient",
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


def _check_still_former(name: str, former: FormerAccount, services: "Services") -> None:
    """Read the tenant again: a merchant may reconnect the account at any moment, and that set-up takes over an expired lease."""
    now = services.tenants.find(name)
    if now is not None and now.klaviyo_account_id == former.connection.account_id:
        raise _ConnectedAgainError


def _leave_and_note(tenant: Tenant, former: FormerAccount, services: "Services") -> None:
    with suppress(_ConnectedAgainError):  # `connect` has removed it from the former accounts
        _check_still_former(tenant.name, former, services)
        _note_left(tenant.name, former, _leave(tenant, former, services), services)


def _leave(tenant: Tenant, former: FormerAccount, services: "Services") -> list[str]:
    """Leave one account; return the things that cannot be removed from it, as lines of `left_behind`."""
    connection = former.connection
    where = f"{_ACCOUNT}{connection.account_id}"
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
            *([kept] if kept.startswith(_ACCOUNT) else []),
        ]  # it stays for the tenant that shares it
    if PendingInstalls.of(services).asks_about(connection.account_id):
        return left  # a merchant may be about to connect it again; if not, the sweep gives the grant back
    token = _newest(tenant.name, former, services).refresh_token.get_secret_value()
    return [*left, *revoke(connection.account_id, token, services)]


def _take_webhook_away(tenant: Tenant, former: FormerAccount, services: "Services") -> None:
    from shared.klaviyo.tokens import REFRESH_AHEAD

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
    tenant: Tenant, former: FormerAccount, connection: KlaviyoConnection, services: "Services"
) -> None:
    remove_webhook(
        tenant,
        former.webhook_id,
        services.klaviyo_with(connection.access_token),
        before_each=lambda: _check_still_former(tenant.name, former, services),
    )


def _refreshed(name: str, former: FormerAccount, services: "Services") -> KlaviyoConnection:
    from shared.klaviyo.tokens import with_tokens

    connection = _newest(name, former, services)
    answer = services.klaviyo_oauth.refresh(connection.refresh_token.get_secret_value())
    connection = with_tokens(connection, answer, services.clock())
    # Stored before it is used: the refresh token may be a new one.
    _note(name, former, {"connection": connection}, services)
    return connection


def _newest(name: str, former: FormerAccount, services: "Services") -> KlaviyoConnection:
    """Return the tokens of the account that the store holds now."""
    tenant = services.tenants.find(name)
    known = tenant.former_accounts if tenant else ()
    account = former.connection.account_id
    return next((one.connection for one in known if one.connection.account_id == account), former.connection)


def _note(name: str, former: FormerAccount, changes: dict[str, object], services: "Services") -> None:
    account = former.connection.account_id

    def edit(now: Tenant) -> Tenant:
        noted = tuple(
            one.model_copy(update=changes) if one.connection.account_id == account else one
            for one in now.former_accounts
        )
        return now.model_copy(update={"former_accounts": noted})

    services.tenants.change(name, edit)


def _note_left(name: str, former: FormerAccount, left: list[str], services: "Services") -> None:
    account = former.connection.account_id

    def edit(now: Tenant) -> Tenant:
        if now.klaviyo_account_id == account:
            return now  # connected again meanwhile
        rest = tuple(one for one in now.former_accounts if one.connection.account_id != account)
        return with_left_behind(now.model_copy(update={"former_accounts": rest}), *left)

    services.tenants.change(name, edit)
