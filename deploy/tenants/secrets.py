"""`rotate NAME`: a new secret beside the old one. Secrets end by their ids. A secret that Klaviyo may still sign with never ends, and a
secret that was used lately ends only after a question.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import click

from deploy.tenants.keys import set_value
from deploy.tenants.running import Command, confirmed, existing, found, with_services
from deploy.tenants.setting import push
from shared.admin.edits import edited
from shared.audit import OPERATOR, Act, Audit
from shared.errors import ConflictError
from shared.services import Services
from shared.settings import Needs
from shared.tenants.keys import hash_of, new_installation_key
from shared.tenants.tenants import InstallationKey, StoredSecret, Tenant, new_webhook_secret

IN_USE = timedelta(days=7)  # a Flow that runs once a week still uses it


@dataclass(frozen=True)
class Kind:
    """A list of secrets: the tenant's field, and the operator's word for one of them."""

    field: str
    word: str


WEBHOOK_SECRETS = Kind("webhook_secrets", "webhook-secret")
SIGNING_SECRETS = Kind("omneo_signing_secrets", "omneo-signing-secret")
INSTALLATION_KEYS = Kind("installation_keys", "installation-key")


@click.command(cls=Command)
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
    if finish or ended:
        kind = INSTALLATION_KEYS if key else WEBHOOK_SECRETS if webhook else SIGNING_SECRETS
        end_secrets(services, tenant, kind, ended, yes=yes)
    elif key:
        _add_key(services, tenant)
    elif signing:
        raise click.UsageError(
            "Omneo makes this one: `set NAME omneo_signing_secret` adds it, --finish ends the old."
        )
    else:
        _rotate_webhook_secret(services, name)


def _add_key(services: Services, tenant: Tenant) -> None:
    key, now = new_installation_key(), services.clock()
    added = InstallationKey(hash=hash_of(key), created_at=now)
    services.tenants.change(tenant.name, lambda tenant: _with_key(tenant, added))
    about = f"installation-key {added.id}"
    Audit.of(services).note(tenant.name, Act.SECRET_ADDED, by=OPERATOR, about=about)
    click.echo(
        "The new installation key, which is shown only now; the old one works until --finish:", err=True
    )
    click.echo(key)


def _rotate_webhook_secret(services: Services, name: str) -> None:
    secret = new_webhook_secret(services.clock()).value.get_secret_value()
    tenant = set_value(services, name, "webhook_secret", secret)
    push(tenant)
    click.echo("The new webhook secret, which is shown only now; the old one works until --finish:", err=True)
    click.echo(secret)


def end_secrets(services: Services, tenant: Tenant, kind: Kind, ids: tuple[str, ...], *, yes: bool) -> None:
    """End the secrets with these ids, or all but the newest if none is named.

    Raises:
        ClickException: no older secret has the id, or a secret was used lately and there is no terminal for the question.
        ConflictError: Klaviyo does not have the newest yet.
    """
    newest, *older = getattr(tenant, kind.field)
    if unknown := set(ids) - {secret.id for secret in older}:
        is_newest = "The newest stays." if newest.id in unknown else "`status` shows the ids."
        raise click.ClickException(f"There is no older {kind.word} with such an id. {is_newest}")
    ending = [secret for secret in older if not ids or secret.id in ids]
    now = services.clock()
    _after(tenant, kind, ending, services)  # a secret that must not end is refused before the question
    used = services.secret_uses.last(tenant.name)
    lately = [secret for secret in ending if secret.id in used and now - used[secret.id] < IN_USE]
    for secret in ending:
        last = f"last used {used[secret.id]:%Y-%m-%d %H:%M} UTC" if secret.id in used else "never used"
        click.echo(f"{kind.word} {secret.id}: {last}.", err=True)
    if lately:
        confirmed(f"{len(lately)} of them were used in the last {IN_USE.days} days. End them?", yes=yes)
    services.tenants.change(tenant.name, lambda tenant: _after(tenant, kind, ending, services))
    if ending:
        about = f"{kind.word} {', '.join(secret.id for secret in ending)}"
        Audit.of(services).note(tenant.name, Act.SECRET_ENDED, by=OPERATOR, about=about)
    if ids:
        click.echo(f"{len(ending)} {kind.word} of {tenant.name} ended.")
    else:
        click.echo(f"Only the newest {kind.word} of {tenant.name} is valid now.")


def _after(
    tenant: Tenant, kind: Kind, ending: Iterable[StoredSecret | InstallationKey], services: Services
) -> Tenant:
    """Return the tenant without these secrets. An operator may end only the secrets that CX Manager may end."""
    ended = {secret.id for secret in ending}
    if kind is not WEBHOOK_SECRETS:
        kept = tuple(secret for secret in getattr(tenant, kind.field) if secret.id not in ended)
        if not kept:
            raise ConflictError(f"The {kind.word}s were changed meanwhile.")
        return tenant.model_copy(update={kind.field: kept})
    standing = [secret.id for secret in tenant.webhook_secrets[1:] if secret.id in ended]
    if tenant.webhook_secrets[0].id in ended:
        raise ConflictError("The webhook secrets were changed meanwhile.")
    return edited(tenant, {"end_webhook_secrets": standing}, services.clock()) if standing else tenant


def _with_key(tenant: Tenant, key: InstallationKey) -> Tenant:
    return tenant.model_copy(update={"installation_keys": (key, *tenant.installation_keys)})
