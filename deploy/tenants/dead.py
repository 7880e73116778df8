"""`dead list|show|replay NAME`: shows the jobs that were given up, with the reason and the remedy, and replays them."""

import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

import click

from deploy.tenants.running import Group, existing, with_services
from deploy.tenants.tables import json_option, progress, show_json, show_rows
from shared.audit import OPERATOR, Act, Audit
from shared.errors import DocumentMissingError
from shared.jobs.jobs import KINDS
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.wanted import Wanted
from shared.services import Services
from shared.settings import TASKS, Needs
from shared.tenants.tenants import Tenant

_EVERY_SECONDS = 1.0
_MOST_LISTED = 1000
_TIMES = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"])
_FILTERS = (
    click.option(
        "--kind",
        type=click.Choice(sorted({*KINDS, "unread"}), case_sensitive=True),
        metavar="KIND",
        help="Only jobs of this kind.",
    ),
    click.option(
        "--cause",
        type=click.Choice([cause.value for cause in Cause]),
        metavar="CAUSE",
        help="Only jobs that died of this cause.",
    ),
    click.option("--reason", help="Only jobs with these words in their reason."),
    click.option("--metric", help="Only events of this metric."),
    click.option(
        "--profile",
        help="Only jobs about this profile: an id of Omneo's or Klaviyo's; - reads an id or an address from standard input.",
    ),
    click.option("--since", type=_TIMES, help="Only jobs that died then or later (UTC)."),
    click.option("--until", type=_TIMES, help="Only jobs that died before then (UTC)."),
)


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in reversed(_FILTERS):
        command = option(command)
    return command


@click.group(cls=Group)
def dead() -> None:
    """List, show and replay the dead jobs of a tenant."""


@dead.command(name="list")
@click.argument("name", callback=existing)
@_filters
@json_option
@with_services(Needs.STORE)
def list_(services: Services, /, name: str, *, as_json: bool, **given: Any) -> None:
    """List the dead jobs of tenant NAME, the newest first.

    Without a filter, all jobs that one cause holds are one row; --cause shows each of them.
    """
    from shared.admin.desk import listed
    from shared.admin.filters import Page

    tenant, wanted = _tenant(services, name), _wanted(services, name, given)
    told = listed(tenant, Page(wanted, None, 200), services)
    rows, after = told["dead_jobs"], told["next"]
    while after is not None and len(rows) < _MOST_LISTED:
        page = listed(tenant, Page(wanted, after, 200), services)
        rows, after = [*rows, *page["dead_jobs"]], page["next"]
    rows.sort(key=lambda row: str(row["last_died_at"]), reverse=True)
    if as_json:
        show_json({**told, "dead_jobs": rows, "next": after})
        return
    if told.get("held"):
        show_rows(
            ("Cause", "Jobs", "Last", "Reason", "What to do"),
            [
                (row["cause"], str(row["count"]), row["last_died_at"], row["reason"], row["what_to_do"])
                for row in told["held"]
            ],
        )
    if rows:
        show_rows(("Id", "Kind", "Last", "Deaths", "Reason", "What to do"), [_line(row) for row in rows])
    if after is not None:
        click.echo(f"There are more than {len(rows)}: choose with a filter.", err=True)
    if not rows and not told.get("held"):
        click.echo(
            "There is no dead job like that." if given_any(given) else "No job was given up.", err=True
        )


@dead.command()
@click.argument("name", callback=existing)
@click.argument("id")
@click.option("--reveal", is_flag=True, help="Show personal values, which are masked otherwise.")
@with_services(Needs.STORE)
def show(services: Services, name: str, id: str, reveal: bool) -> None:
    """Show the dead job ID of tenant NAME as JSON, its body too."""
    from shared.admin.desk import one

    told = one(_tenant(services, name), id, services, reveal=reveal)
    if reveal:
        Audit.of(services).note(name, Act.REVEALED, by=OPERATOR, about=f"dead job {told['id']}")
        click.echo("Personal values are shown.", err=True)
    show_json(told)


@dead.command()
@click.argument("name", callback=existing)
@click.argument("id", required=False)
@_filters
@click.option("--all", "everything", is_flag=True, help="All dead jobs of the tenant.")
@click.option("--no-wait", is_flag=True, help="Begin the run, and do not wait for its end.")
@json_option
@with_services(Needs.STORE | TASKS)
def replay(
    services: Services,
    /,
    name: str,
    id: str | None,
    *,
    everything: bool,
    no_wait: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Queue dead jobs of tenant NAME again: the job with this ID, the jobs that match the filters, or --all.

    Ctrl-C ends the watching, not the run.
    """
    from shared.admin.desk import replay_all, replay_one

    if [id is not None, given_any(given), everything].count(True) != 1:
        raise click.UsageError("Say which: an ID, or filters, or --all.")
    tenant = _tenant(services, name)
    if id is not None:
        told = replay_one(tenant, id, services)
        Audit.of(services).note(name, Act.REPLAYED, by=OPERATOR, about=f"dead job {told['id']}")
        if as_json:
            show_json(told)
        else:
            click.echo(f"Job {id} is queued again. It stands on the desk until it has succeeded.")
        return
    wanted = Wanted() if everything else _wanted(services, name, given)
    told = replay_all(tenant, wanted, services)
    Audit.of(services).note(name, Act.REPLAYED, by=OPERATOR, about=f"run {told['id']}")
    if not no_wait:
        told = _follow(tenant, told["id"], services)
    if as_json:
        show_json(told)
    else:
        click.echo(_summary(told))
    if told["state"] == "failed":
        sys.exit(1)


def given_any(given: Mapping[str, Any]) -> bool:
    """Return whether a filter is given."""
    return any(value is not None for value in given.values())


def _follow(tenant: Tenant, id: str, services: Services) -> dict[str, Any]:
    """Show a run's progress until it has replayed all its jobs, or until Ctrl-C; return its state."""
    from shared.admin.desk import replay_progress

    with progress() as bar:
        task = bar.add_task(tenant.name, total=None, beside="")
        told = replay_progress(tenant, id, services)
        try:
            while told["state"] == "running":
                bar.update(
                    task, total=told["total"], completed=told["replayed"], beside=_beside(told), refresh=True
                )
                services.sleep(_EVERY_SECONDS)
                told = replay_progress(tenant, id, services)
        except KeyboardInterrupt:
            click.echo("The run goes on.", err=True)
    return told


def _beside(told: Mapping[str, Any]) -> str:
    return f"{told['succeeded']:,} done, {told['waiting']:,} wait, {told['died_again']:,} died again"


def _summary(told: Mapping[str, Any]) -> str:
    unreadable = f" {told['unreadable']:,} cannot be read by this release." if told["unreadable"] else ""
    failed = f" {told['reason']}" if told["reason"] else ""
    return f"Run {told['id']}, {told['state']}: {told['replayed']:,} replayed; {_beside(told)}.{unreadable}{failed}"


def _line(row: Mapping[str, Any]) -> tuple[str, ...]:
    kind = f"{row['kind']} ({row['metric']})" if row["metric"] else row["kind"]
    reason = (
        row["reason"] if row["state"] == "dead" else f"Queued again at {row['replayed_at']}. {row['reason']}"
    )
    return row["id"], kind, row["last_died_at"], str(row["deaths"]), reason, row["what_to_do"]


def _wanted(services: Services, name: str, given: Mapping[str, Any]) -> Wanted:
    from shared.admin.filters import read_filters

    texts = {key: _text(value) for key, value in given.items() if value is not None}
    if texts.get("profile") == "-":
        if sys.stdin.isatty():
            texts["profile"] = click.prompt("profile", err=True)
        else:
            texts["profile"] = sys.stdin.readline()
    elif "@" in texts.get("profile", ""):
        raise click.UsageError(
            "An address is personal, and other users could read it: give --profile - and type it."
        )
    return read_filters(_tenant(services, name), texts)


def _text(value: object) -> str:
    if isinstance(value, datetime):
        return value.replace(tzinfo=value.tzinfo or UTC).isoformat()
    return str(value)


def _tenant(services: Services, name: str) -> Tenant:
    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError("no such tenant")
    return tenant
