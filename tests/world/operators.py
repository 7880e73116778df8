"""The acts of operators and the schedule: runs over the whole base, a new installation, new secrets."""

import json

from deploy.local.sandbox.klaviyo.oauth import SCOPES
from shared.errors import OwnServiceError
from shared.installation.connecting import connect
from shared.installation.provision import start_provision
from shared.klaviyo.client import Account
from shared.klaviyo.oauth import TokenAnswer
from tests.world.faults import DiedError
from tests.world.oracle import Person
from tests.world.plans import Act
from tests.world.world import ACCOUNT, INSTALLATION_KEY, TENANT, SimulatedWorld

_RUNS = ("resync", "reconcile", "repair", "heal")


def acts(world: SimulatedWorld, person: Person, act: Act) -> bool:
    """Let an operator act."""
    what = act.what.partition(".")[2]
    world.note(f"an operator: {what}")
    if what in _RUNS:
        run(world, what)
    elif what == "rotate":
        _rotate(world)
    else:
        _reinstall(world)
    return True


def run(world: SimulatedWorld, what: str) -> None:
    """Begin a run, as CX Manager does."""
    headers = {"Authorization": f"Bearer {INSTALLATION_KEY}"}

    def settle(status: int) -> None:
        world.news()
        if status in (0, 500, 503):
            world.timeline.after(5, lambda: run(world, what))

    world.knock("admin", f"/{TENANT}/api/v1/{what}", headers, b"", settle)


def _rotate(world: SimulatedWorld) -> None:
    secret = f"canary-webhook-secret-{world.new_id()}"
    headers = {"Authorization": f"Bearer {INSTALLATION_KEY}", "Content-Type": "application/json"}
    body = json.dumps({"webhook_secret": secret}).encode()
    world.knock("admin", f"/{TENANT}/api/v1/settings", headers, body, lambda status: None, method="PUT")


def _reinstall(world: SimulatedWorld) -> None:
    """Let the merchant install once more: new tokens, and everything is looked after again."""
    number = world.new_id()
    tokens = world.klaviyo.install(
        ACCOUNT, access_token=f"canary-access-{number}", refresh_token=f"canary-refresh-{number}"
    )
    answer = TokenAnswer.model_validate({**tokens.to_json(), "scope": SCOPES})

    def strand() -> None:
        services = world.process().services
        try:
            tenant = connect(
                TENANT, answer, tenants=services.tenants, now=services.clock(), account=Account(id=ACCOUNT)
            )
            services.queue.ensure(tenant)
            start_provision(tenant, services)
        except (DiedError, OwnServiceError):
            world.timeline.after(30, lambda: world.timeline.spawn(strand))

    world.timeline.spawn(strand)
