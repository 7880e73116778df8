"""`doctor NAME`: how a tenant is, in plain words, and what mends it."""

import os
import sys
from typing import Any

import click

from deploy.tenants.running import Command, existing, with_services
from deploy.tenants.tables import json_option, print_table, show_json
from shared.admin.reports import StatusReports
from shared.errors import DocumentMissingError
from shared.services import Services
from shared.settings import Needs, Settings

_MARKS = {"ok": ("ok      ", "green"), "warning": ("warning ", "yellow"), "critical": ("CRITICAL", "red")}


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--repair", "mend", is_flag=True, help="Do what is safe: make what is missing, let queues run.")
@json_option
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def doctor(services: Services, name: str, mend: bool, as_json: bool) -> None:
    """Check tenant NAME. Exit status 1 if something is critical and nothing was done about it."""
    from shared.admin.doctor import examine, repair

    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError("no such tenant")
    report = examine(tenant, services)
    StatusReports.of(services).keep(name, report)
    if not as_json:
        _show(report)
    done: list[str] = []
    if mend:
        needs = Needs.STORE | Needs.QUEUES | Needs.OUTBOUND | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
        done = repair(tenant, Services(Settings.from_env(os.environ, needs)))
        for line in done or ["Nothing can be repaired from here: install the app again."]:
            click.echo(line, err=as_json)
    if as_json:
        show_json({**report, "repaired": done})
    if report["state"] == "critical" and not done:
        raise click.exceptions.Exit(1)


def _show(report: dict[str, Any]) -> None:
    findings = report["findings"]
    if sys.stdout.isatty():
        from rich.console import Console

        rows = [
            (_MARKS[f["severity"]][0].strip(), f["check"], f"{f['message']}\n{f['repair']}".strip())
            for f in findings
        ]
        styles = [_MARKS[finding["severity"]][1] for finding in findings]
        print_table(Console(), ("State", "Check", "How it is"), rows, first_styles=styles)
    else:
        for finding in findings:
            click.echo(f"{_MARKS[finding['severity']][0]}  {finding['check']}: {finding['message']}")
            if finding["repair"]:
                click.echo(f"          {finding['repair']}")
    for left in report["left_behind"]:
        click.echo(f"          Left by the last uninstall: {left}")
