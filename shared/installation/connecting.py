"""Connects an account to a tenant: it stores the tokens and makes the queues for the jobs. The caller has checked the right to do so."""

from datetime import datetime, timedelta

from pydantic import SecretStr

from shared.installation.left_behind import left_in_other_accounts
from shared.jobs.queue import TaskQueue
from shared.klaviyo.grant import Account, TokenAnswer
from shared.tenants.tenants import (
    FormerAccount,
    KlaviyoConnection,
    Provisions,
    Tenant,
    TenantStore,
)

OUTAGES_KEPT = 20


def connect(
    name: str, answer: TokenAnswer, *, tenants: TenantStore, now: datetime, account: Account | None = None
) -> Tenant:
    """Store the tokens of a Klaviyo account as the tenant's, which ends any disconnection.

    The tenant keeps the ids of the things that an install has made as long as the account stays the same. The next set-up leaves a former
    account.

    Raises:
        DocumentMissingError: there is no such tenant.
    """
    account = account or Account.model_construct(id="")

    def edit(tenant: Tenant) -> Tenant:
        same = account.id == tenant.klaviyo_account_id
        made = tenant.provisions if same else Provisions()
        outages = tuple(
            outage if outage.ended else outage.model_copy(update={"ended": now}) for outage in tenant.outages
        )
        former = tuple(one for one in tenant.former_accounts if one.connection.account_id != account.id)
        return tenant.model_copy(
            update={
                "former_accounts": (*former, *_former(tenant, account)),
                "left_behind": left_in_other_accounts(tenant, account.id),
                "klaviyo": _connection(answer, account, now),
                "klaviyo_account_id": account.id,
                "provisions": made.model_copy(update={"steps": {}}),
                "outages": outages[-OUTAGES_KEPT:],
                "heal_from": (tenant.heal_from if same else None) or now,
            }
        )

    return tenants.change(name, edit)


def _former(tenant: Tenant, account: Account) -> tuple[FormerAccount, ...]:
    """Return the account that this one replaces, if both are known."""
    before = tenant.klaviyo_account_id
    if tenant.klaviyo is None or not before or not account.id or before == account.id:
        return ()
    connection = tenant.klaviyo.model_copy(update={"account_id": before})
    return (FormerAccount(connection=connection, webhook_id=tenant.provisions.webhook_id),)


def prepare_queues(tenant: Tenant, queue: TaskQueue) -> None:
    """Make the tenant's queues and let them run, so that jobs that waited for this install go on.

    Raises:
        QueueUnavailableError: the queue cannot answer now; the caller may call again.
    """
    queue.ensure(tenant)


def _connection(answer: TokenAnswer, account: Account, now: datetime) -> KlaviyoConnection:
    return KlaviyoConnection(
        access_token=SecretStr(answer.access_token.get_secret_value()),
        refresh_token=SecretStr(answer.refresh_token.get_secret_value()),
        expires_at=now + timedelta(seconds=answer.expires_in),
        scope=answer.scope,
        account_id=account.id,
        account_name=account.name,
        account_timezone=account.timezone,
        account_country=account.country,
        connected_at=now,
    )
