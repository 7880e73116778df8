"""What `set NAME KEY` can set, how each value is read, and what it changes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from shared.admin.settings import edited, header_secret, newest_first
from shared.errors import InvalidPayloadError, ServiceError, TokenRejectedError
from shared.installation.provision import WEBHOOK, again
from shared.tenants.settings import FIXED_ONCE_INSTALLED, TenantSettings
from shared.tenants.tenants import StoredSecret, Tenant, TenantStore
from shared.web.json_bodies import parse_json

if TYPE_CHECKING:
    from shared.klaviyo.oauth import TokenAnswer
    from shared.services import Services

KEPT_SIGNING_SECRETS = 2


@dataclass(frozen=True)
class Settable:
    """A key. `edit` returns the tenant with the value in it, or raises InvalidPayloadError; None: see `set_tokens`."""

    is_secret: bool
    edit: Callable[[Tenant, str, datetime], Tenant] | None


def set_tokens(services: "Services", name: str, value: str) -> tuple[Tenant, str]:
    """Connect the account of the tokens; return the tenant, and why it is not known which account that is, "" if it is.

    Raises:
        InvalidPayloadError: the value is no token answer, or Klaviyo rejects its token; nothing was changed.
        DocumentMissingError: there is no such tenant.
    """
    from shared.installation.steps import connect

    answer, account, why = _token_answer(value), None, ""
    try:
        account = services.klaviyo_with(answer.access_token).account()
    except TokenRejectedError:
        raise InvalidPayloadError("klaviyo_tokens: Klaviyo rejects this access token.") from None
    except ServiceError as error:
        why = str(error)
    connected = connect(name, answer, tenants=services.tenants, now=services.clock(), account=account)
    return connected, why


def set_value(tenants: TenantStore, name: str, key: str, value: str, now: datetime) -> Tenant:
    """Store the value of any key but `klaviyo_tokens` and return the tenant; null brings a setting's default back.

    Raises:
        InvalidPayloadError: the value is not acceptable; nothing was changed.
        DocumentMissingError: there is no such tenant.
    """
    edit = SETTABLE[key].edit
    if edit is None:
        raise InvalidPayloadError(f"{key} is not set like this.")

    def checked(tenant: Tenant) -> Tenant:
        after = edit(tenant, value, now)
        if key in FIXED_ONCE_INSTALLED and (other := tenants.sharing_queues(after)):
            raise InvalidPayloadError(f"{key}: its queues would be those of tenant {other}.")
        return after

    return tenants.change(name, checked)


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


def _webhook_secret(tenant: Tenant, value: str, now: datetime) -> Tenant:
    return again(edited(tenant, {"webhook_secret": value}, now), WEBHOOK)


def _setting(key: str) -> Callable[[Tenant, str, datetime], Tenant]:
    def edit(tenant: Tenant, value: str, now: datetime) -> Tenant:
        return edited(tenant, {key: _parsed(key, value)}, now)

    return edit


def _parsed(key: str, value: str) -> Any:
    """Return the value as the setting's type needs it: text as it is, everything else as JSON."""
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
    "webhook_secret": Settable(is_secret=True, edit=_webhook_secret),
    "klaviyo_tokens": Settable(is_secret=True, edit=None),
    **{key: Settable(is_secret=False, edit=_setting(key)) for key in TenantSettings.model_fields},
}
