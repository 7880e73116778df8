"""The calls of CX Manager about one tenant, as one table. The caller is authenticated before.

Most calls ask for settings and status. A call that needs much code, or the client of a service, imports it only when it comes.
"""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeAlias

from shared import logs
from shared.admin import desk, filters
from shared.admin.jobs import job
from shared.admin.reports import StatusReports
from shared.admin.settings import change_settings, read_settings
from shared.admin.traffic import traffic
from shared.audit import Act, Audit, by_key
from shared.errors import InvalidPayloadError
from shared.installation.links import install_link
from shared.receipts import Receipts
from shared.resync.rules.run import Kind, State
from shared.services import Services
from shared.tenants.connection import check_installed
from shared.tenants.settings import settings_schema
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, Tenant
from shared.web.parameters import parameters

Reply: TypeAlias = tuple[int, dict[str, Any]]


@dataclass(frozen=True)
class Asked:
    """The parts of a call: its path's variables, its query, and its body (None if it has none). The body is read when it is first needed.

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
    """PUT settings: a setting that the body does not name stays as it is."""
    body = asked.read_body()
    if body is None:
        raise InvalidPayloadError("Send a JSON object of settings.")
    changed = change_settings(tenant.name, body, services, by=by_key(asked.key))
    return 200, read_settings(changed, services)


def get_schema(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET settings/schema."""
    return 200, settings_schema(WEBHOOK_SECRET_LENGTH)


def get_status(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET status."""
    from shared.admin.status import status

    # Not the cached tenant: just after an install it would say that nothing is installed, and the report would say so for a minute.
    return 200, status(services.tenant_cache.fresh(tenant.name) or tenant, services)


def post_install_link(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST install-link: a link that starts an install without the installation key, for an hour, once."""
    url, expires_at = install_link(tenant.name, services, key=asked.key)
    Audit.of(services).note(tenant.name, Act.LINK_MADE, by=by_key(asked.key))
    return 200, {"url": url, "expires_at": expires_at.isoformat()}


def delete_install(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """DELETE install."""
    from shared.installation.uninstall import uninstall

    after = uninstall(tenant, services)
    StatusReports.of(services).forget(tenant.name)
    Audit.of(services).note(tenant.name, Act.UNINSTALLED, by=by_key(asked.key))
    return 200, {"status": "uninstalled", "left_behind": list(after.left_behind)}


def post_notify_secret(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST notify-secret: a new secret for messages to notify_url, shown in this answer and never again."""
    from shared.notify.secret import new_notify_secret

    secret = new_notify_secret(services.tenants, tenant.name, services.clock())
    Audit.of(services).note(tenant.name, Act.SECRET_ADDED, by=by_key(asked.key), about="notify-secret")
    return 200, {"secret": secret}


def post_heal(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST heal: read back from Klaviyo the consent events that no webhook brought. 409 while a run is under way."""
    from shared.consent.heal import start_heal

    check_installed(tenant)
    id = start_heal(tenant, services).id
    Receipts.of(services).queued(tenant, id, "heal")
    Audit.of(services).note(tenant.name, Act.HEALED, by=by_key(asked.key), about=id)
    return 202, {"status": "queued", "id": id}


def get_explanation(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET profiles/{id}/explain: what a sync would do. Personal values are shown only on demand, and the log notes it."""
    from shared.explain.explain import explain

    reveal = _flag(asked, "reveal")
    told = explain(tenant, asked.path["id"], services, reveal=reveal)
    if reveal:
        logs.write(
            logging.WARNING,
            "personal values were shown to the holder of the installation key",
            kind="explain",
        )
        Audit.of(services).note(tenant.name, Act.REVEALED, by=by_key(asked.key), about="explain of a profile")
    return 200, told


def get_dead_jobs(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs: a page of them, by filters."""
    return 200, desk.listed(tenant, filters.read_page(tenant, asked.query), services)


def get_dead_job(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs/{id}: a dead job with its body. Personal values are shown only on demand, and the log notes it."""
    reveal = _flag(asked, "reveal")
    told = desk.one(tenant, asked.path["id"], services, reveal=reveal)
    if reveal:
        desk.log_reveal(told["id"])
        Audit.of(services).note(
            tenant.name, Act.REVEALED, by=by_key(asked.key), about=f"dead job {told['id']}"
        )
    return 200, told


def post_dead_job_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST dead-jobs/{id}/replay."""
    told = desk.replay_one(tenant, asked.path["id"], services)
    logs.write(logging.INFO, "dead job replayed", kind="replay", job=told["id"])
    Audit.of(services).note(tenant.name, Act.REPLAYED, by=by_key(asked.key), about=f"dead job {told['id']}")
    return 202, told


def post_dead_jobs_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """POST dead-jobs/replay: begin a run that replays all dead jobs of the filters."""
    told = desk.replay_all(tenant, filters.read_order(tenant, asked.read_body()), services)
    logs.write(logging.INFO, "dead jobs are replayed", kind="replay", run=told["id"])
    Audit.of(services).note(tenant.name, Act.REPLAYED, by=by_key(asked.key), about=f"run {told['id']}")
    return 202, told


def get_dead_jobs_replay(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET dead-jobs/replays/{id}: the state of a run."""
    return 200, desk.replay_progress(tenant, asked.path["id"], services)


def delete_profile(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """DELETE profiles/{id}: erase a person on our side, and in Klaviyo if asked."""
    from shared.erasure.erase import erase

    in_klaviyo = _flag(asked, "klaviyo")
    if "@" in asked.path["id"]:
        # Every proxy would write the address to its log, although the person asks to be forgotten.
        raise InvalidPayloadError(
            "Name the person by the id of the Omneo profile: an address must not stand in a URL. The command `erase` takes an address."
        )
    receipt = erase(tenant, asked.path["id"], services, in_klaviyo=in_klaviyo)
    Audit.of(services).note(tenant.name, Act.ERASED, by=by_key(asked.key))
    return 200, receipt


def _flag(asked: Asked, name: str) -> bool:
    """Return whether a parameter is true; absent means no."""
    given = asked.query.get(name, "false")
    if given not in ("true", "false"):
        raise InvalidPayloadError(f"{name} must be true or false.")
    return given == "true"


def post_run(tenant: Tenant, services: Services, asked: Asked, *, kind: Kind) -> Reply:
    """POST resync, reconcile and repair: begin a run over the whole base."""
    from shared.resync.orders import Order, begin

    run = begin(tenant, kind, Order.read(asked.read_body()), services)
    Audit.of(services).note(tenant.name, Act.RUN_BEGUN, by=by_key(asked.key), about=f"{kind.value} {run.id}")
    return 202, {"status": "queued", "id": run.id}


def get_run(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET resync/{id}."""
    from shared.resync.orders import find, report

    return 200, report(tenant, find(tenant, asked.path["id"], services), services)


def post_run_state(tenant: Tenant, services: Services, asked: Asked, *, to: State) -> Reply:
    """POST resync/{id}/pause, /resume and /cancel."""
    from shared.resync.orders import change_state, report

    run = change_state(tenant, asked.path["id"], to, services)
    Audit.of(services).note(tenant.name, Act.RUN_CHANGED, by=by_key(asked.key), about=f"{run.id} {to.value}")
    return 200, report(tenant, run, services)


def get_job(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET jobs/{id}: the state of a call that was answered 202 with this id."""
    return 200, job(tenant, asked.path["id"], services)


def get_traffic(tenant: Tenant, services: Services, asked: Asked) -> Reply:
    """GET traffic: how many calls were accepted and refused (with reasons), and how many jobs were delivered, put back and given up."""
    return 200, traffic(tenant, services, asked.query)


# Below /{tenant}/api/v1.
ROUTES: Mapping[tuple[str, str], Handler] = MappingProxyType(
    {
        ("GET", "/settings"): get_settings,
        ("PUT", "/settings"): put_settings,
        ("GET", "/settings/schema"): get_schema,
        ("GET", "/status"): get_status,
        ("GET", "/traffic"): get_traffic,
        ("GET", "/jobs/{id}"): get_job,
        ("POST", "/install-link"): post_install_link,
        ("DELETE", "/install"): delete_install,
        ("POST", "/notify-secret"): post_notify_secret,
        ("POST", "/heal"): post_heal,
        ("GET", "/profiles/{id}/explain"): get_explanation,
        ("DELETE", "/profiles/{id}"): delete_profile,
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

# The parameters that a call's URL may have, besides those of traffic and of the list of dead jobs, which read their own.
_PARAMETERS: Mapping[tuple[str, str], tuple[str, ...]] = MappingProxyType(
    {
        ("GET", "/profiles/{id}/explain"): ("reveal",),
        ("DELETE", "/profiles/{id}"): ("klaviyo",),
        ("GET", "/dead-jobs/{id}"): ("reveal",),
    }
)
_READ_THEIR_OWN = {("GET", "/traffic"), ("GET", "/dead-jobs")}


def read_query(route: tuple[str, str], query: Mapping[str, str]) -> Mapping[str, str]:
    """Return the parameters of a call's URL. Raises InvalidPayloadError for an unknown one."""
    return query if route in _READ_THEIR_OWN else parameters(query, _PARAMETERS.get(route, ()))
