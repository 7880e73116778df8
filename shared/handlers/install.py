"""Install: a Klaviyo account becomes a tenant's, with everything that work needs from then on."""

from datetime import datetime, timedelta

from pydantic import SecretStr

from shared.klaviyo.oauth import TokenAnswer
from shared.queue import TaskQueue
from shared.tenants import KlaviyoConnection, Tenant, TenantStore

OUTAGES_KEPT = 20


def connect(name: str, answer: TokenAnswer, *, tenants: TenantStore, now: datetime) -> Tenant:
    """Store the tokens of a Klaviyo account as the tenant's; whatever had disconnected it is over.

    Raises:
        DocumentMissingError: there is no such tenant.
    """
    connection = KlaviyoConnection(
        access_token=SecretStr(answer.access_token.get_secret_value()),
        refresh_token=SecretStr(answer.refresh_token.get_secret_value()),
        expires_at=now + timedelta(seconds=answer.expires_in),
        scope=answer.scope,
        connected_at=now,
    )

    def edit(tenant: Tenant) -> Tenant:
        outages = tuple(
            outage if outage.ended else outage.model_copy(update={"ended": now}) for outage in tenant.outages
        )
        return tenant.model_copy(update={"klaviyo": connection, "outages": outages[-OUTAGES_KEPT:]})

    return tenants.change(name, edit)


def prepare_queues(tenant: Tenant, queue: TaskQueue) -> None:
    """Make the tenant's queues and let them run, so that jobs that waited for this install go on.

    Raises:
        QueueUnavailableError: not now; asking again is safe.
    """
    queue.ensure(tenant)
