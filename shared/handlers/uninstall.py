"""Uninstall: what an install has made is taken away on both sides, the tokens revoked and forgotten.

Ordered so that it can be repeated: first what lies with Klaviyo and Omneo, each step harmless when done before, and only then what
would be needed to repeat it. The inbound queue drains by itself: its jobs need only Omneo.
"""

from collections.abc import Callable
from typing import TypeVar

from shared.domain.provisions import omneo_webhook_path, webhook_name
from shared.errors import DisconnectedError, NotFoundError, ServiceError, TokenRejectedError, WaitError
from shared.jobs import Direction
from shared.services import Services
from shared.tenants import Provisions, Tenant

Id = TypeVar("Id", int, str)

DATA_SOURCES_STAY = "The six data sources stay in Klaviyo: what they hold is the merchant's."


def uninstall(tenant: Tenant, services: Services) -> Tenant:
    """Take the install away and return the tenant, which says in `left_behind` what could not be removed.

    Raises:
        WaitError: Klaviyo or Omneo cannot at the moment; nothing was forgotten, call again.
        OwnServiceError: the same of ours.
    """
    left = [*_remove_omneo_webhooks(tenant, services), *_leave_klaviyo(tenant, services), DATA_SOURCES_STAY]
    services.queue.purge(tenant, Direction.OUTBOUND)

    def forget(now: Tenant) -> Tenant:
        return now.model_copy(
            update={
                "klaviyo": None,
                "klaviyo_account_id": "",
                "provisions": Provisions(),
                "left_behind": tuple(left),
            }
        )

    after = services.tenants.change(tenant.name, forget)
    services.tenant_cache.fresh(tenant.name)
    return after


def _remove_omneo_webhooks(tenant: Tenant, services: Services) -> list[str]:
    omneo = services.omneo(tenant)
    ours = services.settings.public_url + omneo_webhook_path(tenant.name)
    try:
        for hook in omneo.webhooks(tenant.settings.namespace):
            if hook.url == ours:
                _unless_gone(omneo.delete_webhook, hook.id)
    except WaitError:
        raise
    except ServiceError as error:
        return [f"Omneo's webhooks may still be there, because {error}. Remove them in CX Manager."]
    return []


def _leave_klaviyo(tenant: Tenant, services: Services) -> list[str]:
    """Remove the webhook and revoke the tokens; a disconnected account can no longer be told anything."""
    if tenant.klaviyo is None:
        return []
    try:
        _remove_klaviyo_webhook(tenant, services)
    except (DisconnectedError, TokenRejectedError):
        return [
            "The account was disconnected before: Klaviyo keeps its webhook, which the extension no longer answers."
        ]
    except WaitError:
        raise
    except ServiceError as error:
        return [f"Klaviyo's webhook may still be there, because {error}."]
    sharing = [name for name in services.tenants.holding(tenant.klaviyo_account_id) if name != tenant.name]
    if tenant.klaviyo_account_id and sharing:
        return [
            f"Klaviyo still shows the app as installed, because {', '.join(sharing)} uses the same account."
        ]
    fresh = services.tenants.find(tenant.name)
    if fresh is not None and fresh.klaviyo is not None:
        services.klaviyo_oauth.revoke(fresh.klaviyo.refresh_token.get_secret_value())
    return []


def _remove_klaviyo_webhook(tenant: Tenant, services: Services) -> None:
    klaviyo = services.klaviyo(tenant)
    for hook in klaviyo.webhooks():
        if hook.name == webhook_name(tenant.name) or hook.id == tenant.provisions.webhook_id:
            _unless_gone(klaviyo.delete_webhook, hook.id)


def _unless_gone(delete: Callable[[Id], None], id: Id) -> None:
    try:
        delete(id)
    except NotFoundError:
        return
