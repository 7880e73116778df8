"""How `rotate` ends secrets: by their ids, never one that Klaviyo may still sign with, and not unasked one that was used lately."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

import click

from deploy.tenants.running import confirmed
from shared.admin.settings import edited
from shared.audit import OPERATOR, Act, Audit
from shared.errors import ConflictError
from shared.services import Services
from shared.tenants.tenants import StoredSecret, Tenant

IN_USE = timedelta(days=7)  # a flow that runs once a week still counts


@dataclass(frozen=True)
class Kind:
    """A list of secrets: the tenant's field, and what an operator calls one of it."""

    field: str
    word: str


WEBHOOK_SECRETS = Kind("webhook_secrets", "webhook-secret")
SIGNING_SECRETS = Kind("omneo_signing_secrets", "omneo-signing-secret")


def end_secrets(services: Services, tenant: Tenant, kind: Kind, ids: tuple[str, ...], *, yes: bool) -> None:
    """End the secrets with these ids, or all but the newest if none is named.

    Raises:
        ClickException: an id is none of an older secret, or one was used lately and nobody can be asked.
        ConflictError: Klaviyo does not have the newest yet.
    """
    newest, *older = getattr(tenant, kind.field)
    if unknown := set(ids) - {secret.id for secret in older}:
        is_newest = "The newest stays." if newest.id in unknown else "`status` shows the ids."
        raise click.ClickException(f"There is no older {kind.word} with such an id. {is_newest}")
    ending = [secret for secret in older if not ids or secret.id in ids]
    now = services.clock()
    _after(tenant, kind, ending, services)  # what must not end is refused before anybody is asked
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


def _after(tenant: Tenant, kind: Kind, ending: Iterable[StoredSecret], services: Services) -> Tenant:
    """Return the tenant without these. What CX Manager may not end, an operator may not either."""
    ended = {secret.id for secret in ending}
    if kind is SIGNING_SECRETS:
        kept = tuple(secret for secret in tenant.omneo_signing_secrets if secret.id not in ended)
        return tenant.model_copy(update={"omneo_signing_secrets": kept})
    standing = [secret.id for secret in tenant.webhook_secrets[1:] if secret.id in ended]
    if tenant.webhook_secrets[0].id in ended:
        raise ConflictError("The webhook secrets were changed meanwhile.")
    return edited(tenant, {"end_webhook_secrets": standing}, services.clock()) if standing else tenant
