"""`python -m deploy.local run`, `serve`, `fresh` and `logs`, which make calls."""

import os
import sys

import click

from deploy.local import logs
from deploy.local.processes import StartError
from deploy.local.serve import data_dir, port
from deploy.staging import StagingError
from shared.errors import ConfigurationError


@click.group()
def commands() -> None:
    """The bundle on this machine. PORT and DATA_DIR are read from the environment."""


@commands.command()
def run() -> None:
    """Everything with a sandbox Omneo and Klaviyo, and one event sent through it."""
    from deploy.local.demo import run

    run()


@commands.command()
def serve() -> None:
    """The bundle alone, with the services that the environment names."""
    from deploy.local.serve import serve

    serve()


@commands.command()
def fresh() -> None:
    """Forget the tenant, keys and data that `run` keeps."""
    from deploy.local.demo import forget

    forget()


@commands.command(name="logs")
@click.option("--tenant", default="", help="Only lines of this tenant.")
@click.option("--job", default="", help="Only lines of this job; the first characters of its id are enough.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def logs_(tenant: str, job: str, as_json: bool) -> None:
    """Follow the logs of all functions in one stream, until Ctrl-C."""
    folder = logs.newest_folder(data_dir(os.environ), port(os.environ))
    if folder is None:
        raise StartError("There are no logs yet: make run or make serve writes them.")
    shown = logs.as_json if as_json else logs.as_text
    try:
        for line in logs.follow(folder, logs.Wanted(tenant, job)):
            click.echo(shown(line))
    except KeyboardInterrupt:
        return


def main() -> None:
    """Run the command, and report an error that stops it in one readable message."""
    try:
        commands(prog_name="python -m deploy.local")
    except (ConfigurationError, StartError, StagingError) as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
