"""`notify-secret NAME`: a new secret for messages to the tenant's own address, shown once."""

import click

from deploy.tenants.running import Command, existing, with_services
from shared.audit import OPERATOR, Act, Audit
from shared.services import Services
from shared.settings import Needs


@click.command(name="notify-secret", cls=Command)
@click.argument("name", callback=existing)
@with_services(Needs.STORE)
def notify_secret(services: Services, name: str) -> None:
    """Make a new secret that signs messages to notify_url, and print it once.

    The last secret goes on signing beside it until the next one is made.
    """
    from shared.notify.secret import new_notify_secret

    secret = new_notify_secret(services.tenants, name, services.clock())
    Audit.of(services).note(name, Act.SECRET_ADDED, by=OPERATOR, about="notify-secret")
    click.echo(secret)
