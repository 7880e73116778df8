"""`rehearse NAME`: try with a live account what the extension can only assume. `deploy/rehearsal/` holds the assumptions, and how they
are tried.
"""

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from deploy.tenants.running import Command, existing, found, with_services
from deploy.tenants.tables import json_option, show_json
from shared.audit import OPERATOR, Act, Audit
from shared.errors import ProfileNotFoundError
from shared.services import Services
from shared.settings import Needs, as_revision
from shared.tenants.tenants import STAGING, Tenant

if TYPE_CHECKING:
    from deploy.rehearsal.assumption import Assumption
    from deploy.rehearsal.rehearsal import Rehearsed, Result
    from deploy.rehearsal.revisions import Revision


_DOMAIN = re.compile(r"(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}")
_WIDTH = len("could not be tried")


@click.command(cls=Command)
@click.argument("name", callback=existing)
@click.option(
    "--profile",
    "profile_id",
    required=True,
    metavar="ID",
    help="The Omneo profile of a test customer: it gets tokens, two interactions, which stay, and rewards of 0.01, which are removed.",
)
@click.option(
    "--only", multiple=True, metavar="ASSUMPTION", help="Try this one alone; may be given more than once."
)
@click.option(
    "--report",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the report is written, as a page and as JSON.",
)
@click.option(
    "--record",
    "record",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where the answers of both services are kept, with made-up values in place of every true one.",
)
@click.option(
    "--revision",
    metavar="DATE",
    default="",
    help="Another revision of Klaviyo's API: the same calls are made under it as well, and what differs is told.",
)
@click.option(
    "--domain",
    default="example.com",
    show_default=True,
    help="Of the addresses of test profiles in Klaviyo, which passes over some that it takes for made up.",
)
@click.option("--production", is_flag=True, help="Also on a tenant that is no staging twin.")
@click.option("--resume", is_flag=True, help="Keep what an interrupted rehearsal has found.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@with_services(Needs.STORE | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def rehearse(
    services: Services,
    name: str,
    *,
    profile_id: str,
    only: tuple[str, ...],
    folder: Path | None,
    record: Path | None,
    revision: str,
    domain: str,
    production: bool,
    resume: bool,
    yes: bool,
    as_json: bool,
) -> None:
    """Try the assumptions about Klaviyo and Omneo on tenant NAME, with test objects that the command makes and removes.

    The exit status is 1 if an assumption is wrong. Ctrl-C removes the test objects; after a killed run, the next run removes them.
    """
    from deploy.rehearsal import report, revisions
    from deploy.rehearsal.rehearsal import Order
    from deploy.rehearsal.revisions import rehearse_all

    chosen = _chosen(only)
    _check_revision(revision, services, resume=resume)
    if not _DOMAIN.fullmatch(domain):
        raise click.BadParameter("name a domain, as in example.com.", param_hint="--domain")
    _check_folders(folder, record)
    tenant = found(services, name)
    _check(tenant, production=production)
    _ask(tenant, chosen, yes=yes)
    Audit.of(services).note(name, Act.REHEARSED, by=OPERATOR)
    order = Order(chosen, profile_id.strip(), domain, resume)
    about = {
        "tenant": name,
        "began": f"{services.clock():%Y-%m-%d %H:%M:%S} UTC",
        "revision": services.settings.klaviyo_revision,
    }
    try:
        rehearsed, other = rehearse_all(
            tenant,
            order,
            services,
            record=record,
            revision=revision,
            tell=_nothing if as_json else _tell,
            ended=lambda run: None if folder is None else report.write(folder, run, about=about),
        )
    except ProfileNotFoundError as error:
        raise click.BadParameter(str(error), param_hint="--profile") from None
    if folder is not None and other is not None:
        revisions.write(folder, other, about=about)
    if as_json:
        found_other = {} if other is None else {"other_revision": other.to_json()}
        show_json(report.as_json(rehearsed, about=about) | found_other)
    else:
        _sum_up(rehearsed, other, folder)
    if not all(run.all_hold for run in (rehearsed, *([other.rehearsed] if other else []))):
        raise click.exceptions.Exit(1)


def _check_revision(revision: str, services: Services, *, resume: bool) -> None:
    if not revision:
        return
    try:
        is_one = as_revision(revision) != services.settings.klaviyo_revision
    except ValueError:
        is_one = False
    if not is_one:
        raise click.BadParameter(
            "name another revision of Klaviyo's, as in 2027-01-15.", param_hint="--revision"
        )
    if resume:
        raise click.UsageError("--revision compares whole rehearsals: give it without --resume.")


def _check_folders(report: Path | None, record: Path | None) -> None:
    """Refuse a folder that cannot be written to. The check comes before the rehearsal, which takes an hour."""
    from deploy.rehearsal.answers import read_answers

    for folder, option in ((report, "--report"), (record, "--record")):
        if folder is not None and not _is_writable(folder):
            raise click.BadParameter("nothing can be written into this folder.", param_hint=option)
    if record is None:
        return
    if report is not None and record.resolve() == report.resolve():
        raise click.BadParameter("name another folder than that of --report.", param_hint="--record")
    try:
        read_answers(record)
    except ValueError:
        raise click.BadParameter(
            "the folder holds JSON that is no recorded answer: name another one.", param_hint="--record"
        ) from None


def _is_writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _chosen(only: tuple[str, ...]) -> "tuple[Assumption, ...]":
    from deploy.rehearsal.assumptions.table import ASSUMPTIONS, BY_NAME

    if unknown := [name for name in only if name not in BY_NAME]:
        near = "deploy/guide/assumptions.md names them all"
        raise click.BadParameter(f"{len(unknown)} of these names are not known: {near}.", param_hint="--only")
    return tuple(row for row in ASSUMPTIONS if not only or row.name in only)


def _check(tenant: Tenant, *, production: bool) -> None:
    if not tenant.name.endswith(STAGING) and not production:
        raise click.UsageError(
            f"{tenant.name} is no staging twin: its name does not end with {STAGING}. Give --production to rehearse on it all the same."
        )
    if not tenant.is_connected:
        raise click.UsageError("The tenant is not connected to Klaviyo: install the app first.")


def _ask(tenant: Tenant, chosen: "tuple[Assumption, ...]", *, yes: bool) -> None:
    from deploy.rehearsal.assumption import Trial

    writes = sum(isinstance(row.tried, Trial) and row.tried.writes for row in chosen)
    if yes or not writes:
        return
    if not is_terminal():
        raise click.UsageError(
            "This makes test objects in Klaviyo and Omneo. Give --yes to do it without being asked."
        )
    click.confirm(
        f"Make test objects for {writes} checks in the Klaviyo account and the Omneo of {tenant.name}, and remove them?",
        abort=True,
        err=True,
    )


def is_terminal() -> bool:
    """Return whether there is a terminal at which a person can answer."""
    return sys.stdin.isatty()


def _tell(result: "Result") -> None:
    click.echo(
        f"{result.verdict.value:<{_WIDTH}}  {result.name}" + (f": {result.because}" if result.because else "")
    )


def _nothing(_result: "Result") -> None:
    return


def _sum_up(rehearsed: "Rehearsed", other: "Revision | None", folder: Path | None) -> None:
    from deploy.rehearsal.assumption import Verdict

    counts: dict[Any, int] = {
        verdict: sum(result.verdict is verdict for result in rehearsed.results) for verdict in Verdict
    }
    click.echo(", ".join(f"{count} {verdict.value}" for verdict, count in counts.items()) + ".")
    for made in rehearsed.left:
        click.echo(f"Not removed yet, the next rehearsal tries again: {made.kind}.")
    for line in () if other is None else other.lines():
        click.echo(line)
    if folder is not None:
        click.echo(f"The report is in {folder}.")
