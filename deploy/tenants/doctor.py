"""`doctor NAME`: says in plain words whether a tenant is well, and what mends it."""

import os
import sys
from dataclasses import replace
from typing import Any

import click

from deploy.tenants.running import Command, existing, found, with_services
from deploy.tenants.tables import json_option, print_table, show_json
from shared.admin.reports import StatusReports
from shared.audit import OPERATOR, Act, Audit
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.tenants import StepState

_GLANCES, _GLANCE_SECONDS = 30, 2.0
_MARKS = {"ok": ("ok      ", "green"), "warning": ("warning ", "yellow"), "critical": ("CRITICAL", "red")}


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--repair", "mend", is_flag=True, help="Do what is safe, then look again.")
@json_option
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def doctor(services: Services, name: str, mend: bool, as_json: bool) -> None:
    """Check tenant NAME. The exit status is 1 if something is critical; with --repair, if it still is afterwards."""
    report, done = _looked_at(services, name), list[str]()
    if mend:
        from shared.admin.doctor import repair

        if not as_json:
            show_report(report)
        needs = Needs.STORE | Needs.QUEUES | Needs.OUTBOUND | Needs.KLAVIYO_APP | Needs.PUBLIC_URL
        mender = replace(services, settings=Settings.from_env(os.environ, needs))
        done = repair(found(services, name), mender)
        if done:
            Audit.of(services).note(name, Act.REPAIRED, by=OPERATOR)
        again = "install the app again" if report["klaviyo"]["connected_at"] else "the app is not installed"
        for line in done or [f"Nothing can be repaired from here: {again}."]:
            click.echo(line, err=as_json)
        if done:
            _await_set_up(services, name)
            report = _looked_at(services, name)
            click.echo("Afterwards:", err=as_json)
    if as_json:
        show_json({**report, "repaired": done})
    elif done or not mend:
        show_report(report)
    if report["state"] == "critical":
        raise click.exceptions.Exit(1)


@click.command(cls=Command)
@with_services(Needs.STORE | Needs.QUEUES | Needs.OUTBOUND | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def readdress(services: Services) -> None:
    """Give the webhooks of every connected tenant the public address that EXTENSION_URL names, one tenant after the other.

    The exit status is 1 if the webhooks of a tenant did not get it in time; the command may be run again.
    """
    from shared.admin.doctor import repair
    from shared.installation.provision import steps_of

    names = [name for name in services.tenants.names() if found(services, name).is_connected]
    late = []
    for number, name in enumerate(names, 1):
        repair(found(services, name), services)
        Audit.of(services).note(name, Act.REPAIRED, by=OPERATOR)
        _await_set_up(services, name)
        steps = steps_of(found(services, name))
        undone = [step for step in steps if step["state"] != StepState.DONE]
        late += [name] if undone else []
        said = f"{len(undone)} of {len(steps)} steps are not done: see `doctor {name}`" if undone else "done"
        click.echo(f"{number} of {len(names)}  {name}: {said}")
    if late:
        raise click.exceptions.Exit(1)


def _looked_at(services: Services, name: str) -> dict[str, Any]:
    """Make a new report and return it; `status` shows it too, for a minute."""
    from shared.admin.doctor import examine

    report = examine(found(services, name), services)
    StatusReports.of(services).keep(name, report)
    return report


def _await_set_up(services: Services, name: str) -> None:
    """Wait until no step of the set-up waits, but no longer than a healthy worker needs."""
    from shared.installation.provision import steps_of

    for _ in range(_GLANCES):
        if all(step["state"] != StepState.WAITING for step in steps_of(found(services, name))):
            break
        services.sleep(_GLANCE_SECONDS)
    services.sleep(
        _GLANCE_SECONDS
    )  # Klaviyo allows one read of its webhooks a second, and the job has just made one


def show_report(report: dict[str, Any]) -> None:
    """Print the findings of a report, each with what mends it, and what was left behind."""
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
        click.echo(f"          Left behind: {left}")
