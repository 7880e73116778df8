"""Uninstall: it removes everything that an install has made on both sides, and revokes and forgets the tokens.

The order lets it be repeated. First come the things in Klaviyo and Omneo, where a second removal is harmless. Last comes everything that
a repeat would need. The inbound queue empties by itself: its jobs need only Omneo.
"""

from datetime import timedelta

from shared.direction import Direction
from shared.errors import (
    ConflictError,
    DisconnectedError,
    RefusedError,
    ServiceError,
    TokenRejectedError,
    WaitError,
)
from shared.installation.giving_back import kept_for, revoke
from shared.installation.leaving import leave_former_accounts, remove_webhook, unless_gone
from shared.installation.left_behind import left_in_other_accounts
from shared.installation.provision import start_provision
from shared.klaviyo.resources import omneo_webhook_path
from shared.metrics.backlog import Backlog
from shared.profiles.backlog import SyncBacklog
from shared.records.outbox import Outbox
from shared.resync.rules.run import State
from shared.resync.runs import Resyncs
from shared.resync.sync_imports import SyncImports
from shared.resync.telling import tell_of_the_end
from shared.services import Services
from shared.tenants.tenants import Provisions, Tenant

LEASE = timedelta(
    seconds=60
)  # as long as the function may run: after it, the next call finishes an uninstall that was killed
ANOTHER_RUNS_SECONDS = 5.0
_OMNEO = "Omneo's webhooks"
DATA_SOURCES_STAY = "The six data sources stay in Klaviyo: their records belong to the merchant."
DISCONNECTED_BEFORE = (
    "The account was disconnected before: Klaviyo keeps its webhook, which the extension no longer answers."
)


def uninstall(tenant: Tenant, services: Services) -> Tenant:
    """Remove the install and return the tenant; its `left_behind` lists everything that could not be removed.

    Raises:
        ConflictError: the app was installed again meanwhile, for example from another tab. That install stays.
        WaitError: Klaviyo or Omneo cannot answer now; nothing was forgotten, and the caller should call again.
        OwnServiceError: our store or queue cannot answer now; the same holds.
    """
    leave_former_accounts(tenant, services)
    # The set-up's own lease: a set-up at the same time would make the removed things again.
    lease = services.leases.acquire(tenant.setup_lease, lasting=LEASE)
    if lease is None:
        raise WaitError(
            "a set-up is running, or another uninstall",
            service="The extension",
            retry_after=ANOTHER_RUNS_SECONDS,
        )
    try:
        return _take_away(services.tenants.find(tenant.name) or tenant, services)
    finally:
        services.leases.release(lease)


def _take_away(tenant: Tenant, services: Services) -> Tenant:
    left = [
        *left_in_other_accounts(tenant, tenant.klaviyo_account_id),
        *_remove_omneo_webhooks(tenant, services),
        *_leave_klaviyo(tenant, services),
    ]
    _check_same(tenant, services.tenants.find(tenant.name))
    services.queue.purge(tenant, Direction.OUTBOUND)
    Outbox.of(services).forget(tenant.name)
    Backlog.of(services).forget(tenant.name)
    SyncBacklog.of(services).forget(tenant.name)
    SyncImports.of(services).forget(tenant.name)
    services.rests.forget(tenant.name)
    if run := Resyncs.of(services).under_way(tenant.name):  # its job went with the queue
        cancelled = Resyncs.of(services).update(tenant.name, run, state=State.CANCELLED)
        tell_of_the_end(cancelled, tenant, services)

    def forget(now: Tenant) -> Tenant:
        _check_same(tenant, now)
        return now.model_copy(
            update={
                "klaviyo": None,
                "klaviyo_account_id": "",
                "provisions": Provisions(),
                "left_behind": tuple(dict.fromkeys(left)),
                "heal_from": None,
            }
        )

    try:
        after = services.tenants.change(tenant.name, forget)
    except ConflictError:
        start_provision(
            tenant, services
        )  # the queue may have been deleted with the set-up job of the new install
        raise
    services.tenant_cache.fresh(tenant.name)
    return after


def _check_same(before: Tenant, now: Tenant | None) -> None:
    """Refuse to remove an install that began after this uninstall: its merchant has just read that the account is connected."""
    if now is not None and now.klaviyo is not None and not _is_same(before, now):
        raise ConflictError(
            "The app was installed again meanwhile, and that install stays. Call again to remove it too."
        )


def _is_same(before: Tenant, now: Tenant) -> bool:
    one, other = before.klaviyo, now.klaviyo
    return one is not None and other is not None and one.connected_at == other.connected_at


def _remove_omneo_webhooks(tenant: Tenant, services: Services) -> list[str]:
    omneo = services.omneo(tenant)
    ours = services.settings.public_url + omneo_webhook_path(tenant.name)
    try:
        for hook in omneo.webhooks(tenant.settings.namespace):
            if hook.url == ours:
                unless_gone(omneo.delete_webhook, hook.id)
    except WaitError:
        raise
    except ServiceError as error:
        return [f"{_OMNEO} may still be there, because {error}. Remove them in CX Manager."]
    return []


def _leave_klaviyo(tenant: Tenant, services: Services) -> list[str]:
    """Remove the webhook and revoke the tokens. Nothing can be removed from a disconnected account."""
    if tenant.klaviyo is None:
        # Klaviyo cannot be called any more, so the lines of the last uninstall still hold.
        return [line for line in tenant.left_behind if not line.startswith(_OMNEO)]
    try:
        account_id = tenant.klaviyo_account_id or services.klaviyo(tenant).account().id
        remove_webhook(tenant, tenant.provisions.webhook_id, services.klaviyo(tenant))
    except (DisconnectedError, TokenRejectedError):
        # An uninstall that was killed may have removed it already.
        return [DATA_SOURCES_STAY] if _is_removed(tenant) else [DISCONNECTED_BEFORE, DATA_SOURCES_STAY]
    except RefusedError as error:
        account_id = tenant.klaviyo_account_id
        left = [f"Klaviyo's webhook may still be there, because {error}. Remove it in Klaviyo."]
    else:
        left = []
        services.tenants.change(tenant.name, _without_provisions)
    return [*left, *_revoke(tenant, account_id, services), DATA_SOURCES_STAY]


def _revoke(tenant: Tenant, account_id: str, services: Services) -> list[str]:
    if kept := kept_for(tenant.name, account_id, services):
        return [kept]
    fresh = services.tenants.find(tenant.name)
    if fresh is None or fresh.klaviyo is None:
        return []
    _check_same(tenant, fresh)  # the new install may use the same grant
    return revoke(account_id, fresh.klaviyo.refresh_token.get_secret_value(), services)


def _is_removed(tenant: Tenant) -> bool:
    return tenant.provisions == Provisions()


def _without_provisions(tenant: Tenant) -> Tenant:
    return tenant.model_copy(update={"provisions": Provisions()})
