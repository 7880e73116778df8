"""Reads the settings, and changes either all settings that a call names, or none."""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import SecretStr, ValidationError

from shared.admin.meaning import faults, form_fault, list_fault
from shared.audit import OPERATOR, Act, Audit
from shared.errors import ConflictError, DocumentMissingError, InvalidPayloadError
from shared.installation.provision import WEBHOOK, again, start_provision
from shared.jobs.replays import Replaying, ReplayRun
from shared.jobs.rules.causes import Cause
from shared.services import Services
from shared.tenants.settings import FIXED_ONCE_INSTALLED, LONGEST_SECRET, TenantSettings
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, ProvisionStep, StepState, StoredSecret, Tenant

# The names that `PUT settings` takes besides the settings.
_SECRET, _ENDED = "webhook_secret", "end_webhook_secrets"
MASTER_LIST = "master_list_id"
KNOWN_AFTER = 15.0  # seconds until every worker knows of a change
MOST_SECRETS = 10  # each call is compared with all of them


def read_settings(tenant: Tenant, services: Services) -> dict[str, Any]:
    """Return every setting. No secret is shown: only its id, its age and its last use are."""
    return {**_plain(tenant.settings), **_beside(tenant, services.secret_uses.last(tenant.name))}


def change_settings(name: str, changes: object, services: Services, *, by: str = OPERATOR) -> Tenant:
    """Store the changes as `store_settings` does, queue the jobs that follow from them, and return the tenant.

    A job pushes a new webhook secret to Klaviyo. The secret before stays valid until a caller ends it by its id.

    Raises:
        InvalidPayloadError, ConflictError: name the field and the fix; nothing was changed.
        QueueUnavailableError: all is stored, and a repeat of the call queues the jobs.
    """
    tenant = store_settings(name, changes, services, by=by)
    named = changes if isinstance(changes, dict) else {}
    if _SECRET in named and tenant.is_connected:
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
        named_anew = _changed(tenant, changes).keys() & FIXED_ONCE_INSTALLED
        if named_anew and services.tenants.sharing_queues(after):
            # The message does not name the other tenant: a tenant must learn nothing of another.
            raise InvalidPayloadError("task_queue_name: another tenant's queues have these names.")
        return again(after, WEBHOOK) if _SECRET in changes else after

    try:
        after = services.tenants.change(name, edit)
    except DocumentMissingError:
        raise ConflictError("The tenant has just been deleted.") from None
    if before is not None:
        _note_settings(before, after, services, by)
        note_secrets(_SECRET, name, before.webhook_secrets, after.webhook_secrets, services, by=by)
    return after


def begin_held_by_list(tenant: Tenant, services: Services) -> ReplayRun | None:
    """Replay the dead jobs that a wrong master list has held; return the run, None if there are none."""
    return Replaying.of(services).begin_held(tenant, Cause.MASTER_LIST, after=KNOWN_AFTER)


def _note_settings(before: Tenant, after: Tenant, services: Services, by: str) -> None:
    """Note in the audit the names of the changed settings."""
    earlier, later = _plain(before.settings), _plain(after.settings)
    if names := sorted(name for name in later if not _is_same(later[name], earlier[name])):
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


def edited(tenant: Tenant, changes: Mapping[str, Any], now: datetime) -> Tenant:
    """Return the tenant with the changes. A caller may send a value back as it was read; that changes nothing. Pure.

    Raises:
        InvalidPayloadError, ConflictError: as `change_settings`.
    """
    _check_beside(tenant, changes)
    plain = _changed(tenant, changes)
    if unknown := sorted(plain.keys() - TenantSettings.model_fields.keys()):
        raise InvalidPayloadError(f"There is no setting {', '.join(unknown)[:100]}.")
    settings = _validated(tenant, plain)
    if plain.get("notify_url") and not tenant.notify_secrets:
        raise ConflictError(
            "notify_url: make a secret first, by POST notify-secret, or deploy.tenants notify-secret."
        )
    for key, fault in faults(settings).items():
        if key in plain:  # a value that was stored before this check existed is shown by the doctor
            raise InvalidPayloadError(f"{key}: {fault}.")
    secrets = tenant.webhook_secrets
    if _ENDED in changes:
        secrets = _without(secrets, changes[_ENDED])
        _check_klaviyo_has_the_newest(tenant)
    if _SECRET in changes:
        secrets = newest_first(webhook_secret(changes[_SECRET], now), secrets)
        if len(secrets) > max(MOST_SECRETS, len(tenant.webhook_secrets)):
            raise ConflictError(
                f"webhook_secret: {MOST_SECRETS} are valid already; end some with {_ENDED} first."
            )
    return tenant.model_copy(update={"settings": settings, "webhook_secrets": secrets})


def _plain(settings: TenantSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", include=set(TenantSettings.model_fields))


def _beside(tenant: Tenant, used: Mapping[str, datetime]) -> dict[str, Any]:
    """Return the values that are shown beside the settings and cannot be changed here."""
    return {
        "webhook_secrets": [_shown(secret, used) for secret in tenant.webhook_secrets],
        "omneo_signing_secrets": [_shown(secret, used) for secret in tenant.omneo_signing_secrets],
        "omneo_token": "set",
        "account": _account(tenant),
    }


def _changed(tenant: Tenant, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that differ from the present settings. Only these are checked."""
    now = _plain(tenant.settings)
    apart = {_SECRET, _ENDED, *_beside(tenant, {})}
    return {
        key: value
        for key, value in changes.items()
        if key not in apart and not (key in now and _is_same(value, now[key]))
    }


def _is_same(one: object, other: object) -> bool:
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # to Python, 1 is also true


def _check_beside(tenant: Tenant, changes: Mapping[str, Any]) -> None:
    """Refuse a changed value that is only shown here: to ignore it would leave out what the caller asks for."""
    for key, now in _beside(tenant, {}).items():
        if key in changes and not _is_same(_without_uses(changes[key]), _without_uses(now)):
            raise InvalidPayloadError(
                f"{key} is only shown here, and cannot be changed. Leave it out, or read the settings again."
            )


def _without_uses(shown: object) -> object:
    """Return the shown secrets without their last uses, which may change between a read and a write."""
    if not isinstance(shown, list):
        return shown
    return [
        {name: value for name, value in one.items() if name != "last_used_at"}
        if isinstance(one, dict)
        else one
        for one in shown
    ]


def _check_list(tenant: Tenant | None, changes: Mapping[str, Any], services: Services, now: datetime) -> None:
    """Refuse a master list that the connected account does not have: every opt-in would become a dead job."""
    if tenant is None or not _changed(tenant, changes).get(MASTER_LIST):
        return
    if fault := list_fault(tenant, services, edited(tenant, changes, now).settings.master_list_id):
        raise InvalidPayloadError(f"master_list_id: {fault}.")


def _check_address(tenant: Tenant | None, changes: Mapping[str, Any], services: Services) -> None:
    """Refuse a new address that must not be called. Each call checks the address again, because a name may lead elsewhere later."""
    from shared.http.outward import AddressRefusedError, Outward

    url = None if tenant is None else _changed(tenant, changes).get("notify_url")
    if not isinstance(url, str):
        return
    try:
        services.kept(Outward, Outward).check(url)
    except AddressRefusedError as error:
        raise InvalidPayloadError(f"notify_url: {error}.") from None


def webhook_secret(value: object, now: datetime) -> StoredSecret:
    """Return a webhook secret to store.

    Raises:
        InvalidPayloadError: Klaviyo would refuse the secret, or it cannot stand in a header.
    """
    if not isinstance(value, str) or not WEBHOOK_SECRET_LENGTH <= len(value) <= LONGEST_SECRET:
        raise InvalidPayloadError(
            f"webhook_secret needs {WEBHOOK_SECRET_LENGTH} to {LONGEST_SECRET} characters."
        )
    return StoredSecret(value=header_secret("webhook_secret", value), created_at=now)


def header_secret(key: str, value: str) -> SecretStr:
    """Return the value of `key`, a secret for an HTTP header, which holds only visible ASCII.

    Raises:
        InvalidPayloadError: it cannot.
    """
    if not value or not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidPayloadError(f"{key} must be visible ASCII characters without blanks.")
    return SecretStr(value)


def newest_first(added: StoredSecret, earlier: Iterable[StoredSecret]) -> tuple[StoredSecret, ...]:
    """Return the secrets with one more in front. A secret that is sent a second time does not push out an older one."""
    return (added, *(secret for secret in earlier if secret.value != added.value))


def _validated(tenant: Tenant, changes: Mapping[str, Any]) -> TenantSettings:
    before = tenant.settings
    known = set(TenantSettings.model_fields)
    # null restores the default
    wanted = {key: value for key, value in changes.items() if value is not None}
    kept = before.model_dump(mode="json", include=known - changes.keys())
    if "task_queue_name" in changes and changes["task_queue_name"] is None:
        kept["task_queue_name"] = tenant.name
    try:
        # Strict JSON: without it, "yes" would count as true and "7" as 7, although the published schema refuses both.
        valid = TenantSettings.model_validate_json(
            json.dumps({**kept, **wanted}), strict=True, context=frozenset(changes)
        )
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        # The message names only the setting: a deeper name, such as that of a mapping, is a value of the caller.
        name = str(first["loc"][0])
        fault = form_fault(name, wanted.get(name)) or first["msg"].removeprefix("Value error, ")
        examples = TenantSettings.model_fields[name].examples
        if first["type"] == "string_pattern_mismatch" and fault == first["msg"] and examples:
            fault = f"must be written as in {examples[0]}"
        raise InvalidPayloadError(f"{name}: {fault}.") from None
    # A setting that a newer revision has stored stays.
    after = before.model_copy(update={key: getattr(valid, key) for key in known})
    if tenant.klaviyo is not None:
        for key in sorted(FIXED_ONCE_INSTALLED):
            if getattr(before, key) != getattr(after, key):
                raise ConflictError(f"{key} is fixed once the tenant is installed: its queues carry it.")
    return after


def _without(secrets: tuple[StoredSecret, ...], ended: object) -> tuple[StoredSecret, ...]:
    if not isinstance(ended, list) or not all(isinstance(id, str) for id in ended):
        raise InvalidPayloadError("end_webhook_secrets must be a list of ids from GET settings.")
    newest, *older = secrets
    if newest.id in ended or set(ended) - {secret.id for secret in older}:
        raise InvalidPayloadError(
            "end_webhook_secrets may name older secrets only, by the ids that GET settings shows."
        )
    return tuple(secret for secret in secrets if secret.id not in ended)


def _check_klaviyo_has_the_newest(tenant: Tenant) -> None:
    """Refuse to end a secret that Klaviyo may still sign with: Klaviyo never repeats a delivery that gets a 401."""
    step = tenant.provisions.steps.get(WEBHOOK, ProvisionStep())
    if tenant.klaviyo is None or step.state is StepState.DONE:
        return
    if tenant.is_connected:
        raise ConflictError(f"{_ENDED}: Klaviyo does not have the newest secret yet; try again in a minute.")
    # Klaviyo may still deliver: the webhook stays when the grant ends.
    raise ConflictError(f"{_ENDED}: Klaviyo gets the newest secret when the app is installed again.")


def _account(tenant: Tenant) -> dict[str, str]:
    """Return the account's values that count in place of settings that are not set."""
    klaviyo = tenant.klaviyo
    return {
        "timezone": klaviyo.account_timezone if klaviyo else "",
        "country": klaviyo.account_country if klaviyo else "",
    }


def _shown(secret: StoredSecret, used: Mapping[str, datetime]) -> dict[str, str | None]:
    last = used.get(secret.id)
    return {
        "id": secret.id,
        "created_at": secret.created_at.isoformat(timespec="seconds"),
        "last_used_at": last.isoformat(timespec="seconds") if last else None,
    }
