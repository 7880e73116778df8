"""`doctor NAME`: how a tenant is, in plain words, and what mends it."""

import os
from typing import Any

import click

from deploy.tenants.running import Command, existing, with_services
from shared.admin.reports import StatusReports
from shared.errors import DocumentMissingError
from shared.services import Services
from shared.settings import Needs, Settings

_MARKS = {"ok": ("ok      ", "green"), "warning": ("warning ", "yellow"), "critical": ("CRITICAL", "red")}


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--repair", "mend", is_flag=True, help="Do what is safe: make what is missing, let queues run.")
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def doctor(services: Services, name: str, mend: bool) -> None:
    """Check tenant NAME. Exit status 1 if something is critical and nothing was done about it."""
    from shared.admin.doctor import examine, repair

    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError("no such tenant")
    report = examine(tenant, services)
    StatusReports.of(services).keep(name, report)
    _show(report)
    done: list[str] = []
    if mend:
        needs = Needs.STORE | Needs.QUEUES | Needs.OUTBOUND | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
        done = repair(tenant, Services(Settings.from_env(os.environ, needs)))
        for line in done or ["Nothing can be repaired from here: install the app again."]:
            click.echo(line)
    if report["state"] == "critical" and not done:
        raise click.exceptions.Exit(1)


def _show(report: dict[str, Any]) -> None:
    for finding in report["findings"]:
        mark, colour = _MARKS[finding["severity"]]
        click.echo(f"{click.style(mark, fg=colour)}  {finding['check']}: {finding['message']}")
        if finding["repair"]:
            click.echo(f"          {finding['repair']}")
    for left in report["left_behind"]:
        click.echo(f"          Left by the last uninstall: {left}")
