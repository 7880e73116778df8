"""`status NAME`: shows the same status as CX Manager, for an operator without the merchant's key."""

from datetime import datetime

import click

from deploy.tenants.doctor import show_report
from deploy.tenants.running import Command, existing, found, with_services
from deploy.tenants.tables import json_option, show_json
from shared.admin.settings import read_settings
from shared.services import Services
from shared.settings import Needs


@click.command(cls=Command)
@click.argument("name", callback=existing)
@json_option
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def status(services: Services, name: str, as_json: bool) -> None:
    """Show the last report on tenant NAME, at most a minute old, and the run that is under way. The exit status says nothing about the
    tenant.
    """
    from shared.admin.status import status as looked_up

    tenant = found(services, name)
    settings = read_settings(tenant, services)
    used = services.secret_uses.last(name)
    keys = [
        {"id": key.id, "created_at": _iso(key.created_at), "last_used_at": _iso(used.get(key.id))}
        for key in tenant.installation_keys
    ]
    told = {
        **looked_up(tenant, services),
        "omneo_signing_secrets": settings["omneo_signing_secrets"],
        "installation_keys": keys,
    }
    if as_json:
        show_json(told)
        return
    click.echo(f"As of {told['checked_at']}.")
    show_report(told)
    for word, field in (
        ("webhook-secret", "webhook_secrets"),
        ("omneo-signing-secret", "omneo_signing_secrets"),
        ("installation-key", "installation_keys"),
    ):
        for secret in told[field]:
            click.echo(f"{word} {secret['id']}: last used {secret['last_used_at'] or 'never'}")
    if run := told["run"]:
        click.echo(
            f"{run['kind']}: {run['state']}, {run['read']:,} of {run['total']:,} profiles (run {run['id']})"
        )


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="seconds") if time else None
