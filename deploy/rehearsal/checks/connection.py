"""Tries the assumptions about Klaviyo's tokens, headers and webhooks."""

from pydantic import SecretStr

from deploy.rehearsal import made
from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.stage import Stage
from shared.errors import GrantRefusedError, RefusedError, WaitError
from shared.klaviyo.resources import system_webhook_path

_LIMITS = ("RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset")
_REQUEST_ID = "X-Klaviyo-Req-Id"
# Rare, and without effect: a webhook exists for seconds here, and its deliveries carry no signature that we know.
_TOPIC = "event:klaviyo.manually_unsuppressed_from_email_marketing"


def dead_grant_is_named(stage: Stage) -> Answer:
    """Try to refresh with a token that never was."""
    try:
        stage.services.klaviyo_oauth.refresh("a-rehearsal-that-never-was-a-token")
    except GrantRefusedError as error:
        stage.saw("status", error.status or 0)
        return holds("tried with a token that never was, not with one that has died")
    except WaitError as error:
        stage.saw("status", error.status or 0)
        return fails("the refusal does not say `invalid_grant`")
    return fails("tokens were given for it")


def answers_carry_limits(stage: Stage) -> Answer:
    """Look at the headers of one answer."""
    names = _headers(stage)
    return judged(all(name.lower() in names for name in _LIMITS), "a RateLimit header is missing")


def answers_carry_request_id(stage: Stage) -> Answer:
    """Look at the headers of one answer."""
    return judged(_REQUEST_ID.lower() in _headers(stage), "the header is missing")


def webhook_names_are_free(stage: Stage) -> Answer:
    """Make two webhooks with one name."""
    name = stage.note(made.KLAVIYO_WEBHOOK, stage.name("webhook"))
    before = stage.klaviyo.webhook_rows()
    stage.saw("webhooks before", len(before))
    if len(before) > 8:
        return untried("the account has room for fewer than two more webhooks")
    for number in (1, 2):
        try:
            _make_webhook(stage, name)
        except RefusedError as error:
            stage.saw(f"status of webhook {number}", error.status or 0)
            if number == 1:
                return untried("the account lets no webhook be made")
            return fails("a second webhook with the name is refused")
    count = sum(row["attributes"].get("name") == name for row in stage.klaviyo.webhook_rows())
    return judged(count == 2, "the list does not show both")


def webhook_list_hides(stage: Stage) -> Answer:
    """Make a webhook, and look at it in the list."""
    name = stage.note(made.KLAVIYO_WEBHOOK, stage.name("webhook"))
    try:
        address, secret = _make_webhook(stage, name)
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return untried("the account lets no webhook be made")
    found = [row for row in stage.klaviyo.webhook_rows() if row["attributes"].get("name") == name]
    if not found:
        return fails("the list does not show the webhook by its name")
    attributes = found[0]["attributes"]
    stage.saw_names("fields of the webhook", [*attributes])
    stage.saw("the address is masked", attributes.get("endpoint_url") != address)
    return judged(secret not in str(found[0]), "the list shows the secret")


def _make_webhook(stage: Stage, name: str) -> tuple[str, str]:
    base = stage.services.settings.public_url
    address, secret = f"{base}{system_webhook_path(stage.tenant.name)}", stage.services.new_word()
    stage.klaviyo.create_webhook(name, address, SecretStr(secret), [_TOPIC])
    return address, secret


def _headers(stage: Stage) -> set[str]:
    stage.klaviyo.account()
    names = stage.calls[-1].header_names
    stage.saw_names("headers", list(names))
    return {name.lower() for name in names}
