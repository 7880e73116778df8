"""The commands, one function each: read the input, change the tenant, say what is so now.

Secrets come from standard input or a prompt, never from arguments, where other users of the machine could read them. They
are never shown, but for one that a command has just made, once. Standard output holds only what was asked for.
"""

import json
import os
import sys
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import SecretStr

from deploy.tenants.dead import dead
from deploy.tenants.description import connection, described
from deploy.tenants.doctor import doctor, readdress
from deploy.tenants.erase import erase
from deploy.tenants.explain import explain
from deploy.tenants.installation import heal, install_link, tell_left_behind, uninstall
from deploy.tenants.keys import SETTABLE, set_tokens, set_value
from deploy.tenants.notify import notify_secret
from deploy.tenants.resync import reconcile, resync
from deploy.tenants.running import Group, confirmed, existing, found, given, with_services
from deploy.tenants.secrets import SIGNING_SECRETS, WEBHOOK_SECRETS, end_secrets
from deploy.tenants.status import status
from deploy.tenants.tables import json_option, progress, show_json, show_rows
from deploy.tenants.traffic import audit, traffic
from shared.admin.reports import StatusReports
from shared.admin.settings import MASTER_LIST, begin_held_by_list, header_secret
from shared.audit import OPERATOR, Act, Audit
from shared.consent.inbox import Inbox
from shared.consent.ledger import KEPT as LEDGER_KEPT
from shared.consent.ledger import ConsentLedger, new_ledger_key
from shared.consent.memories import ConsentMemories
from shared.direction import Direction
from shared.errors import (
    ConfigurationError,
    DocumentExistsError,
    ExtensionError,
    QueueUnavailableError,
    UndecryptableError,
    WaitError,
)
from shared.installation.pending import PendingInstalls
from shared.jobs.dead_jobs import DeadJobStore
from shared.jobs.replays import Replays
from shared.jobs.rules.causes import Cause
from shared.jobs.rules.wanted import Wanted
from shared.profiles.synced import SyncedProfiles
from shared.profiles.waiting import Waiting
from shared.receipts import Receipts
from shared.records.outbox import Outbox
from shared.resync.runs import Resyncs
from shared.rewards.attempts import RewardAttempts
from shared.rewards.claims import RewardClaims
from shared.rewards.counts import RewardCounts
from shared.services import Services
from shared.settings import TASKS, Needs, Settings
from shared.storage.encryption import new_key
from shared.targets.unheard import UnheardCalls
from shared.tenants.erasures import Erasures
from shared.tenants.keys import hash_of, id_of, new_installation_key
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
@with_services(Needs.STORE, makes_store=True)
def create(services: Services, name: str) -> None:
    """Create tenant NAME.

    Reads {"omneo_token": ..., "omneo_signing_secret": ...} as JSON from standard input, or prompts on a terminal. Prints the
    installation key, once, alone on the last line.
    """
    if not is_tenant_name(name):
        raise click.ClickException("A tenant's name has 1 to 40 lowercase letters, digits and inner hyphens.")
    credentials = _credentials()
    now, key = services.clock(), new_installation_key()
    tenant = Tenant(
        name=name,
        created_at=now,
        installation_keys=(InstallationKey(hash=hash_of(key), created_at=now),),
        omneo_token=credentials["omneo_token"],
        omneo_signing_secrets=(StoredSecret(value=credentials["omneo_signing_secret"], created_at=now),),
        webhook_secrets=(new_webhook_secret(now),),
        settings=TenantSettings(task_queue_name=name),
        # The ledger that a deleted tenant of this name has left can be asked again.
        ledger_key=services.former_tenants.ledger_key(name) or new_ledger_key(),
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
    services.former_tenants.forget(name)
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
    click.echo(json.dumps(described(found(services, name)), indent=2))


@tenants.command(name="set", epilog=f"KEY is one of: {', '.join(SETTABLE)}.")
@click.argument("name", callback=existing)
@click.argument("key")
@with_services(Needs.STORE | Needs.KLAVIYO_APP)
def set_(services: Services, name: str, key: str) -> None:
    """Set KEY of tenant NAME to the value on standard input (or prompt on a terminal); null brings the default back."""
    if key not in SETTABLE:
        raise click.ClickException(f"That cannot be set. These can: {', '.join(SETTABLE)}.")
    if key == "klaviyo_tokens":
        _set_tokens(services, name)
        return
    value = given(key, is_secret=SETTABLE[key].is_secret)
    tenant = set_value(services, name, key, value)
    click.echo(f"{key} of {name} is set.")
    if key == "webhook_secret":
        _push(tenant)
    elif key == MASTER_LIST:
        _go_on(services, tenant)


@tenants.command()
@click.argument("name", callback=existing)
@click.option("--installation-key", "key", is_flag=True, help="A new installation key.")
@click.option("--webhook-secret", "webhook", is_flag=True, help="A new webhook secret.")
@click.option("--omneo-signing-secret", "signing", is_flag=True, help="Only with --finish or --end.")
@click.option("--finish", is_flag=True, help="End all but the newest instead of adding one.")
@click.option("--end", "ended", multiple=True, metavar="ID", help="End this one; `status` shows the ids.")
@click.option("--yes", is_flag=True, help="Do not ask before one ends that was used lately.")
@with_services(Needs.STORE)
def rotate(
    services: Services,
    name: str,
    *,
    key: bool,
    webhook: bool,
    signing: bool,
    finish: bool,
    ended: tuple[str, ...],
    yes: bool,
) -> None:
    """Add a new secret beside the old, which stays valid until --finish or --end ends it."""
    if key + webhook + signing != 1 or (finish and ended):
        raise click.UsageError(
            "Say which one: --installation-key or --webhook-secret or --omneo-signing-secret, and one of --finish and --end."
        )
    tenant = found(services, name)
    if key:
        if ended:
            raise click.UsageError("Installation keys have no ids: --finish ends all but the newest.")
        _rotate_key(services, tenant, finish=finish)
    elif finish or ended:
        end_secrets(services, tenant, WEBHOOK_SECRETS if webhook else SIGNING_SECRETS, ended, yes=yes)
    elif signing:
        raise click.UsageError(
            "Omneo makes this one: `set NAME omneo_signing_secret` adds it, --finish ends the old."
        )
    else:
        _rotate_webhook_secret(services, name)


def _rotate_key(services: Services, tenant: Tenant, *, finish: bool) -> None:
    if finish:
        services.tenants.change(tenant.name, _newest_key_only)
        if ended := [id_of(key.hash) for key in tenant.installation_keys[1:]]:
            about = f"installation-key {', '.join(ended)}"
            Audit.of(services).note(tenant.name, Act.SECRET_ENDED, by=OPERATOR, about=about)
        click.echo(f"Only the newest installation-key of {tenant.name} is valid now.")
        return
    key, now = new_installation_key(), services.clock()
    added = InstallationKey(hash=hash_of(key), created_at=now)
    services.tenants.change(tenant.name, lambda tenant: _with_key(tenant, added))
    Audit.of(services).note(tenant.name, Act.SECRET_ADDED, by=OPERATOR, about="installation-key")
    click.echo(
        "The new installation key, which is shown only now; the old one works until --finish:", err=True
    )
    click.echo(key)


def _rotate_webhook_secret(services: Services, name: str) -> None:
    secret = new_webhook_secret(services.clock()).value.get_secret_value()
    tenant = set_value(services, name, "webhook_secret", secret)
    _push(tenant)
    click.echo("The new webhook secret, which is shown only now; the old one works until --finish:", err=True)
    click.echo(secret)


@tenants.command()
@click.argument("name", callback=existing)
@click.option("--with-ledger", is_flag=True, help="Delete the consent ledger too, which is kept else.")
@click.option("--leave-install", is_flag=True, help="Do not uninstall first: nothing can do it afterwards.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_services(Needs.STORE | Needs.QUEUES | Needs.KLAVIYO_APP | Needs.PUBLIC_URL)
def delete(services: Services, name: str, *, with_ledger: bool, leave_install: bool, yes: bool) -> None:
    """Uninstall and delete tenant NAME: its queued jobs, dead jobs, consent events and records, settings and secrets.

    The consent ledger is kept, unless --with-ledger is given: creating the tenant again makes it readable again.
    """
    if with_ledger and services.tenants.find(name) is None and services.former_tenants.ledger_key(name):
        confirmed(f"Delete the consent ledger that {name} has left?", yes=yes)
        _forget_ledger(services, name)
        click.echo(f"The consent ledger of {name} is deleted.")
        return
    tenant = found(services, name)
    ledger = "its consent ledger" if with_ledger else "everything else it has stored, the consent ledger kept"
    confirmed(f"Uninstall and delete {name} ({connection(tenant)}) and {ledger}?", yes=yes)
    if not leave_install:
        tell_left_behind(_uninstalled(tenant, services))
    _forget(services, tenant)
    if with_ledger:
        _forget_ledger(services, name)
    elif tenant.ledger_key is not None:
        services.former_tenants.keep(name, tenant.ledger_key, services.clock() + LEDGER_KEPT)
    services.tenants.delete(name)
    Audit.of(services).note(name, Act.DELETED, by=OPERATOR)
    click.echo(f"Tenant {name} is deleted.")


def _uninstalled(tenant: Tenant, services: Services) -> Tenant:
    """Take the install away; of a tenant that was never installed there is nothing to take away."""
    from shared.installation.uninstall import uninstall

    if tenant.klaviyo is None and not tenant.left_behind and not tenant.former_accounts:
        return tenant
    try:
        return uninstall(tenant, services)
    except WaitError as error:
        raise click.ClickException(
            f"Nothing was deleted, because {error}. Try again; --leave-install deletes the tenant all the same."
        ) from None


def _forget(services: Services, tenant: Tenant) -> None:
    """Forget all that the tenant has stored but itself and its ledger."""
    name = tenant.name
    for direction in Direction:
        services.queue.purge(tenant, direction)
    DeadJobStore(services.documents, services.keys).delete_all(name)
    Replays(services.documents).forget(name)
    services.secret_uses.forget(name)
    Inbox.of(services).forget(name)
    Outbox.of(services).forget(name)
    ConsentMemories.of(services).forget(name)
    SyncedProfiles.of(services).forget(name)
    Waiting.of(services).forget(name)
    Resyncs.of(services).forget(name)
    StatusReports.of(services).forget(name)
    RewardClaims.of(services).forget(name)
    RewardAttempts.of(services).forget(name)
    RewardCounts.of(services).forget(name)
    UnheardCalls.of(services).forget(name)
    Erasures(services.documents, services.clock).forget(name)
    Traffic.of(services).forget(name)
    Receipts.of(services).forget(name)


def _forget_ledger(services: Services, name: str) -> None:
    ConsentLedger.of(services).forget(name)
    services.former_tenants.forget(name)


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

    former = services.former_tenants
    names = [*dict.fromkeys((*services.tenants.names(), *former.names())), UNKNOWN_TENANT]
    due, unreadable = 0, []
    desk, installs = DeadJobStore(services.documents, services.keys), PendingInstalls.of(services)
    stores = (services.tenants, former, desk, Outbox.of(services), installs)
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


def _go_on(services: Services, tenant: Tenant) -> None:
    """Let the dead jobs go on that a wrong master list has held."""
    held = Wanted(cause=Cause.MASTER_LIST.value)
    if not DeadJobStore(services.documents, services.keys).count_meant(tenant.name, held):
        return
    try:
        settings = Settings.from_env(os.environ, Needs.STORE | TASKS)
        begin_held_by_list(tenant, replace(services, settings=settings))
    except (ConfigurationError, QueueUnavailableError):
        click.echo(
            f"The jobs that it held do not go on yet: run `dead replay {tenant.name} --cause {Cause.MASTER_LIST.value}` where the"
            " queue can be reached.",
            err=True,
        )
    else:
        click.echo("The jobs that it held go on.", err=True)


def _set_tokens(services: Services, name: str) -> None:
    queues = Settings.from_env(os.environ, Needs.QUEUES)
    tenant, why = set_tokens(services, name, given("klaviyo_tokens", is_secret=True))
    Audit.of(services).note(name, Act.SETTINGS_CHANGED, by=OPERATOR, about="klaviyo_tokens")
    click.echo(f"klaviyo_tokens of {name} is set.")
    if why:
        click.echo(
            f"Which account it is could not be asked, because {why}. Until it is known, the grant is not revoked: run"
            f" `doctor {name} --repair`.",
            err=True,
        )
    _prepare_queues(tenant, queues)


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


def _credentials() -> dict[str, SecretStr]:
    names = ("omneo_token", "omneo_signing_secret")
    said: Any
    if sys.stdin.isatty():
        said = {name: given(name, is_secret=True) for name in names}
    else:
        try:
            said = json.load(sys.stdin)
        except (ValueError, RecursionError):
            said = None
    if not isinstance(said, dict) or not all(isinstance(said.get(name), str) for name in names):
        raise click.ClickException(
            'Give {"omneo_token": ..., "omneo_signing_secret": ...} as JSON on standard input.'
        )
    return {name: header_secret(name, said[name].strip()) for name in names}


def _with_key(tenant: Tenant, key: InstallationKey) -> Tenant:
    return tenant.model_copy(update={"installation_keys": (key, *tenant.installation_keys)})


def _newest_key_only(tenant: Tenant) -> Tenant:
    return tenant.model_copy(update={"installation_keys": tenant.installation_keys[:1]})


for command in (
    audit,
    dead,
    doctor,
    erase,
    explain,
    heal,
    install_link,
    notify_secret,
    readdress,
    reconcile,
    resync,
    status,
    traffic,
    uninstall,
):
    tenants.add_command(command)
