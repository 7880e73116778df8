"""Reads the settings, and changes either all settings that a call names, or none."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from shared.admin.edits import SECRET, beside, changed, edited, is_same, plain
from shared.admin.meaning import list_fault
from shared.audit import OPERATOR, Act, Audit
from shared.errors import ConflictError, DocumentMissingError, InvalidPayloadError
from shared.installation.provision import WEBHOOK, again, start_provision
from shared.jobs.replays import Replaying, ReplayRun
from shared.jobs.rules.causes import Cause
from shared.services import Services
from shared.tenants.settings import FIXED_ONCE_INSTALLED
from shared.tenants.tenants import StoredSecret, Tenant

MASTER_LIST = "master_list_id"
KNOWN_AFTER = 15.0  # seconds until every worker knows of a change


def read_settings(tenant: Tenant, services: Services) -> dict[str, Any]:
    """Return every setting. No secret is shown: only its id, its age and its last use are."""
    return {**plain(tenant.settings), **beside(tenant, services.secret_uses.last(tenant.name))}


def change_settings(name: str, changes: object, services: Services, *, by: str = OPERATOR) -> Tenant:
    """Store the changes as `store_settings` does, queue the jobs that follow from them, and return the tenant.

    A job pushes a new webhook secret to Klaviyo. The secret before stays valid until a caller ends it by its id.

    Raises:
        InvalidPayloadError, ConflictError: name the field and the fix; nothing was changed.
        QueueUnavailableError: all is stored, and a repeat of the call queues the jobs.
    """
    tenant = store_settings(name, changes, services, by=by)
    named = changes if isinstance(changes, dict) else {}
    if SECRET in named and tenant.is_connected:
        start_provision(tenant, services)
    if MASTER_LIST in named:
        begin_held_by_list(tenant, services)
    return tenant


def store_settings(name: str, changes: object, services: Services, *, by: str) -> Tenant:
    """Store the changes, note the credential in the audit, and return the tenant. A setting that the changes do not name stays as it is.

    Nothing is queued, because the caller may have no queue.

    Raises:
        InvalidPayloadError, ConflictError: name the field and the fix; nothing was changed.
    """
    if not isinstance(changes, dict):
        raise InvalidPayloadError("Send a JSON object of settings.")
    now = services.clock()
    stored = services.tenants.find(name)
    _check_list(stored, changes, services, now)
    _check_address(stored, changes, services)
    before: Tenant | None = None

    def edit(tenant: Tenant) -> Tenant:
        nonlocal before
        before = tenant
        after = edited(tenant, changes, now)
        named_anew = changed(tenant, changes).keys() & FIXED_ONCE_INSTALLED
        if named_anew and services.tenants.sharing_queues(after):
            # The message does not name the other tenant: a tenant must learn nothing of another.
            raise InvalidPayloadError("task_queue_name: another tenant's queues have these names.")
        return again(after, WEBHOOK) if SECRET in changes else after

    try:
        after = services.tenants.change(name, edit)
    except DocumentMissingError:
        raise ConflictError("The tenant has just been deleted.") from None
    if before is not None:
        _note_settings(before, after, services, by)
        note_secrets(SECRET, name, before.webhook_secrets, after.webhook_secrets, services, by=by)
    return after


def begin_held_by_list(tenant: Tenant, services: Services) -> ReplayRun | None:
    """Replay the dead jobs that a wrong master list has held; return the run, None if there are none."""
    return Replaying.of(services).begin_held(tenant, Cause.MASTER_LIST, after=KNOWN_AFTER)


def _note_settings(before: Tenant, after: Tenant, services: Services, by: str) -> None:
    """Note in the audit the names of the changed settings."""
    earlier, later = plain(before.settings), plain(after.settings)
    if names := sorted(name for name in later if not is_same(later[name], earlier[name])):
        Audit.of(services).note(after.name, Act.SETTINGS_CHANGED, by=by, about=", ".join(names))


def note_secrets(
    key: str,
    tenant: str,
    before: Sequence[StoredSecret],
    after: Sequence[StoredSecret],
    services: Services,
    *,
    by: str,
) -> None:
    """Note in the audit that there is a new secret, and the ids of the secrets that have ended."""
    earlier, later = [secret.value for secret in before], [secret.value for secret in after]
    audit = Audit.of(services)
    if later[:1] != earlier[:1]:
        audit.note(tenant, Act.SECRET_ADDED, by=by, about=key)
    if ended := [secret.id for secret in before if secret.value not in later]:
        audit.note(tenant, Act.SECRET_ENDED, by=by, about=f"{key} {', '.join(ended)}")


def _check_list(tenant: Tenant | None, changes: Mapping[str, Any], services: Services, now: datetime) -> None:
    """Refuse a master list that the connected account does not have: every opt-in would become a dead job."""
    if tenant is None or not changed(tenant, changes).get(MASTER_LIST):
        return
    if fault := list_fault(tenant, services, edited(tenant, changes, now).settings.master_list_id):
        raise InvalidPayloadError(f"master_list_id: {fault}.")


def _check_address(tenant: Tenant | None, changes: Mapping[str, Any], services: Services) -> None:
    """Refuse a new address that must not be called. Each call checks the address again, because a name may lead elsewhere later."""
    from shared.http.outward import AddressRefusedError, Outward

    url = None if tenant is None else changed(tenant, changes).get("notify_url")
    if not isinstance(url, str):
        return
    try:
        services.kept(Outward, Outward).check(url)
    except AddressRefusedError as error:
        raise InvalidPayloadError(f"notify_url: {error}.") from None
