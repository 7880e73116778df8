"""`python -m deploy.gcp`: what the scripts ask of the modules here. Operators call the scripts."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.gcp import access, files
from deploy.gcp.environment import FUNCTION, NotDeployedError, exports
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
    """Work out what the scripts are to do, in a folder that they name."""
    context.obj = Place(project=project, number=number, region=region, domain=domain)


_work = click.argument("work", type=click.Path(file_okay=False, path_type=Path))


def _file(name: str) -> Callable[[Command], Command]:
    return click.argument(name, type=click.Path(dir_okay=False, path_type=Path))


@commands.command()
@_work
@click.pass_obj
def plan(place: Place, work: Path) -> None:
    """Write what follows from our own files."""
    files.write_plan(work, place)


@commands.command()
@_work
@click.pass_obj
def check(place: Place, work: Path) -> None:
    """Print what is wrong with the variables, one line each."""
    for problem in files.variable_problems(work, place):
        click.echo(problem)


@commands.command()
@_work
def quotas(work: Path) -> None:
    """Print which quotas are too small: `problem` or `warning`, a tab, what to do."""
    for shortage in files.quota_shortages(work):
        click.echo(f"{shortage.kind}\t{shortage.words}")


@commands.command()
@_work
@click.pass_obj
def revisions(place: Place, work: Path) -> None:
    """Stage the functions and write what is to be done about each."""
    files.write_revisions(work, place)


@commands.command()
@_work
def traffic(work: Path) -> None:
    """Write which revisions calls go to."""
    files.write_traffic(work)


@commands.command()
@_work
def workers(work: Path) -> None:
    """Write which services are workers."""
    files.write_workers(work)


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
    """Print the queues whose settings are not those of queues.toml, and what to set."""
    from deploy.gcp import queues  # with it comes the library of Cloud Tasks, which nothing else here needs

    for row in queues.differing(json.loads(listed.read_text() or "[]")):
        click.echo("\t".join(row))


@commands.command()
@_file("listed")
@click.pass_obj
def environment(place: Place, listed: Path) -> None:
    """Print what sets the environment of `python -m deploy.tenants`."""
    for line in exports(json.loads(listed.read_text() or "[]"), load_functions()[FUNCTION], place.project):
        click.echo(line)


if __name__ == "__main__":
    try:
        commands(prog_name="python -m deploy.gcp")
    except (NotDeployedError, StagingError) as error:
        sys.exit(str(error))
