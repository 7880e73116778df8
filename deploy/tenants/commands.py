"""The commands, one function each: read the input, change the tenant, say what is so now.

Secrets come from standard input or a prompt, never from arguments, where other users of the machine could read them. They
are never shown, but for one that a command has just made, once. Standard output holds only what was asked for.
"""

import json
import os
import sys
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import SecretStr

from deploy.tenants.description import connection, described
from deploy.tenants.doctor import doctor
from deploy.tenants.explain import explain
from deploy.tenants.keys import SETTABLE, set_value
from deploy.tenants.resync import reconcile, resync
from deploy.tenants.running import NO_SUCH_TENANT, Group, existing, with_services
from deploy.tenants.tables import json_option, progress, show_json, show_rows
from deploy.tenants.traffic import audit, traffic
from shared.admin.reports import StatusReports
from shared.admin.settings import header_secret
from shared.audit import OPERATOR, Act, Audit
from shared.consent.inbox import Inbox
from shared.consent.ledger import ConsentLedger, new_ledger_key
from shared.consent.memories import ConsentMemories
from shared.direction import Direction
from shared.errors import (
    ConfigurationError,
    DocumentExistsError,
    DocumentMissingError,
    ExtensionError,
    InvalidPayloadError,
    QueueUnavailableError,
    UndecryptableError,
)
from shared.installation.provision import WEBHOOK, again
from shared.jobs.dead_jobs import DeadJobStore
from shared.profiles.synced import SyncedProfiles
from shared.profiles.waiting import Waiting
from shared.receipts import Receipts
from shared.records.outbox import Outbox
from shared.resync.runs import Resyncs
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import RewardClaims
from shared.rewards.counts import RewardCounts
from shared.services import Services
from shared.settings import Needs, Settings
from shared.storage.encryption import new_key
from shared.targets.unheard import UnheardCalls
from shared.tenants.keys import hash_of, new_installation_key
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import (
    InstallationKey,
    StoredSecret,
    Tenant,
    is_tenant_name,
    new_webhook_secret,
)
from shared.traffic.traffic import Traffic


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"]})
def tenants() -> None:
    """Create, show and change tenants. Reads the same environment as the functions."""


@tenants.command()
@click.argument("name")
@with_services(Needs.STORE)
def create(services: Services, name: str) -> None:
    """Create tenant NAME.

    Reads {"omneo_token": ..., "omneo_signing_secret": ...} as JSON from standard input, or prompts on a terminal. Prints the
    installation key, once, alone on the last line.
    """
    if not is_tenant_name(name):
        raise click.ClickException("A tenant's name has 1 to 40 lowercase letters, digits and inner hyphens.")
    given = _credentials()
    now, key = services.clock(), new_installation_key()
    tenant = Tenant(
        name=name,
        created_at=now,
        installation_keys=(InstallationKey(hash=hash_of(key), created_at=now),),
        omneo_token=given["omneo_token"],
        omneo_signing_secrets=(StoredSecret(value=given["omneo_signing_secret"], created_at=now),),
        webhook_secrets=(new_webhook_secret(now),),
        settings=TenantSettings(task_queue_name=name),
        ledger_key=new_ledger_key(),
    )
    if other := services.tenants.sharing_queues(tenant):
        raise click.ClickException(f"Its queues would be those of tenant {other}: choose another name.")
    try:
        services.tenants.create(tenant)
    except DocumentExistsError:
        raise click.ClickException(
            "That tenant exists. `rotate --installation-key` makes it a new key."
        ) from None
    Audit.of(services).note(name, Act.CREATED, by=OPERATOR)
    click.echo(f"Tenant {name} is created. Its installation key, which is shown only now:", err=True)
    click.echo(key)


@tenants.command(name="list")
@json_option
@with_services(Needs.STORE)
def list_(services: Services, as_json: bool) -> None:
    """List every tenant with the state of its Klaviyo connection."""
    rows: list[tuple[str, str]] = []
    for name in services.tenants.names():
        try:
            tenant = services.tenants.find(name)
        except UndecryptableError as error:
            rows.append((name, f"unreadable: {error}"))
            continue
        if tenant is not None:
            rows.append((name, connection(tenant)))
    if as_json:
        show_json([{"tenant": name, "klaviyo": state} for name, state in rows])
    else:
        show_rows(("Tenant", "Klaviyo"), rows)


@tenants.command()
@click.argument("name", callback=existing)
@with_services(Needs.STORE)
def show(services: Services, name: str) -> None:
    """Show tenant NAME as JSON: settings, and of secrets only that they are set, and since when."""
    click.echo(json.dumps(described(_find(services, name)), indent=2))


@tenants.command(name="set")
@click.argument("name", callback=existing)
@click.argument("key")
@with_services(Needs.STORE)
def set_(services: Services, name: str, key: str) -> None:
    """Set KEY of tenant NAME to the value on standard input (or prompt on a terminal)."""
    if key not in SETTABLE:
        raise click.ClickException(f"That cannot be set. These can: {', '.join(SETTABLE)}.")
    queues = Settings.from_env(os.environ, Needs.QUEUES) if key == "klaviyo_tokens" else None
    tenant = set_value(services.tenants, name, key, _value(key), services.clock())
    Audit.of(services).note(name, Act.SETTINGS_CHANGED, by=OPERATOR, about=key)
    click.echo(f"{key} of {name} is set.")
    if queues is not None:
        _prepare_queues(tenant, queues)
    if key == "webhook_secret":
        _push(tenant)


@tenants.command()
@click.argument("name", callback=existing)
@click.option("--installation-key", "what", flag_value="installation-key", help="A new installation key.")
@click.option("--webhook-secret", "what", flag_value="webhook-secret", help="A new webhook secret.")
@click.option("--omneo-signing-secret", "what", flag_value="omneo-signing-secret", help="Only with --finish.")
@click.option("--finish", is_flag=True, help="End all but the newest instead of adding one.")
@with_services(Needs.STORE)
def rotate(services: Services, name: str, what: str | None, finish: bool) -> None:
    """Add a new secret beside the old, which stays valid until --finish ends it."""
    if what is None:
        raise click.UsageError("Say which: --installation-key or --webhook-secret.")
    if finish:
        services.tenants.change(name, lambda tenant: _newest_only(tenant, what))
        Audit.of(services).note(name, Act.SECRET_ENDED, by=OPERATOR, about=f"{what}, all but the newest")
        click.echo(f"Only the newest {what} of {name} is valid now.")
    elif what == "omneo-signing-secret":
        raise click.UsageError(
            "Omneo makes this one: `set NAME omneo_signing_secret` adds it, --finish ends the old."
        )
    elif what == "installation-key":
        key, now = new_installation_key(), services.clock()
        added = InstallationKey(hash=hash_of(key), created_at=now)
        services.tenants.change(name, lambda tenant: _with_key(tenant, added))
        Audit.of(services).note(name, Act.SECRET_ADDED, by=OPERATOR, about=what)
        click.echo(
            "The new installation key, which is shown only now; the old one works until --finish:", err=True
        )
        click.echo(key)
    else:
        secret = new_webhook_secret(services.clock())
        tenant = services.tenants.change(name, lambda tenant: _with_webhook_secret(tenant, secret))
        Audit.of(services).note(name, Act.SECRET_ADDED, by=OPERATOR, about=what)
        _push(tenant)
        click.echo(
            "The new webhook secret, which is shown only now; the old one works until --finish:", err=True
        )
        click.echo(secret.value.get_secret_value())


@tenants.command()
@click.argument("name", callback=existing)
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_services(Needs.STORE | Needs.QUEUES)
def delete(services: Services, name: str, yes: bool) -> None:
    """Delete tenant NAME: its queued jobs, dead jobs, consent events and records, settings and secrets."""
    tenant = _find(services, name)
    if not yes and sys.stdin.isatty():
        question = f"Delete {name} ({connection(tenant)}) and everything it has stored?"
        click.confirm(question, abort=True, err=True)
    for direction in Direction:
        services.queue.purge(tenant, direction)
    DeadJobStore(services.documents, services.keys).delete_all(name)
    services.secret_uses.forget(name)
    Inbox.of(services).forget(name)
    Outbox.of(services).forget(name)
    ConsentMemories.of(services).forget(name)
    SyncedProfiles.of(services).forget(name)
    Waiting.of(services).forget(name)
    Resyncs.of(services).forget(name)
    ConsentLedger.of(services).forget(name)
    StatusReports.of(services).forget(name)
    RewardClaims.of(services).forget(name)
    RewardAttempts.of(services).forget(name)
    RewardCounts.of(services).forget(name)
    UnheardCalls.of(services).forget(name)
    Traffic.of(services).forget(name)
    Receipts.of(services).forget(name)
    services.tenants.delete(name)
    Audit.of(services).note(name, Act.DELETED, by=OPERATOR)
    click.echo(f"Tenant {name} is deleted.")


@tenants.command(name="new-key")
def new_key_() -> None:
    """Print a new key for ENCRYPTION_KEYS, as id:key."""
    click.echo(f"k{datetime.now(UTC):%Y%m%d%H%M%S}:{new_key()}")


@tenants.command()
@click.option("--dry-run", is_flag=True, help="Count, change nothing.")
@with_services(Needs.STORE)
def reencrypt(services: Services, dry_run: bool) -> None:
    """Write every secret that an older key sealed again with the first of ENCRYPTION_KEYS.

    Stopping it is harmless: what is done is skipped the next time.
    """
    from shared.worker.delivery import UNKNOWN_TENANT

    names = [*services.tenants.names(), UNKNOWN_TENANT]
    due, unreadable = 0, []
    stores = (services.tenants, DeadJobStore(services.documents, services.keys), Outbox.of(services))
    with progress() as bar:
        task = bar.add_task("Tenants", total=len(names), beside="")
        for name in names:
            for store in stores:
                try:
                    due += store.reencrypt(name, dry_run=dry_run)
                except ExtensionError:
                    unreadable.append(name)
            bar.update(task, advance=1, beside=f"{due:,} secrets", refresh=True)
    if unreadable:
        names = sorted(set(unreadable))
        raise click.ClickException(f"These tenants could not be read or written: {', '.join(names)}.")
    if dry_run:
        click.echo(f"{due} secrets are sealed by an older key.")
    else:
        click.echo(f"{due} secrets were sealed again. None is left that needs an older key.")


def _push(tenant: Tenant) -> None:
    """Let a job give Klaviyo the newest webhook secret; the one before stays valid meanwhile."""
    from shared.installation.provision import start_provision

    if not tenant.is_connected:
        return
    try:
        start_provision(tenant, Services(Settings.from_env(os.environ, Needs.OUTBOUND)))
    except (ConfigurationError, QueueUnavailableError):
        click.echo(
            "Klaviyo does not have it yet: run `doctor --repair` where the queue can be reached.", err=True
        )
    else:
        click.echo("A job gives it to Klaviyo.", err=True)


def _prepare_queues(tenant: Tenant, settings: Settings) -> None:
    """Make the tenant's queues. On one machine the bundle makes them too, when it starts."""
    from shared.installation.steps import prepare_queues

    try:
        prepare_queues(tenant, Services(settings).queue)
    except QueueUnavailableError as error:
        if settings.queue is None or not settings.queue.emulator:
            raise click.ClickException(f"{error} The tokens are stored; set them again to retry.") from None
        click.echo(
            "The local queue is not running; it gets the tenant's queues when the bundle starts.", err=True
        )
    else:
        click.echo(f"The queues of {tenant.name} are ready.")


def _find(services: Services, name: str) -> Tenant:
    tenant = services.tenants.find(name)
    if tenant is None:
        raise DocumentMissingError(NO_SUCH_TENANT)
    return tenant


def _credentials() -> dict[str, SecretStr]:
    names = ("omneo_token", "omneo_signing_secret")
    given: Any
    if sys.stdin.isatty():
        given = {name: _prompted(name, is_secret=True) for name in names}
    else:
        try:
            given = json.load(sys.stdin)
        except (ValueError, RecursionError):
            given = None
    if not isinstance(given, dict) or not all(isinstance(given.get(name), str) for name in names):
        raise click.ClickException(
            'Give {"omneo_token": ..., "omneo_signing_secret": ...} as JSON on standard input.'
        )
    return {name: header_secret(name, given[name].strip()) for name in names}


def _value(key: str) -> str:
    if sys.stdin.isatty():
        return _prompted(key, is_secret=SETTABLE[key].is_secret)
    try:
        return sys.stdin.read().strip()
    except UnicodeDecodeError:
        raise InvalidPayloadError(f"{key}: standard input is not UTF-8 text.") from None


def _prompted(name: str, *, is_secret: bool) -> str:
    return str(click.prompt(name, hide_input=is_secret, err=True)).strip()


def _with_key(tenant: Tenant, key: InstallationKey) -> Tenant:
    return tenant.model_copy(update={"installation_keys": (key, *tenant.installation_keys)})


def _with_webhook_secret(tenant: Tenant, secret: StoredSecret) -> Tenant:
    added = tenant.model_copy(update={"webhook_secrets": (secret, *tenant.webhook_secrets)})
    return again(added, WEBHOOK)


def _newest_only(tenant: Tenant, what: str) -> Tenant:
    field = {
        "installation-key": "installation_keys",
        "webhook-secret": "webhook_secrets",
        "omneo-signing-secret": "omneo_signing_secrets",
    }[what]
    return tenant.model_copy(update={field: getattr(tenant, field)[:1]})


tenants.add_command(doctor)
tenants.add_command(explain)
tenants.add_command(resync)
tenants.add_command(reconcile)
tenants.add_command(traffic)
tenants.add_command(audit)
