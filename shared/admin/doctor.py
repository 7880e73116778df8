"""The doctor: it says whether a tenant is well, what is wrong, and what mends it. checks.py lists the checks.

Only `repair` changes anything, and it does only what is safe.
"""

from dataclasses import asdict
from datetime import datetime
from typing import Any

from shared.admin.checks import CHECKS
from shared.admin.findings import Severity
from shared.admin.reports import StatusReports
from shared.admin.work import queues as check_queues
from shared.direction import Direction
from shared.errors import (
    DisconnectedError,
    QueueUnavailableError,
    ServiceError,
)
from shared.installation.connecting import prepare_queues
from shared.installation.provision import again, start_provision, steps_of
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.queue import QueueState
from shared.services import Services
from shared.tenants.tenants import Tenant


def examine(tenant: Tenant, services: Services) -> dict[str, Any]:
    """Make a new report and return it."""
    findings = [finding for check in CHECKS for finding in check(tenant, services)]
    queues = {direction: _state(tenant, direction, services) for direction in Direction}
    findings += check_queues(tenant, queues, services.clock())
    worst = max((finding.severity for finding in findings), key=list(Severity).index)
    tenant = services.tenants.find(tenant.name) or tenant  # a check may have marked it as disconnected
    used = services.secret_uses.last(tenant.name)
    return {
        "tenant": tenant.name,
        "checked_at": _iso(services.clock()),
        "state": worst.value,
        "klaviyo": connection(tenant),
        "findings": [{**asdict(finding), "severity": finding.severity.value} for finding in findings],
        "steps": steps_of(tenant),
        "queues": {
            direction.value: _queue(tenant.queue_name(direction), state)
            for direction, state in queues.items()
        },
        "dead_jobs": DeadJobStore.of(services).count(tenant.name),
        "webhook_secrets": [
            {
                "id": secret.id,
                "created_at": _iso(secret.created_at),
                "last_used_at": _iso(used.get(secret.id)),
            }
            for secret in tenant.webhook_secrets
        ],
        "left_behind": list(tenant.left_behind),
    }


def connection(tenant: Tenant) -> dict[str, Any]:
    """Return the part of a report about the tenant's Klaviyo account."""
    klaviyo = tenant.klaviyo
    return {
        "connected": tenant.is_connected,
        "account_id": tenant.klaviyo_account_id,
        "account_name": klaviyo.account_name if klaviyo else "",
        "connected_at": _iso(klaviyo.connected_at) if klaviyo else None,
    }


def repair(tenant: Tenant, services: Services) -> list[str]:
    """Do what is safe: make and resume the queues, and make what is missing in Klaviyo and Omneo. Return what was done.

    Raises:
        QueueUnavailableError, StoreUnavailableError: the queue or the store cannot answer now.
    """
    if not tenant.is_connected:
        return []
    _learn_account(tenant, services)
    tenant = services.tenants.change(tenant.name, again)
    prepare_queues(tenant, services.queue)
    start_provision(tenant, services)
    StatusReports.of(services).forget(tenant.name)
    return ["The queues were made and let run.", "A job that makes what is missing was started."]


def _learn_account(tenant: Tenant, services: Services) -> None:
    """Ask Klaviyo for the id of the account, if the install could not."""
    if tenant.klaviyo_account_id:
        return
    try:
        account = services.klaviyo(tenant).account()
    except (ServiceError, DisconnectedError):
        return  # it stays unknown; the report says why Klaviyo cannot be called

    def edit(now: Tenant) -> Tenant:
        if now.klaviyo is None or now.klaviyo_account_id or tenant.klaviyo is None:
            return now
        if now.klaviyo.connected_at != tenant.klaviyo.connected_at:
            return now
        known = now.klaviyo.model_copy(update={"account_id": account.id, "account_name": account.name})
        return now.model_copy(update={"klaviyo": known, "klaviyo_account_id": account.id})

    services.tenants.change(tenant.name, edit)


def _state(tenant: Tenant, direction: Direction, services: Services) -> QueueState | str:
    """Return the state of the queue, or why it is unknown."""
    try:
        return services.queue.state(tenant, direction)
    except QueueUnavailableError as error:
        return str(error)


def _queue(name: str, state: QueueState | str) -> dict[str, Any] | None:
    if isinstance(state, str):
        return None
    return {
        "name": name,
        "exists": state.exists,
        "paused": state.paused,
        "depth": state.depth,
        "oldest": _iso(state.oldest),
    }


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
