"""Runs a command: it builds the services from the environment, and prints each of our errors as one readable line."""

import os
import sys
from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Concatenate, ParamSpec

import click

from shared import logs
from shared.errors import DocumentMissingError, ExtensionError
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.tenants import Tenant, is_tenant_name

P = ParamSpec("P")

NO_SUCH_TENANT = "There is no such tenant. `list` shows all tenants."


def with_services(
    needs: Needs, *, makes_store: bool = False
) -> Callable[[Callable[Concatenate[Services, P], None]], Callable[P, None]]:
    """Give a command its services, and turn our errors into one readable line and exit status 1.

    Only a command that `makes_store` may begin an empty store. For any other command, a missing store means a wrong environment.
    """

    def decorate(command: Callable[Concatenate[Services, P], None]) -> Callable[P, None]:
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            try:
                settings = Settings.from_env(os.environ, needs)
                logs.configure_command(settings.project)
                if not makes_store:
                    _check_store(settings)
                command(Services(settings, short_waits=3), *args, **kwargs)
            except DocumentMissingError:
                raise click.ClickException(NO_SUCH_TENANT) from None
            except ExtensionError as error:
                raise click.ClickException(str(error)) from None

        return update_wrapper(run, command)

    return decorate


class Command(click.Command):
    """A command whose error does not show an extra argument: it may be a secret that belongs on standard input."""

    allow_extra_args = True

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        rest = super().parse_args(ctx, args)
        if rest:
            raise click.UsageError("There is an argument too many. Values are read from standard input.", ctx)
        return rest


class Group(click.Group):
    """A group of such commands."""

    command_class = Command


def confirmed(question: str, *, yes: bool) -> None:
    """Ask before an act that cannot be undone. Without a terminal, only --yes allows it."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.ClickException("This cannot be undone. Give --yes to do it without being asked.")
    click.confirm(question, abort=True, err=True)


def found(services: Services, name: str) -> Tenant:
    """Return the present state of the tenant.

    Raises:
        DocumentMissingError: there is none of this name.
    """
    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError(NO_SUCH_TENANT)
    return tenant


def given(name: str, *, is_secret: bool = False) -> str:
    """Return the text from the prompt or from standard input. It is never empty.

    Raises:
        ClickException: standard input is empty, or is no text.
    """
    if sys.stdin.isatty():
        return str(click.prompt(name, hide_input=is_secret, err=True)).strip()
    try:
        text = sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise click.ClickException(f"{name}: standard input is not UTF-8 text.") from None
    if not text:
        raise click.ClickException(f"{name}: standard input is empty. Give the value there.")
    return text


def _check_store(settings: Settings) -> None:
    path = settings.store.sqlite_path if settings.store else ""
    if not path:
        return
    try:
        Path(path).stat()
    except FileNotFoundError:
        raise click.ClickException(
            f"There is no store at {path}. Is STORE right? `create` makes one with its first tenant."
        ) from None
    except OSError:
        return  # the store itself reports what is wrong with its file


def existing(_ctx: click.Context, _parameter: click.Parameter, name: str) -> str:
    """Return the name if it can be a tenant's name. No other name is looked up."""
    if not is_tenant_name(name):
        raise click.ClickException(NO_SUCH_TENANT)
    return name
