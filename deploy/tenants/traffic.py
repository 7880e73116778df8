"""`traffic NAME` and `audit NAME`: the counts of a tenant's calls and jobs, and the acts with a credential."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from deploy.tenants.running import Command, existing, with_services
from deploy.tenants.tables import json_option, show_json, show_rows
from shared.audit import Audit
from shared.errors import DocumentMissingError
from shared.services import Services
from shared.settings import Needs

_COUNTED = ("accepted", "refused", "delivered", "waiting", "dead")
_HEADINGS = ("Target", "Metric", "Accepted", "Refused", "Delivered", "Put back", "Dead", "Last accepted")


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--since", default="24h", help="For example 24h, 7d or 2026-11-20. At most 35 days back.")
@json_option
@with_services(Needs.STORE)
def traffic(services: Services, name: str, since: str, as_json: bool) -> None:
    """Show how many calls were accepted and refused (with reasons), and how many jobs were delivered, put back and given up, by target and
    metric.
    """
    from shared.admin.traffic import traffic as counted

    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError("no such tenant")
    told = counted(tenant, services, {"since": since})
    if as_json:
        show_json(told)
        return
    show_rows(_HEADINGS, map(_row, told["targets"]))
    for line in _refusals(told["targets"]):
        click.echo(line)


@click.command(cls=Command)
@click.argument("name", callback=existing)
@json_option
@with_services(Needs.STORE)
def audit(services: Services, name: str, as_json: bool) -> None:
    """Show who did what with a credential of tenant NAME in the last 400 days, newest first, a deleted tenant's too."""
    entries = Audit.of(services).acts(name)
    if as_json:
        show_json([{**asdict(entry), "at": entry.at.isoformat()} for entry in entries])
    else:
        rows = [(f"{entry.at:%Y-%m-%d %H:%M:%S}", entry.act, entry.by, entry.about) for entry in entries]
        show_rows(("UTC", "Act", "By", "About"), rows)


def _row(target: Mapping[str, Any]) -> tuple[str, ...]:
    numbers = (f"{target[what]['count']:,}" for what in _COUNTED)
    return (target["target"], target["metric"], *numbers, _date(target["accepted"]["last_at"]))


def _refusals(targets: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    for target in targets:
        about = " ".join(filter(None, (target["target"], target["metric"])))
        for reason in target["refused"]["reasons"]:
            last = _date(reason["last_at"])
            yield f"refused\t{reason['count']:,}\t{about}\t{reason['reason']}\tlast {last}"


def _date(at: str | None) -> str:
    return f"{datetime.fromisoformat(at):%Y-%m-%d %H:%M:%S}" if at else "-"
