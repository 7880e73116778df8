"""The commands, one function each: it reads the input, changes the tenant, and prints the new state.

Secrets come from standard input or a prompt, never from arguments, which other users of the machine could read. They are never shown,
except a new one, once. Standard output holds only the result.
"""

import json
import sys
from datetime import UTC, datetime
from typing import Any

import click
from pydantic import SecretStr

from deploy.tenants.dead import dead
from deploy.tenants.deletion import delete
from deploy.tenants.description import connection, described
from deploy.tenants.doctor import doctor, readdress
from deploy.tenants.erase import erase
from deploy.tenants.explain import explain
from deploy.tenants.installation import heal, install_link, uninstall
from deploy.tenants.notify import notify_secret
from deploy.tenants.rehearse import rehearse
from deploy.tenants.resync import reconcile, resync
from deploy.tenants.running import Group, existing, found, given, with_services
from deploy.tenants.secrets import rotate
from deploy.tenants.setting import set_
from deploy.tenants.status import status
from deploy.tenants.tables import json_option, progress, show_json, show_rows
from deploy.tenants.traffic import audit, traffic
from shared.admin.edits import header_secret
from shared.audit import OPERATOR, Act, Audit
from shared.consent.ledger import new_ledger_key
from shared.errors import (
    DocumentExistsError,
    ExtensionError,
    UndecryptableError,
)
from shared.installation.pending import PendingInstalls
from shared.jobs.dead_jobs import DeadJobStore
from shared.metrics.backlog import Backlog
from shared.records.outbox import Outbox
from shared.services import Services
from shared.settings import Needs
from shared.storage.encryption import new_key
from shared.tenants.keys import hash_of, new_installation_key
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import (
    InstallationKey,
    StoredSecret,
    Tenant,
    is_tenant_name,
    new_webhook_secret,
)


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
        # The ledger of a deleted tenant of this name becomes readable again.
        ledger_key=services.former_tenants.ledger_key(name) or new_ledger_key(),
    )
    if other := services.tenants.sharing_queues(tenant):
        raise click.ClickException(f"Its queues would be those of tenant {other}: choose another name.")
    try:
        services.tenants.create(tenant)
    except DocumentExistsError:
        raise click.ClickException(
            "That tenant exists. `rotate --installation-key` makes a new key for it."
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
    """Show tenant NAME as JSON: its settings, and for each secret only that it is set, and since when."""
    click.echo(json.dumps(described(found(services, name)), indent=2))


@tenants.command(name="new-key")
def new_key_() -> None:
    """Print a new key for ENCRYPTION_KEYS, as id:key."""
    click.echo(f"k{datetime.now(UTC):%Y%m%d%H%M%S}:{new_key()}")


@tenants.command()
@click.option("--dry-run", is_flag=True, help="Count, change nothing.")
@with_services(Needs.STORE)
def reencrypt(services: Services, dry_run: bool) -> None:
    """Seal with the first of ENCRYPTION_KEYS every secret that an older key sealed.

    You can stop it at any time: the next run skips the finished secrets.
    """
    from shared.worker.unread import UNKNOWN_TENANT

    former = services.former_tenants
    names = [*dict.fromkeys((*services.tenants.names(), *former.names())), UNKNOWN_TENANT]
    due, unreadable = 0, []
    desk, installs = DeadJobStore.of(services), PendingInstalls.of(services)
    stores = (services.tenants, former, desk, Outbox.of(services), Backlog.of(services), installs)
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


for command in (
    audit,
    dead,
    delete,
    doctor,
    erase,
    explain,
    heal,
    install_link,
    notify_secret,
    readdress,
    reconcile,
    rehearse,
    resync,
    rotate,
    set_,
    status,
    traffic,
    uninstall,
):
    tenants.add_command(command)
