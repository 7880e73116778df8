"""How a command runs: with services built from the environment, and every error of ours as one readable line."""

import os
from collections.abc import Callable
from functools import update_wrapper
from typing import Concatenate, ParamSpec

import click

from shared import logs
from shared.errors import DocumentMissingError, ExtensionError
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.tenants import is_tenant_name

P = ParamSpec("P")

NO_SUCH_TENANT = "There is no such tenant. `list` shows those there are."


def with_services(needs: Needs) -> Callable[[Callable[Concatenate[Services, P], None]], Callable[P, None]]:
    """Hand a command its services, and turn our errors into one readable line and exit status 1."""

    def decorate(command: Callable[Concatenate[Services, P], None]) -> Callable[P, None]:
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                settings = Settings.from_env(os.environ, needs)
                logs.configure_command(settings.project)
                command(Services(settings, short_waits=3), *args, **kwargs)
            except DocumentMissingError:
                raise click.ClickException(NO_SUCH_TENANT) from None
            except ExtensionError as error:
                raise click.ClickException(str(error)) from None

        return update_wrapper(run, command)

    return decorate


class Command(click.Command):
    """A command that does not repeat an argument too many: it may be a secret that belongs on standard input."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest:
            raise click.UsageError("There is an argument too many. Values are read from standard input.", ctx)
        return rest


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def existing(_ctx: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Return the name if a tenant can have it; for others there is nothing to look up."""
    if not is_tenant_name(name):
        raise click.ClickException(NO_SUCH_TENANT)
    return name
