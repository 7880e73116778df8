"""The keys of `set NAME KEY`, with the reader of each value and its effect."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.admin.edits import header_secret, newest_first
from shared.admin.settings import note_secrets, store_settings
from shared.audit import OPERATOR, Act, Audit
from shared.errors import DocumentMissingError, InvalidPayloadError, ServiceError, TokenRejectedError
from shared.tenants.settings import TenantSettings
from shared.tenants.tenants import StoredSecret, Tenant
from shared.web.json_bodies import parse_json

if TYPE_CHECKING:
    from shared.klaviyo.oauth import TokenAnswer
    from shared.services import Services

KEPT_SIGNING_SECRETS = 2


@dataclass(frozen=True)
class Settable:
    """A key. `edit` returns the tenant with the value in it, or raises InvalidPayloadError. It is None for a key that has its own way into
    the store.
    """

    is_secret: bool
    edit: Callable[[Tenant, str, datetime], Tenant] | None


def set_tokens(services: "Services", name: str, value: str) -> tuple[Tenant, str]:
    """Connect the account of the tokens; return the tenant, and the reason why the account is unknown ("" if it is known).

    Raises:
        InvalidPayloadError: the value is no token answer, or Klaviyo rejects its token; nothing was changed.
        DocumentMissingError: there is no such tenant.
    """
    from shared.installation.connecting import connect

    answer, account, why = _token_answer(value), None, ""
    try:
        account = services.klaviyo_with(answer.access_token).account()
    except TokenRejectedError:
        raise InvalidPayloadError("klaviyo_tokens: Klaviyo rejects this access token.") from None
    except ServiceError as error:
        why = str(error)
    connected = connect(name, answer, tenants=services.tenants, now=services.clock(), account=account)
    services.rests.forget(name)
    return connected, why


def set_value(services: "Services", name: str, key: str, value: str) -> Tenant:
    """Store the value of any key but `klaviyo_tokens`, note it in the audit, and return the tenant; null brings a setting's default back.

    An operator may set only what CX Manager may set.

    Raises:
        InvalidPayloadError, ConflictError: the value is not acceptable; nothing was changed.
        DocumentMissingError: there is no such tenant.
    """
    before, edit = services.tenants.find(name), SETTABLE[key].edit
    if before is None:
        raise DocumentMissingError("no such tenant")
    if edit is None:
        given = value if key == "webhook_secret" else _parsed(key, value)
        return store_settings(name, {key: given}, services, by=OPERATOR)

    def changed(tenant: Tenant) -> Tenant:
        nonlocal before
        before = tenant
        return edit(tenant, value, services.clock())

    after = services.tenants.change(name, changed)
    note_secrets(
        "omneo_signing_secret",
        name,
        before.omneo_signing_secrets,
        after.omneo_signing_secrets,
        services,
        by=OPERATOR,
    )
    if after.omneo_token != before.omneo_token:
        Audit.of(services).note(name, Act.SETTINGS_CHANGED, by=OPERATOR, about="omneo_token")
    return after


def _token_answer(value: str) -> "TokenAnswer":
    from shared.klaviyo.oauth import TokenAnswer

    try:
        answer = TokenAnswer.model_validate(json.loads(value))
    except ValidationError as error:
        fields = sorted(
            {str(e["loc"][0]) if e["loc"] else "the whole" for e in error.errors(include_input=False)}
        )
        raise InvalidPayloadError(f"klaviyo_tokens: look at {', '.join(fields)}. {_TOKENS_FORM}") from None
    except (ValueError, RecursionError):
        raise InvalidPayloadError(f"klaviyo_tokens: not JSON. {_TOKENS_FORM}") from None
    for key in ("access_token", "refresh_token"):
        header_secret(f"klaviyo_tokens: {key}", getattr(answer, key).get_secret_value())
    return answer


_TOKENS_FORM = 'Give the JSON that Klaviyo\'s token endpoint answered: {"access_token", "refresh_token", "expires_in", "scope"}.'


def _omneo_token(tenant: Tenant, value: str, now: datetime) -> Tenant:
    return tenant.model_copy(update={"omneo_token": header_secret("omneo_token", value)})


def _omneo_signing_secret(tenant: Tenant, value: str, now: datetime) -> Tenant:
    added = StoredSecret(value=header_secret("omneo_signing_secret", value), created_at=now)
    kept = newest_first(added, tenant.omneo_signing_secrets)[:KEPT_SIGNING_SECRETS]
    return tenant.model_copy(update={"omneo_signing_secrets": kept})


def _parsed(key: str, value: str) -> Any:
    """Return the value in the setting's type: text stays as it is, every other type is read as JSON."""
    if not value:
        raise InvalidPayloadError(f"{key}: the value is empty. null brings the default back.")
    if value == "null":
        return None
    schema = TenantSettings.model_json_schema()["properties"][key]
    kinds = {schema.get("type"), *(kind.get("type") for kind in schema.get("anyOf", ()))}
    if not kinds & {"object", "boolean", "integer", "number"}:
        return value
    try:
        return parse_json("application/json", value.encode())
    except (InvalidPayloadError, UnicodeEncodeError):
        raise InvalidPayloadError(f"{key} must be JSON, at most some levels deep.") from None


SETTABLE: dict[str, Settable] = {
    "omneo_token": Settable(is_secret=True, edit=_omneo_token),
    "omneo_signing_secret": Settable(is_secret=True, edit=_omneo_signing_secret),
    "webhook_secret": Settable(is_secret=True, edit=None),
    "klaviyo_tokens": Settable(is_secret=True, edit=None),
    **{key: Settable(is_secret=False, edit=None) for key in TenantSettings.model_fields},
}
