"""`set NAME KEY`, and the further effects of a value: a queue, a job, dead jobs that go on."""

import os
from dataclasses import replace

import click

from deploy.tenants.keys import SETTABLE, set_tokens, set_value
from deploy.tenants.running import Command, existing, given, with_services
from shared.admin.settings import MASTER_LIST, begin_held_by_list
from shared.audit import OPERATOR, Act, Audit
from shared.errors import (
    ConfigurationError,
    QueueUnavailableError,
)
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.wanted import Wanted
from shared.services import Services
from shared.settings import TASKS, Needs, Settings
from shared.tenants.tenants import (
    Tenant,
)


@click.command(cls=Command, name="set", epilog=f"KEY is one of: {', '.join(SETTABLE)}.")
@click.argument("name", callback=existing)
@click.argument("key")
@with_services(Needs.STORE | Needs.KLAVIYO_APP)
def set_(services: Services, name: str, key: str) -> None:
    """Set KEY of tenant NAME to the value on standard input (or prompt on a terminal); null brings the default back."""
    if key not in SETTABLE:
        raise click.ClickException(f"That cannot be set. These can: {', '.join(SETTABLE)}.")
    if key == "klaviyo_tokens":
        _set_tokens(services, name)
        return
    value = given(key, is_secret=SETTABLE[key].is_secret)
    tenant = set_value(services, name, key, value)
    click.echo(f"{key} of {name} is set.")
    if key == "webhook_secret":
        push(tenant)
    elif key == MASTER_LIST:
        _go_on(services, tenant)


def push(tenant: Tenant) -> None:
    """Queue a job that gives Klaviyo the newest webhook secret. The last secret stays valid meanwhile."""
    from shared.installation.provision import start_provision

    if not tenant.is_connected:
        return
    try:
        start_provision(tenant, Services(Settings.from_env(os.environ, Needs.OUTBOUND)))
    except (ConfigurationError, QueueUnavailableError):
        click.echo(
            "Klaviyo does not have it yet: run `doctor --repair` where the queue can be reached.", err=True
        )
    else:
        click.echo("A job gives it to Klaviyo.", err=True)


def _go_on(services: Services, tenant: Tenant) -> None:
    """Replay the dead jobs that a wrong master list has held."""
    held = Wanted(cause=Cause.MASTER_LIST.value)
    if not DeadJobStore.of(services).count_meant(tenant.name, held):
        return
    try:
        settings = Settings.from_env(os.environ, Needs.STORE | TASKS)
        begin_held_by_list(tenant, replace(services, settings=settings))
    except (ConfigurationError, QueueUnavailableError):
        click.echo(
            f"The jobs that it held do not go on yet: run `dead replay {tenant.name} --cause {Cause.MASTER_LIST.value}` where the"
            " queue can be reached.",
            err=True,
        )
    else:
        click.echo("The jobs that it held go on.", err=True)


def _set_tokens(services: Services, name: str) -> None:
    queues = Settings.from_env(os.environ, Needs.QUEUES)
    tenant, why = set_tokens(services, name, given("klaviyo_tokens", is_secret=True))
    Audit.of(services).note(name, Act.SETTINGS_CHANGED, by=OPERATOR, about="klaviyo_tokens")
    click.echo(f"klaviyo_tokens of {name} is set.")
    if why:
        click.echo(
            f"Which account it is could not be asked, because {why}. Until it is known, the grant is not revoked: run"
            f" `doctor {name} --repair`.",
            err=True,
        )
    _prepare_queues(tenant, queues)


def _prepare_queues(tenant: Tenant, settings: Settings) -> None:
    """Make the tenant's queues. On one machine the bundle makes them too, when it starts."""
    from shared.installation.connecting import prepare_queues

    try:
        prepare_queues(tenant, Services(settings).queue)
    except QueueUnavailableError as error:
        if settings.queue is None or not settings.queue.emulator:
            raise click.ClickException(f"{error} The tokens are stored; set them again to retry.") from None
        click.echo(
            "The local queue is not running; it gets the tenant's queues when the bundle starts.", err=True
        )
    else:
        click.echo(f"The queues of {tenant.name} are ready.")
