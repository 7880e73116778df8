"""`resync NAME` and `reconcile NAME`: a run over a tenant's whole base, begun here, done by the outbound worker, and followed here."""

import csv
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.tenants.running import Command, existing, found, with_services
from deploy.tenants.tables import json_option, progress, show_json
from shared.audit import OPERATOR, Act, Audit
from shared.resync.rules.run import Kind, State, Undated
from shared.resync.run import Run
from shared.resync.runs import Resyncs
from shared.services import Services
from shared.settings import Needs
from shared.tenants.tenants import Tenant

if TYPE_CHECKING:
    from shared.resync.orders import Order

_EVERY_SECONDS = 1.0
_A_LINE_EVERY = timedelta(seconds=30)  # without a terminal that shows a bar
_NEEDS = Needs.STORE | Needs.OUTBOUND
_LISTED = 10


def _past(_ctx: click.Context, _parameter: click.Parameter, value: datetime | None) -> datetime | None:
    """Return the time in UTC, if it has passed."""
    if value is None:
        return None
    moment = value.replace(tzinfo=value.tzinfo or UTC)
    if moment > datetime.now(UTC):
        raise click.BadParameter("that time is still to come.")
    return moment


_since = click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S%z"]),
    callback=_past,
    help="Only profiles changed since then (UTC). A reconcile without it: since the last one.",
)
_file = click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    help="The file (CSV) for the profiles with a finding, and the findings.",
)


@click.command(cls=Command)
@click.argument("name", callback=existing)
@_since
@click.option("--only-consent", is_flag=True, help="Do not write the profiles themselves.")
@click.option("--dry-run", is_flag=True, help="Count what would be sent, and send nothing.")
@click.option(
    "--undated-opt-ins",
    type=click.Choice([undated.value for undated in Undated]),
    default=Undated.LEAVE.value,
    help="The meaning of an opt-in without a date: it is left out, or it is as old as the membership.",
)
@_file
@click.option("--pause", "to", flag_value=State.PAUSED.value, help="Pause the run that is under way.")
@click.option(
    "--resume",
    "to",
    flag_value=State.RUNNING.value,
    help="Let a paused or failed run go on, and watch it.",
)
@click.option("--cancel", "to", flag_value=State.CANCELLED.value, help="End it.")
@json_option
@with_services(_NEEDS)
def resync(
    services: Services,
    name: str,
    *,
    since: datetime | None,
    only_consent: bool,
    dry_run: bool,
    undated_opt_ins: str,
    path: Path | None,
    to: str | None,
    as_json: bool,
) -> None:
    """Send the whole base of tenant NAME to Klaviyo. Ctrl-C ends the watching, not the run."""
    from shared.resync.orders import Order, change_state, report

    tenant = found(services, name)
    if to is not None:
        before = (_to_resume if to == State.RUNNING else _under_way)(services, tenant)
        run = change_state(tenant, before.id, State(to), services)
        if run.state is not before.state:  # --resume also watches a run again that goes on
            Audit.of(services).note(name, Act.RUN_CHANGED, by=OPERATOR, about=f"{run.id} {to}")
        if run.state is not State.RUNNING:
            if as_json:
                show_json(report(tenant, run, services))
            else:
                click.echo(f"The run is {run.state.value}.")
            return
    else:
        order = Order(
            since=since, only_consent=only_consent, dry_run=dry_run, undated_opt_ins=Undated(undated_opt_ins)
        )
        run = _begun(tenant, Kind.RESYNC, order, services)
    _watch(services, tenant, run, path, as_json=as_json)


@click.command(cls=Command)
@click.argument("name", callback=existing)
@_since
@click.option("--repair", is_flag=True, help="Mend each difference, by the same rule.")
@click.option(
    "--last", is_flag=True, help="Show the findings of the last reconcile, such as the nightly one."
)
@_file
@json_option
@with_services(_NEEDS)
def reconcile(
    services: Services,
    name: str,
    *,
    since: datetime | None,
    repair: bool,
    last: bool,
    path: Path | None,
    as_json: bool,
) -> None:
    """Compare the consent of tenant NAME on both sides, and print each difference."""
    from shared.resync.orders import Order

    tenant = found(services, name)
    kind = Kind.REPAIR if repair else Kind.RECONCILE
    run = _last(services, tenant, kind) if last else _begun(tenant, kind, Order(since=since), services)
    _watch(services, tenant, run, path, as_json=as_json)


def _begun(tenant: Tenant, kind: Kind, order: "Order", services: Services) -> Run:
    """Begin a run, and note it in the audit."""
    from shared.resync.orders import begin

    run = begin(tenant, kind, order, services)
    Audit.of(services).note(tenant.name, Act.RUN_BEGUN, by=OPERATOR, about=f"{kind.value} {run.id}")
    return run


def follow(tenant: Tenant, run: Run, services: Services, sleep: Callable[[float], None]) -> tuple[Run, bool]:
    """Show a run's progress until it ends or pauses, or until Ctrl-C; return the run, and whether it was watched to its end.

    A terminal shows a bar, anything else a line every half a minute.
    """
    from shared.resync.orders import find

    with progress() as bar:
        task = bar.add_task(tenant.name, total=1, beside="")
        said_at = services.clock()
        try:
            while True:
                run = find(tenant, run.id, services)
                beside = _beside(run) + _why_it_waits(services, tenant.name)
                if bar.disable and services.clock() - said_at >= _A_LINE_EVERY:
                    said_at = services.clock()
                    click.echo(f"{run.read:,} of {run.total:,} profiles, {beside}", err=True)
                bar.update(task, total=max(1, run.total), completed=run.read, beside=beside, refresh=True)
                if run.state is not State.RUNNING:
                    return run, True
                sleep(_EVERY_SECONDS)
        except KeyboardInterrupt:
            return find(tenant, run.id, services), False


def write_file(path: Path, services: Services, name: str, id: str) -> int:
    """Write the findings of a run about single profiles, one line for each, and return the number of lines."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["profile", "what"])
        writer.writeheader()
        for row in Resyncs.of(services).rows(name, id):
            writer.writerow(row)
            count += 1
    return count


def _watch(services: Services, tenant: Tenant, run: Run, path: Path | None, *, as_json: bool) -> None:
    """Watch a run and print its result. The exit status is 1 if a part of the run was not done."""
    from shared.resync.orders import report

    run, to_the_end = follow(tenant, run, services, services.sleep)
    told = report(tenant, run, services)
    if as_json:
        show_json(told)
    else:
        _show(told)
    if path is not None:
        lines = write_file(path, services, tenant.name, run.id)
        click.echo(f"{lines} lines, one for each thing told of a profile: {path}", err=as_json)
    if not to_the_end:
        click.echo(
            "The run goes on. `resync NAME --resume` watches it again, --pause pauses it, --cancel ends it.",
            err=True,
        )
    elif run.state in (State.CANCELLED, State.FAILED) or told["failures"]:
        sys.exit(1)


def _show(told: dict[str, Any]) -> None:
    words = [told["kind"], *(["(dry run, nothing was sent)"] if told["dry_run"] else [])]
    click.echo(f"{' '.join(words)}: {told['state']}  (run {told['id']})")
    if told["reason"]:
        click.echo(told["reason"])
    since = f", changed since {told['since']}" if told["since"] else ""
    click.echo(
        f"{told['read']:,} of {told['total']:,} profiles{since}; {told['profiles_per_minute']:,} a minute"
    )
    for heading, group in (("What came of them", "counts"), ("What failed", "failures")):
        if told[group]:
            click.echo(f"\n{heading}:")
            for what, count in sorted(told[group].items()):
                click.echo(f"  {count:>9,}  {what}")
    if told["imports_waiting"]:
        click.echo(f"\n{told['imports_waiting']} imports are still with Klaviyo.")
    if told["profiles"]:
        click.echo("\nFor instance (--file has them all):")
        for row in told["profiles"][:_LISTED]:
            click.echo(f"  {row['profile']}  {row['what']}")


def _beside(run: Run) -> str:
    """Return the text beside the bar."""
    from shared.resync.orders import summary

    told = summary(run)
    left = told["seconds_left"]
    parts = [f"{told['profiles_per_minute']:,} a minute"]
    if left is not None and run.read < run.total:
        parts.append(f"{timedelta(seconds=left)} left")
    if run.imports:
        parts.append(f"{len(run.imports)} imports with Klaviyo")
    if failed := sum(told["failures"].values()):
        parts.append(f"{failed:,} failed")
    return ", ".join(parts)


def _why_it_waits(services: Services, name: str) -> str:
    """Return the text beside the bar of a run that waits because the account was disconnected after its begin."""
    tenant = services.tenants.find(name)
    is_connected = tenant is None or tenant.is_connected
    return "" if is_connected else ", waits: the Klaviyo account is disconnected, install the app again"


def _under_way(services: Services, tenant: Tenant) -> Run:
    run = Resyncs.of(services).under_way(tenant.name)
    if run is None:
        raise click.ClickException("No run is under way.")
    return run


def _to_resume(services: Services, tenant: Tenant) -> Run:
    """Return the run that is under way, or the last one if it has failed."""
    newest = Resyncs.of(services).newest(tenant.name)
    return newest if newest and newest.state is State.FAILED else _under_way(services, tenant)


def _last(services: Services, tenant: Tenant, kind: Kind) -> Run:
    run = Resyncs.of(services).last(tenant.name, kind)
    if run is None:
        raise click.ClickException("There was none yet.")
    return run
