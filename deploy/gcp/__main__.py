"""`python -m deploy.gcp`: the commands that the scripts run. Operators run the scripts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.gcp import access, domain, overview, plan, preconditions, resources, upgrade
from deploy.gcp.environment import FUNCTION, NotDeployedError, exports
from deploy.gcp.google import RefusedError
from deploy.gcp.naming import Place
from deploy.staging import StagingError, load_functions

Command = TypeVar("Command", bound=Callable[..., Any])

_NOTHING_TO_DO = 3


@click.group()
@click.option("--project", required=True)
@click.option("--number", default="0")
@click.option("--region", default="")
@click.option("--domain", default="")
@click.pass_context
def commands(context: click.Context, project: str, number: str, region: str, domain: str) -> None:
    """Write the next steps for the scripts into a folder that they name."""
    context.obj = Place(project=project, number=number, region=region, domain=domain)


_work = click.argument("work", type=click.Path(file_okay=False, path_type=Path))


def _file(name: str) -> Callable[[Command], Command]:
    return click.argument(name, type=click.Path(dir_okay=False, path_type=Path))


@commands.command(name="plan")
@_work
@click.pass_obj
def plan_(place: Place, work: Path) -> None:
    """Write all values that follow from our own files."""
    plan.write_plan(work, place)


@commands.command()
@_work
@click.pass_obj
def check(place: Place, work: Path) -> None:
    """Print what is wrong with the variables, one line each."""
    for problem in preconditions.variable_problems(work, place):
        click.echo(problem)


@commands.command(name="costs")
@_work
def costs_(work: Path) -> None:
    """Write the highest cost of the instances; if it is too high, print `problem`, a tab, and the remedy."""
    for finding in preconditions.cost_findings(work):
        click.echo(f"{finding.kind}\t{finding.words}")


@commands.command(name="project")
@click.pass_obj
def project_(place: Place) -> None:
    """Check billing and permissions; print each fault: `problem` or `warning`, a tab, and the remedy."""
    for finding in preconditions.project_findings(place):
        click.echo(f"{finding.kind}\t{finding.words}")


@commands.command(name="region")
@_work
@click.pass_obj
def region_(place: Place, work: Path) -> None:
    """Check whether the region has everything; print each fault: `problem` or `warning`, a tab, and the remedy."""
    for finding in preconditions.region_findings(place, (work / "apis-on").read_text().split()):
        click.echo(f"{finding.kind}\t{finding.words}")


@commands.command()
@_work
def quotas(work: Path) -> None:
    """Print each quota that is too small: `problem` or `warning`, a tab, and the remedy."""
    for shortage in preconditions.quota_shortages(work):
        click.echo(f"{shortage.kind}\t{shortage.words}")


@commands.command()
@_work
@click.pass_obj
def revisions(place: Place, work: Path) -> None:
    """Stage the functions and write the next step for each."""
    upgrade.write_revisions(work, place)


@commands.command(name="resources")
@_work
@click.pass_obj
def resources_(place: Place, work: Path) -> None:
    """Print every resource with its final settings, as JSON."""
    click.echo(json.dumps(resources.listed(work, place), indent=2))


@commands.command(name="overview")
@_work
def overview_(work: Path) -> None:
    """Print the overview: each heading with its lines."""
    for heading, lines in overview.overview_lines(work):
        click.echo(heading)
        for line in lines:
            click.echo(f"  {line}")


@commands.command()
@_work
def traffic(work: Path) -> None:
    """Write which revisions calls go to."""
    upgrade.write_traffic(work)


@commands.command(name="front")
@_work
@click.pass_obj
def front_(place: Place, work: Path) -> None:
    """Read the load balancer and the certificates from Google, and write them."""
    domain.write_front(work, place, (work / "apis-on").read_text().split())


@commands.command()
@_work
@click.pass_obj
def record(place: Place, work: Path) -> None:
    """Write whether a DNS record that the domain needs is made, exists, or belongs to somebody else."""
    domain.write_record(work, place)


@commands.command(name="pointing-here")
@_work
@click.pass_obj
def pointing_here(place: Place, work: Path) -> None:
    """Write the DNS records that lead to our own resources."""
    domain.write_pointing_here(work, place)


@commands.command()
@_work
@click.argument("since")
@click.pass_obj
def verdicts(place: Place, work: Path, since: str) -> None:
    """Print each new revision that answers worse than the one before it: service, a tab, and the reason."""
    for service, why in upgrade.verdicts(work, place, since):
        click.echo(f"{service}\t{why}")


@commands.command()
@_work
def workers(work: Path) -> None:
    """Write which services are workers."""
    plan.write_workers(work)


@commands.command(name="access")
@_file("wanted")
@_file("current")
@click.pass_obj
def access_(place: Place, wanted: Path, current: Path) -> None:
    """Print the policy as it should be; exit with 3 if it is so already."""
    roles = {role: set(members) for role, members in json.loads(wanted.read_text()).items()}
    after = access.merged(json.loads(current.read_text() or "{}"), roles, place)
    if after is None:
        sys.exit(_NOTHING_TO_DO)
    click.echo(json.dumps(after))


@commands.command(name="queues")
@_file("listed")
def queues_(listed: Path) -> None:
    """Print the queues whose settings differ from queues.toml, and the settings to set."""
    from deploy.gcp import queues  # with it comes the library of Cloud Tasks, which nothing else here needs

    for row in queues.differing(json.loads(listed.read_text() or "[]")):
        click.echo("\t".join(row))


@commands.command(name="own-queues")
@_file("listed")
def own_queues(listed: Path) -> None:
    """Print the queues of tenants, known by their settings."""
    from deploy.gcp import queues

    for id in queues.own(json.loads(listed.read_text() or "[]")):
        click.echo(id)


@commands.command()
@_file("listed")
@click.pass_obj
def environment(place: Place, listed: Path) -> None:
    """Print shell lines that set the environment of `python -m deploy.tenants`."""
    for line in exports(json.loads(listed.read_text() or "[]"), load_functions()[FUNCTION], place.project):
        click.echo(line)


if __name__ == "__main__":
    try:
        commands(prog_name="python -m deploy.gcp")
    except (NotDeployedError, StagingError, RefusedError) as error:
        sys.exit(str(error))
