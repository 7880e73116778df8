"""`status NAME`: what CX Manager is shown of a tenant, for an operator who has no key of the merchant's."""

import click

from deploy.tenants.doctor import show_report
from deploy.tenants.running import Command, existing, found, with_services
from deploy.tenants.tables import json_option, show_json
from shared.services import Services
from shared.settings import Needs


@click.command(cls=Command)
@click.argument("name", callback=existing)
@json_option
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def status(services: Services, name: str, as_json: bool) -> None:
    """Show the last report on tenant NAME, at most a minute old, and the run that is under way. It says nothing by its exit status."""
    from shared.admin.status import status as looked_up

    told = looked_up(found(services, name), services)
    if as_json:
        show_json(told)
        return
    show_report(told)
    for secret in told["webhook_secrets"]:
        click.echo(f"webhook-secret {secret['id']}: last used {secret['last_used_at'] or 'never'}")
    if run := told["run"]:
        click.echo(
            f"{run['kind']}: {run['state']}, {run['read']:,} of {run['total']:,} profiles (run {run['id']})"
        )
