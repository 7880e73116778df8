"""What the arguments of a command mean: a platform and a notification, an event, a template, an address, a tenant."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from deploy.targets import catalogue
from deploy.targets.catalogue import Notification, NotInCatalogueError, Platform
from deploy.tenants.running import NO_SUCH_TENANT
from shared import logs
from shared.errors import ExtensionError
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.tenants import Tenant

Json = dict[str, Any]
T = TypeVar("T")


class Chosen(NamedTuple):
    """A row of the catalogue on one platform."""

    platform: Platform
    notification: Notification


def choose(platform: str, notification: str) -> Chosen:
    """Return the platform and the notification of these names."""
    return Chosen(
        known(lambda: catalogue.platform(platform)), known(lambda: catalogue.notification(notification))
    )


def known(find: Callable[[], T]) -> T:
    """Return what `find` finds in the catalogue."""
    try:
        return find()
    except NotInCatalogueError as error:
        raise click.ClickException(str(error)) from None


def event_from(
    notification: Notification, context: Path | None, profile: str | None, tenant: str | None
) -> Json:
    """Return the event context of the file, else the sample, with the profile of the tenant's Omneo if one is named."""
    if context is not None:
        if profile:
            raise click.UsageError("Give --context or --profile, not both.")
        return read_event(context)
    event = catalogue.sample(notification.name)
    if not profile:
        return event
    if not tenant:
        raise click.UsageError("Name the profile's tenant with --tenant.")
    services, ours = tenant_named(tenant)
    try:
        found = services.omneo(ours).profile_fields(profile)
    except ExtensionError as error:
        raise click.ClickException(str(error)) from None
    if found is None:
        raise click.ClickException("Omneo has no such profile.")
    return catalogue.with_profile(event, found, notification)


def read_event(path: Path) -> Json:
    """Return the event context in a file."""
    try:
        found = json.loads(read_text(path))
    except ValueError as error:
        raise click.ClickException(f"{path} is no JSON: {error}") from None
    except RecursionError:
        raise click.ClickException(f"{path} is nested too deeply.") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"{path} is no event context: it must be an object.")
    return found


def read_text(path: Path) -> str:
    """Return the text of a file."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path} is no text in UTF-8: see its byte {error.start + 1}.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}.") from None


def template_text(chosen: Chosen, template: Path | None) -> str:
    """Return the template of the file, else the one of the catalogue."""
    if template is not None:
        return read_text(template)
    return catalogue.template(chosen.platform.name, chosen.notification.name)


def address_of(chosen: Chosen, tenant: str | None) -> str:
    """Return the address of the call: of the extension's target for the tenant. Other platforms have none here."""
    platform, notification = chosen
    if platform.name != catalogue.EXTENSION:
        raise click.ClickException(f"Say where to with --url, as in {platform.url}")
    if not tenant:
        raise click.ClickException("Name the tenant with --tenant, or the address with --url.")
    base = os.environ.get("EXTENSION_URL", "").rstrip("/")
    if not base:
        raise click.ClickException("EXTENSION_URL is not set: it names the extension.")
    query = f"?{notification.query}" if notification.query else ""
    return f"{base}/{tenant}/api/v1/targets/klaviyo/metric{query}"


def secret_line(what: str) -> str:
    """Return the next secret, from the prompt or from a line of standard input."""
    if sys.stdin.isatty():
        return str(click.prompt(what.capitalize(), hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.ClickException(f"Give {what} as a line of standard input.")
    return line


def tenant_named(name: str) -> tuple[Services, Tenant]:
    """Return the services of the functions' environment, and the tenant."""
    try:
        settings = Settings.from_env(os.environ, Needs.STORE)
        logs.configure_command(settings.project)
        services = Services(settings, short_waits=3)
        tenant = services.tenants.find(name)
    except ExtensionError as error:
        raise click.ClickException(str(error)) from None
    if tenant is None:
        raise click.ClickException(NO_SUCH_TENANT.replace("`list`", "`python -m deploy.tenants list`"))
    return services, tenant
