"""`python -m deploy.targets`: list, render, check, send and push.

Standard output holds only the result; hints go to standard error. Secrets come from standard input, never from
arguments.
"""

import json
import sys
from pathlib import Path
from typing import Any

import click

from deploy.targets import catalogue
from deploy.targets.arguments import (
    Chosen,
    address_of,
    choose,
    event_from,
    known,
    read_event,
    read_text,
    secret_line,
    template_text,
    tenant_named,
)
from deploy.targets.pushing import carry_out, changes, handle_of, more_than_one, rows_of
from deploy.targets.sending import NotSentError, send
from deploy.targets.shapes import misfits
from deploy.targets.trying import NoJsonError, TemplateFailedError, rendered
from deploy.targets.warnings import warnings
from deploy.tenants.tables import show_rows
from shared.errors import ServiceError

Json = dict[str, Any]
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
    chosen = choose(platform, notification)
    event = event_from(chosen.notification, context, profile, tenant)
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
        known(lambda: catalogue.platform(platform))
    text = read_text(file)
    named = notification or file.name.partition(".")[0]
    if notification is not None:
        known(lambda: catalogue.notification(notification))
    tried: dict[str, Json] = {path.name: read_event(path) for path in contexts}
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
            _warn(text, event, choose(platform, named))
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
    chosen = choose(platform, notification)
    if dry_run and platform != catalogue.EXTENSION:
        raise click.ClickException("Only the extension knows a dry run: send to klaviyo.")
    ours = tenant_named(tenant) if tenant else None
    event = event_from(chosen.notification, context, profile, tenant)
    body = _body(chosen, event, template).encode()
    address = url or address_of(chosen, tenant)
    if dry_run:
        address += f"{'&' if '?' in address else '?'}dryRun=1"
    values = {name: secret_line(f"the header {name}") for name in headers}
    if not (context or profile or dry_run) and platform == catalogue.EXTENSION:
        click.echo(
            "The event is of the sample's person, jane@example.org; --profile sends one of your own.",
            err=True,
        )
    secret = ours[1].omneo_signing_secrets[0].value.get_secret_value() if ours else ""
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
    chosen = choose(platform, notification)
    services, tenant = tenant_named(name)
    address = url or address_of(chosen, name)
    text = template_text(chosen, template)
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
    if not chosen.notification.trigger:
        handle = handle_of(*chosen)
        click.echo(
            f"No reaction starts it. What does: {chosen.notification.schedule}. The target's handle is {handle}.",
            err=True,
        )


def _body(chosen: Chosen, event: Json, template: Path | None) -> str:
    text = template_text(chosen, template)
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


def _warn(text: str, event: Json, chosen: Chosen) -> None:
    for warned in warnings(text, event, *chosen):
        click.echo(f"Warning, {warned.about}: {warned.says}", err=True)
