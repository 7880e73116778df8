"""`resync NAME` and `reconcile NAME`: a run over a tenant's whole base, begun here, done by the outbound worker, and followed here."""

import csv
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from deploy.tenants.running import Command, existing, with_services
from shared.domain.resyncs import Kind, State, Undated
from shared.errors import DocumentMissingError
from shared.resyncs import Run
from shared.services import Services
from shared.settings import Needs
from shared.tenants import Tenant

_EVERY_SECONDS = 1.0
_NEEDS = Needs.STORE | Needs.OUTBOUND
_TIME = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"])


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--since", type=_TIME, help="Only profiles changed since then (UTC).")
@click.option("--only-consent", is_flag=True, help="Leave the profiles themselves alone.")
@click.option("--dry-run", is_flag=True, help="Count what would be sent, and send nothing.")
@click.option(
    "--undated-opt-ins",
    type=click.Choice([undated.value for undated in Undated]),
    default=Undated.LEAVE.value,
    help="What an opt-in without a date means: left, or as old as the membership.",
)
@click.option("--pause", "to", flag_value=State.PAUSED.value, help="Pause the run that is under way.")
@click.option("--resume", "to", flag_value=State.RUNNING.value, help="Let it go on, and follow it.")
@click.option("--cancel", "to", flag_value=State.CANCELLED.value, help="End it.")
@with_services(_NEEDS)
def resync(
    services: Services,
    name: str,
    *,
    since: datetime | None,
    only_consent: bool,
    dry_run: bool,
    undated_opt_ins: str,
    to: str | None,
) -> None:
    """Send the whole base of tenant NAME to Klaviyo. Ctrl-C ends the watching, not the run."""
    from shared.handlers.resync_orders import Order, begin, change_state

    tenant = _tenant(services, name)
    if to is not None:
        run = _under_way(services, tenant)
        run = change_state(tenant, run.id, State(to), services)
        if run.state is not State.RUNNING:
            click.echo(f"The run is {run.state.value}.")
            return
    else:
        order = Order(
            since=since.replace(tzinfo=UTC) if since else None,
            only_consent=only_consent,
            dry_run=dry_run,
            undated_opt_ins=Undated(undated_opt_ins),
        )
        run = begin(tenant, Kind.RESYNC, order, services)
    _show(follow(tenant, run, services))


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option("--since", type=_TIME, help="Only profiles changed since then; without it, since the last one.")
@click.option("--repair", is_flag=True, help="Mend what differs, by the same rule.")
@click.option(
    "--file",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Where the drift is written (CSV).",
)
@with_services(_NEEDS)
def reconcile(services: Services, name: str, since: datetime | None, repair: bool, path: Path | None) -> None:
    """Compare the consent of tenant NAME on both sides, and write down where it differs."""
    from shared.handlers.resync_orders import Order, begin

    tenant = _tenant(services, name)
    kind = Kind.REPAIR if repair else Kind.RECONCILE
    order = Order(since=since.replace(tzinfo=UTC) if since else None)
    told = follow(tenant, begin(tenant, kind, order, services), services)
    _show(told)
    if path is not None:
        rows = write_drift(path, services, name, told["id"])
        click.echo(f"{rows} profiles are listed in {path}.")


def follow(tenant: Tenant, run: Run, services: Services) -> dict[str, Any]:
    """Show a run's progress until it is over, paused, or nobody wants to watch any more; return its report."""
    from shared.handlers.resync_orders import find, report

    with click.progressbar(
        length=1, label=tenant.name, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        try:
            while True:
                run = find(tenant, run.id, services)
                bar.length = max(1, run.total)
                bar.update(run.read - bar.pos)
                if run.state is not State.RUNNING:
                    break
                time.sleep(_EVERY_SECONDS)
        except KeyboardInterrupt:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            click.echo("The run goes on. `resync --pause` pauses it, `--cancel` ends it.", err=True)
    return report(tenant, find(tenant, run.id, services), services)


def write_drift(path: Path, services: Services, name: str, id: str) -> int:
    """Write what a run has to tell of single profiles, a line each, and return how many lines."""
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["profile", "what"])
        writer.writeheader()
        for row in services.resyncs.rows(name, id):
            writer.writerow(row)
            count += 1
    return count


def _show(told: dict[str, Any]) -> None:
    click.echo(f"Run {told['id']}: {told['state']}.")
    click.echo(f"  {told['read']} of {told['total']} profiles, {told['profiles_per_minute']} a minute")
    for group in ("counts", "failures"):
        for what, count in told[group].items():
            click.echo(f"  {count:>9}  {what}")
    if told["imports_waiting"]:
        click.echo(f"  {told['imports_waiting']} imports are still with Klaviyo")


def _tenant(services: Services, name: str) -> Tenant:
    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError("no such tenant")
    return tenant


def _under_way(services: Services, tenant: Tenant) -> Run:
    run = services.resyncs.under_way(tenant.name)
    if run is None:
        raise click.ClickException("No run is under way.")
    return run
