"""`python -m deploy.targets`: list, render, check, send and push.

Standard output holds only the result; hints go to standard error. Secrets come from standard input, never from
arguments.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from deploy.targets import catalogue
from deploy.targets.catalogue import Notification, NotInCatalogueError, Platform
from deploy.targets.pushing import carry_out, changes, handle_of, more_than_one, rows_of
from deploy.targets.sending import NotSentError, send
from deploy.targets.shapes import misfits
from deploy.targets.trying import NoJsonError, TemplateFailedError, rendered
from deploy.targets.warnings import warnings
from deploy.tenants.running import NO_SUCH_TENANT
from deploy.tenants.tables import show_rows
from shared import logs
from shared.errors import ExtensionError, ServiceError
from shared.services import Services
from shared.settings import Needs, Settings
from shared.tenants.tenants import Tenant

Json = dict[str, Any]
T = TypeVar("T")
_file = click.Path(exists=True, dir_okay=False, path_type=Path)
_context = click.option("--context", type=_file, help="An event context as JSON, in place of the sample.")
_profile = click.option("--profile", metavar="ID", help="The sample with this profile of the tenant's Omneo.")
_template = click.option("--template", type=_file, help="Your own copy of the template.")
_url = click.option("--url", help="Where to, if it is not the extension.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def targets() -> None:
    """See, try and ship what Omneo sends for each notification. Commands that name a tenant read the functions' environment."""


@targets.command(name="list")
def list_() -> None:
    """List the platforms, and the notifications with what starts them."""
    show_rows(
        ("Platform", "What it is"), [(name, catalogue.platform(name).title) for name in catalogue.platforms()]
    )
    rows = [catalogue.notification(name) for name in catalogue.notifications()]
    show_rows(
        ("Notification", "What it is", "Started by"),
        [(row.name, row.title, row.trigger or row.schedule) for row in rows],
    )


@targets.command()
@click.argument("platform")
@click.argument("notification")
@_context
@_profile
@click.option("--tenant", metavar="NAME", help="Whose profile it is.")
@_template
def render(
    *,
    platform: str,
    notification: str,
    context: Path | None,
    profile: str | None,
    tenant: str | None,
    template: Path | None,
) -> None:
    """Print the JSON that Omneo would send, alone. Warnings about it go to standard error."""
    chosen = _chosen(platform, notification)
    event = _event(chosen[1], context, profile, tenant)
    click.echo(_body(chosen, event, template), nl=False)


@targets.command()
@click.argument("file", type=_file)
@click.option(
    "--context", "contexts", type=_file, multiple=True, help="An event context as JSON; may be given again."
)
@click.option("--notification", metavar="NAME", help="Use the sample context of this notification.")
@click.option(
    "--platform", metavar="NAME", help="Check the body against this platform's documented request too."
)
def check(file: Path, contexts: tuple[Path, ...], notification: str | None, platform: str | None) -> None:
    """Check a template of your own: exit status 1 with the line and the reason if it fails.

    Without a context it is tried with the sample of the notification that the file is named after, else with an empty one. Where platform and
    notification are known, what is likely to go wrong is told on standard error; that changes no exit status.
    """
    if platform is not None:
        _known(lambda: catalogue.platform(platform))
    text = _text(file)
    named = notification or file.name.partition(".")[0]
    if notification is not None:
        _known(lambda: catalogue.notification(notification))
    tried: dict[str, Json] = {path.name: _read(path) for path in contexts}
    if not tried:
        is_known = named in catalogue.notifications()
        tried = (
            {f"the sample of {named}": catalogue.sample(named)}
            if is_known
            else {"an empty event context": {}}
        )
    for name, event in tried.items():
        _check_with(file, text, name, event, platform)
        if platform is not None and named in catalogue.notifications():
            _warn(text, event, _chosen(platform, named))
    click.echo(f"{file}: JSON, with {', '.join(tried)}.")


def _check_with(file: Path, text: str, name: str, event: Json, platform: str | None) -> None:
    try:
        body = json.loads(rendered(text, event))
    except TemplateFailedError as error:
        place = f"{file}:{error.place.line}:{error.place.column}"
        raise click.ClickException(
            f"{place}: {error.reason} (line {error.place.line}, with {name})"
        ) from None
    except NoJsonError as error:
        raise click.ClickException(f"{file}: {error} (with {name})") from None
    if platform is not None and (wrong := misfits(platform, body)):
        raise click.ClickException(f"{file}: {platform} does not take {'; '.join(wrong)} (with {name})")


@targets.command(name="send")
@click.argument("platform")
@click.argument("notification")
@_url
@click.option(
    "--tenant",
    metavar="NAME",
    help="Sign as this tenant's Omneo; for klaviyo the call goes to the extension.",
)
@click.option(
    "--header",
    "headers",
    multiple=True,
    metavar="NAME",
    help="A header; its value is a line of standard input.",
)
@_context
@_profile
@_template
@click.option("--dry-run", is_flag=True, help="Let the extension show what it would send, and send nothing.")
def send_(
    *,
    platform: str,
    notification: str,
    url: str | None,
    tenant: str | None,
    headers: tuple[str, ...],
    context: Path | None,
    profile: str | None,
    template: Path | None,
    dry_run: bool,
) -> None:
    """Post what Omneo would send, to the extension or to --url, and show the answer. Exit status 1 unless it is accepted."""
    chosen = _chosen(platform, notification)
    if dry_run and platform != catalogue.EXTENSION:
        raise click.ClickException("Only the extension knows a dry run: send to klaviyo.")
    known = _tenant(tenant) if tenant else None
    event = _event(chosen[1], context, profile, tenant)
    body = _body(chosen, event, template).encode()
    address = url or _address(chosen, tenant)
    if dry_run:
        address += f"{'&' if '?' in address else '?'}dryRun=1"
    values = {name: _line(f"the header {name}") for name in headers}
    if not (context or profile or dry_run) and platform == catalogue.EXTENSION:
        click.echo(
            "The event is of the sample's person, jane@example.org; --profile sends one of your own.",
            err=True,
        )
    secret = known[1].omneo_signing_secrets[0].value.get_secret_value() if known else ""
    try:
        answer = send(address, body, values, signing_secret=secret)
    except NotSentError as error:
        raise click.ClickException(str(error)) from None
    click.echo(f"Answer: {answer.status}", err=True)
    click.echo(answer.shown())
    if not answer.is_success:
        sys.exit(1)


@targets.command()
@click.argument("name")
@click.argument("platform")
@click.argument("notification")
@_url
@_template
@click.option("--dry-run", is_flag=True, help="Show the differences, and change nothing.")
def push(
    *, name: str, platform: str, notification: str, url: str | None, template: Path | None, dry_run: bool
) -> None:
    """Create or update target, condition and reaction in tenant NAME, and show what differs. Again and again safely."""
    chosen = _chosen(platform, notification)
    services, tenant = _tenant(name)
    address = url or _address(chosen, name)
    text = _template_text(chosen, template)
    for what, filled in (
        ("a copy of the template, and give it with --template", text),
        ("the address", address),
    ):
        if found := catalogue.to_fill_in(filled):
            raise click.ClickException(f"Fill in {found} in {what}.")
    try:
        omneo = rows_of(services, tenant)
        planned = changes(omneo, *chosen, url=address, template=text)
        for says in more_than_one(omneo, handle_of(*chosen)):
            click.echo(f"Warning: {says}", err=True)
        for change in planned:
            click.echo(
                change.diff()
                if change.is_needed
                else f"{change.kind[:-1]} {change.after['name']}: nothing differs"
            )
        if dry_run:
            click.echo("Nothing was changed.", err=True)
            return
        carry_out(omneo, planned)
        made = sum(change.before is None for change in planned)
        changed = sum(change.is_needed for change in planned) - made
        click.echo(f"Omneo has it: {made} made, {changed} changed.", err=True)
    except ServiceError as error:
        raise click.ClickException(str(error)) from None
    if not chosen[1].trigger:
        handle = handle_of(*chosen)
        click.echo(
            f"No reaction starts it. What does: {chosen[1].schedule}. The target's handle is {handle}.",
            err=True,
        )


# Arguments of the commands


def _chosen(platform: str, notification: str) -> tuple[Platform, Notification]:
    return _known(lambda: catalogue.platform(platform)), _known(lambda: catalogue.notification(notification))


def _known(find: Callable[[], T]) -> T:
    try:
        return find()
    except NotInCatalogueError as error:
        raise click.ClickException(str(error)) from None


def _event(notification: Notification, context: Path | None, profile: str | None, tenant: str | None) -> Json:
    if context is not None:
        if profile:
            raise click.UsageError("Give --context or --profile, not both.")
        return _read(context)
    event = catalogue.sample(notification.name)
    if not profile:
        return event
    if not tenant:
        raise click.UsageError("Name the profile's tenant with --tenant.")
    services, known = _tenant(tenant)
    try:
        found = services.omneo(known).profile_fields(profile)
    except ExtensionError as error:
        raise click.ClickException(str(error)) from None
    if found is None:
        raise click.ClickException("Omneo has no such profile.")
    return catalogue.with_profile(event, found, notification)


def _read(path: Path) -> Json:
    try:
        found = json.loads(_text(path))
    except ValueError as error:
        raise click.ClickException(f"{path} is no JSON: {error}") from None
    except RecursionError:
        raise click.ClickException(f"{path} is nested too deeply.") from None
    if not isinstance(found, dict):
        raise click.ClickException(f"{path} is no event context: it must be an object.")
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{path} is no text in UTF-8: see its byte {error.start + 1}.") from None
    except OSError as error:
        raise click.ClickException(f"{path} cannot be read: {error.strerror}.") from None


def _template_text(chosen: tuple[Platform, Notification], template: Path | None) -> str:
    if template is not None:
        return _text(template)
    return catalogue.template(chosen[0].name, chosen[1].name)


def _body(chosen: tuple[Platform, Notification], event: Json, template: Path | None) -> str:
    text = _template_text(chosen, template)
    try:
        body = rendered(text, event)
    except TemplateFailedError as error:
        raise click.ClickException(
            f"{error.reason} (line {error.place.line}, column {error.place.column})"
        ) from None
    except NoJsonError as error:
        raise click.ClickException(str(error)) from None
    _warn(text, event, chosen)
    return body


def _warn(text: str, event: Json, chosen: tuple[Platform, Notification]) -> None:
    for warned in warnings(text, event, *chosen):
        click.echo(f"Warning, {warned.about}: {warned.says}", err=True)


def _address(chosen: tuple[Platform, Notification], tenant: str | None) -> str:
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


def _line(what: str) -> str:
    if sys.stdin.isatty():
        return str(click.prompt(what.capitalize(), hide_input=True, err=True))
    line = sys.stdin.readline().rstrip("\r\n")
    if not line:
        raise click.ClickException(f"Give {what} as a line of standard input.")
    return line


def _tenant(name: str) -> tuple[Services, Tenant]:
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
