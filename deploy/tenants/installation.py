"""The operator's commands for a merchant's install, without the merchant's key: a link that starts one, a heal, and the uninstall."""

import click

from deploy.tenants.description import connection
from deploy.tenants.running import Command, confirmed, existing, found, with_services
from shared.audit import OPERATOR, Act, Audit
from shared.services import Services
from shared.settings import Needs
from shared.tenants.tenants import Tenant


@click.command(cls=Command, name="install-link")
@click.argument("name", callback=existing)
@with_services(Needs.STORE | Needs.PUBLIC_URL)
def install_link(services: Services, name: str) -> None:
    """Print a link that starts an install of tenant NAME. It works once, within an hour."""
    from shared.installation.links import install_link as link_of

    url, expires_at = link_of(found(services, name).name, services)
    Audit.of(services).note(name, Act.LINK_MADE, by=OPERATOR)
    click.echo(f"Works once, until {expires_at:%Y-%m-%d %H:%M} UTC:", err=True)
    click.echo(url)


@click.command(cls=Command)
@click.argument("name", callback=existing)
@with_services(Needs.STORE | Needs.INBOUND)
def heal(services: Services, name: str) -> None:
    """Read back from Klaviyo the consent events of tenant NAME that no webhook brought. A job does it."""
    from shared.consent.heal import start_heal
    from shared.tenants.connection import check_installed

    tenant = found(services, name)
    check_installed(tenant)
    id = start_heal(tenant, services).id
    Audit.of(services).note(name, Act.HEALED, by=OPERATOR, about=id)
    click.echo(f"The heal is queued: {id}")


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def uninstall(services: Services, name: str, *, yes: bool) -> None:
    """Remove the install of tenant NAME on both sides. Jobs that wait for Klaviyo are deleted; settings stay."""
    from shared.admin.reports import StatusReports
    from shared.installation.uninstall import uninstall as take_away

    tenant = found(services, name)
    confirmed(f"Uninstall {name} ({connection(tenant)})? Jobs that wait for Klaviyo are deleted.", yes=yes)
    after = take_away(tenant, services)
    StatusReports.of(services).forget(name)
    Audit.of(services).note(name, Act.UNINSTALLED, by=OPERATOR)
    tell_left_behind(after)
    click.echo(f"Tenant {name} is uninstalled.")


def tell_left_behind(tenant: Tenant) -> None:
    """Print the things that an uninstall could not remove."""
    for left in tenant.left_behind:
        click.echo(f"Left behind: {left}", err=True)
