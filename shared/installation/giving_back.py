"""Gives a grant back to Klaviyo, but only if surely nobody else uses it.

A grant is the account's, not a tenant's: production and its staging twin may share one, and revoking it disconnects both.
"""

import logging
from contextlib import suppress
from typing import Any

from pydantic import SecretStr

from shared import logs
from shared.errors import (
    DocumentMissingError,
    GrantRefusedError,
    RefusedError,
    TokenRejectedError,
    WaitError,
)
from shared.installation.left_behind import ACCOUNT, still_installed, with_left_behind
from shared.installation.pending import PendingInstall, PendingInstalls
from shared.services import Services

_UNKNOWN_ACCOUNT = "Klaviyo still shows the app as installed, because it is not known which account it is: remove the app there."


def give_back(name: str, account_id: str, refresh_token: str, services: Services) -> None:
    """Revoke a grant that the tenant does not need; if that fails, `left_behind` says so."""
    if account_id and _may_be_anothers(account_id, services):
        return
    left = kept_for(name, account_id, services)
    if not left:
        try:
            left = "".join(revoke(account_id, refresh_token, services))
        except WaitError as error:
            left = still_installed(account_id, error)
    if left:
        with suppress(DocumentMissingError):  # the tenant was deleted since
            services.tenants.change(name, lambda now: with_left_behind(now, left))


def give_back_unanswered(services: Services) -> None:
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


def _grant_of(pending: PendingInstall, services: Services) -> tuple[str, str]:
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


def _account_behind(access_token: SecretStr, services: Services) -> str:
    try:
        return services.klaviyo_with(access_token).account().id
    except RefusedError:
        return ""


def revoke(account_id: str, refresh_token: str, services: Services) -> list[str]:
    """Revoke a grant that nobody needs; return Klaviyo's refusals as lines of `left_behind`.

    Raises:
        WaitError: Klaviyo cannot answer now.
    """
    try:
        services.klaviyo_oauth.revoke(refresh_token)
    except RefusedError as error:
        return [still_installed(account_id, error)]
    return []


def _may_be_anothers(account_id: str, services: Services) -> bool:
    """Return whether somebody else may use the same grant: a tenant that holds the account, or a merchant who is being asked about it."""
    return bool(services.tenants.holding(account_id)) or PendingInstalls.of(services).asks_about(account_id)


def kept_for(name: str, account_id: str, services: Services) -> str:
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
            f"{ACCOUNT}{account_id} still shows the app as installed, because it is not known which account"
            f" {', '.join(unknown)} uses."
        )
    return ""
