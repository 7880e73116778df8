"""What a change of settings makes of a tenant. Pure: nothing is read or stored here, and no service is asked."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from pydantic import SecretStr, ValidationError

from shared.admin.meaning import faults, form_fault
from shared.errors import ConflictError, InvalidPayloadError
from shared.installation.provision import WEBHOOK
from shared.tenants.settings import FIXED_ONCE_INSTALLED, LONGEST_SECRET, TenantSettings
from shared.tenants.tenants import WEBHOOK_SECRET_LENGTH, ProvisionStep, StepState, StoredSecret, Tenant

# The names that `PUT settings` takes besides the settings.
SECRET, _ENDED = "webhook_secret", "end_webhook_secrets"
MOST_SECRETS = 10  # each call is compared with all of them


def edited(tenant: Tenant, changes: Mapping[str, Any], now: datetime) -> Tenant:
    """Return the tenant with the changes. A caller may send a value back as it was read; that changes nothing. Pure.

    Raises:
        InvalidPayloadError, ConflictError: as `change_settings`.
    """
    _check_beside(tenant, changes)
    new = changed(tenant, changes)
    if unknown := sorted(new.keys() - TenantSettings.model_fields.keys()):
        raise InvalidPayloadError(f"There is no setting {', '.join(unknown)[:100]}.")
    settings = _validated(tenant, new)
    if new.get("notify_url") and not tenant.notify_secrets:
        raise ConflictError(
            "notify_url: make a secret first, by POST notify-secret, or deploy.tenants notify-secret."
        )
    for key, fault in faults(settings).items():
        if key in new:  # a value that was stored before this check existed is shown by the doctor
            raise InvalidPayloadError(f"{key}: {fault}.")
    secrets = tenant.webhook_secrets
    if _ENDED in changes:
        secrets = _without(secrets, changes[_ENDED])
        _check_klaviyo_has_the_newest(tenant)
    if SECRET in changes:
        secrets = newest_first(webhook_secret(changes[SECRET], now), secrets)
        if len(secrets) > max(MOST_SECRETS, len(tenant.webhook_secrets)):
            raise ConflictError(
                f"webhook_secret: {MOST_SECRETS} are valid already; end some with {_ENDED} first."
            )
    return tenant.model_copy(update={"settings": settings, "webhook_secrets": secrets})


def plain(settings: TenantSettings) -> dict[str, Any]:
    """Return the settings as JSON values."""
    return settings.model_dump(mode="json", include=set(TenantSettings.model_fields))


def beside(tenant: Tenant, used: Mapping[str, datetime]) -> dict[str, Any]:
    """Return the values that are shown beside the settings and cannot be changed here."""
    return {
        "webhook_secrets": [_shown(secret, used) for secret in tenant.webhook_secrets],
        "omneo_signing_secrets": [_shown(secret, used) for secret in tenant.omneo_signing_secrets],
        "omneo_token": "set",
        "account": _account(tenant),
    }


def changed(tenant: Tenant, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the changes that differ from the present settings. Only these are checked."""
    now = plain(tenant.settings)
    apart = {SECRET, _ENDED, *beside(tenant, {})}
    return {
        key: value
        for key, value in changes.items()
        if key not in apart and not (key in now and is_same(value, now[key]))
    }


def is_same(one: object, other: object) -> bool:
    """Return whether two values are the same in JSON."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)  # to Python, 1 is also true


def _check_beside(tenant: Tenant, changes: Mapping[str, Any]) -> None:
    """Refuse a changed value that is only shown here: to ignore it would leave out what the caller asks for."""
    for key, now in beside(tenant, {}).items():
        if key in changes and not is_same(_without_uses(changes[key]), _without_uses(now)):
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
