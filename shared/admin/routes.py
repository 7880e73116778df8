"""What CX Manager may ask and tell about one tenant, as one table. Who is asking was settled before."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from shared import logs
from shared.admin import desk
from shared.admin.reports import StatusReports
from shared.admin.settings import change_settings, read_settings
from shared.admin.status import status
from shared.consent.heal import start_heal
from shared.errors import InvalidPayloadError
from shared.explain.explain import explain
from shared.installation.links import install_link
from shared.installation.uninstall import uninstall
from shared.resync.orders import Order, begin, change_state, find, report
from shared.resync.rules.run import Kind, State
from shared.services import Services
from shared.tenants.connection import check_installed
from shared.tenants.settings import settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, Tenant

Reply: TypeAlias = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """What a call asks: its path's variables, its query, and its body, None if it has none. The body is read when it is first needed.

    `key` is the id of the installation key that the caller holds.
    """

    path: Mapping[str, str]
    read_body: Callable[[], object]
    query: Mapping[str, str] = field(default_factory=dict)
    key: str = ""


Handler: TypeAlias = Callable[[Tenant, Services, Asked], Reply]


def get_settings(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET settings."""
    return 200, read_settings(tenant, services)


def put_settings(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """PUT settings: what is absent stays as it is."""
    body = asked.read_body()
    if body is None:
        raise InvalidPayloadError("Send a JSON object of settings.")
    return 200, read_settings(change_settings(tenant.name, body, services), services)


def get_schema(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET settings/schema."""
    return 200, settings_schema(WEBHOOK_SECRET_LENGTH)


def get_status(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET status."""
    return 200, status(tenant, services)


def post_install_link(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST install-link: a link that starts an install without the installation key, for an hour, once."""
    url, expires_at = install_link(tenant.name, services, key=asked.key)
    return 200, {"url": url, "expires_at": expires_at.isoformat()}


def delete_install(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """DELETE install."""
    after = uninstall(tenant, services)
    StatusReports.of(services).forget(tenant.name)
    return 200, {"status": "uninstalled", "left_behind": list(after.left_behind)}


def post_heal(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST heal: read back from Klaviyo the consent events that no webhook brought. 409 while a run is under way."""
    check_installed(tenant)
    return 202, {"status": "queued", "id": start_heal(tenant, services).id}


def get_explanation(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET profiles/{id}/explain: what a sync would do. Personal values are shown on demand alone, and that is logged."""
    reveal = _reveal(asked)
    told = explain(tenant, asked.path["id"], services, reveal=reveal)
    if reveal:
        logs.write(
            logging.WARNING,
            "personal values were shown to the holder of the installation key",
            kind="explain",
        )
    return 200, told


def get_dead_jobs(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs: a page of them, by filters."""
    return 200, desk.listed(tenant, desk.read_page(tenant, asked.query), services)


def get_dead_job(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs/{id}: one with its body. Personal values are shown on demand alone, and that is logged."""
    reveal = _reveal(asked)
    told = desk.one(tenant, asked.path["id"], services, reveal=reveal)
    if reveal:
        desk.log_reveal(told["id"])
    return 200, told


def post_dead_job_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST dead-jobs/{id}/replay."""
    told = desk.replay_one(tenant, asked.path["id"], services)
    logs.write(logging.INFO, "dead job replayed", kind="replay", job=told["id"])
    return 202, told


def post_dead_jobs_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST dead-jobs/replay: begin a run over all that the filters mean."""
    told = desk.replay_all(tenant, desk.read_order(tenant, asked.read_body()), services)
    logs.write(logging.INFO, "dead jobs are replayed", kind="replay", run=told["id"])
    return 202, told


def get_dead_jobs_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs/replays/{id}: how a run stands."""
    return 200, desk.replay_progress(tenant, asked.path["id"], services)


def _reveal(asked: Asked) -> bool:
    given = asked.query.get("reveal", "false")
    if given not in ("true", "false"):
        raise InvalidPayloadError("reveal must be true or false.")
    return given == "true"


def post_run(tenant: Tenant, services: Services, asked: Asked, *, kind: Kind) -> Reply:
    """POST resync, reconcile and repair: begin a run over the whole base."""
    run = begin(tenant, kind, Order.read(asked.read_body()), services)
    return 202, {"status": "queued", "id": run.id}


def get_run(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET resync/{id}."""
    return 200, report(tenant, find(tenant, asked.path["id"], services), services)


def post_run_state(tenant: Tenant, services: Services, asked: Asked, *, to: State) -> Reply:
    """POST resync/{id}/pause, /resume and /cancel."""
    return 200, report(tenant, change_state(tenant, asked.path["id"], to, services), services)


# Below /{tenant}/api/v1.
ROUTES: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        ("GET", "/settings"): get_settings,
        ("PUT", "/settings"): put_settings,
        ("GET", "/settings/schema"): get_schema,
        ("GET", "/status"): get_status,
        ("POST", "/install-link"): post_install_link,
        ("DELETE", "/install"): delete_install,
        ("POST", "/heal"): post_heal,
        ("GET", "/profiles/{id}/explain"): get_explanation,
        ("GET", "/dead-jobs"): get_dead_jobs,
        ("GET", "/dead-jobs/{id}"): get_dead_job,
        ("POST", "/dead-jobs/{id}/replay"): post_dead_job_replay,
        ("POST", "/dead-jobs/replay"): post_dead_jobs_replay,
        ("GET", "/dead-jobs/replays/{id}"): get_dead_jobs_replay,
        ("POST", "/resync"): partial(post_run, kind=Kind.RESYNC),
        ("POST", "/reconcile"): partial(post_run, kind=Kind.RECONCILE),
        ("POST", "/repair"): partial(post_run, kind=Kind.REPAIR),
        ("GET", "/resync/{id}"): get_run,
        ("POST", "/resync/{id}/pause"): partial(post_run_state, to=State.PAUSED),
        ("POST", "/resync/{id}/resume"): partial(post_run_state, to=State.RUNNING),
        ("POST", "/resync/{id}/cancel"): partial(post_run_state, to=State.CANCELLED),
    }
)
