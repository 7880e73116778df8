"""What Klaviyo alone can be told below `/_sandbox`.

POST `seed` `{"accounts": [...], "installs": [...], "profiles": [...], "data_sources": [...], "webhooks": [...]}`, each
row with `account` and what the method of `Klaviyo` of that name takes, returns the tokens; POST `app` `{client_id,
client_secret}`; POST `switches` with any of the switches of `OAuth`, `duplicate_title_status`, `unknown_data_source_status`,
`unwanted_property` and `auto_deliver`; POST `revoke` `{refresh_token}`, `expire` `{access_token}`, `uninstall` `{account}`,
`disable-webhook` and `delete-data-source` `{account, id}`; GET `events`, `profiles`, `data-sources`, `records` and `webhooks` with
`?account=`, the last with addresses and secrets. What Klaviyo sends is told
in `klaviyo_sending_control.py`.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from deploy.local.sandbox.control import Action, perform
from deploy.local.sandbox.klaviyo_sending_control import sending_actions
from deploy.local.sandbox.messages import Answer, Request

if TYPE_CHECKING:
    from deploy.local.sandbox.klaviyo import Klaviyo

_SWITCHES = frozenset(
    {
        "access_token_seconds",
        "refreshes_per_minute",
        "rotates",
        "docs_spelling",
        "reinstall_ends_older",
        "app_name",
        "app_scopes",
        "redirect_uris",
        "auto_consent",
        "consent_account",
        "duplicate_title_status",
        "unknown_data_source_status",
        "unwanted_property",
        "auto_deliver",
    }
)
_OWN_SWITCHES = frozenset(
    {"duplicate_title_status", "unknown_data_source_status", "unwanted_property", "auto_deliver"}
)
_APP = frozenset({"client_id", "client_secret"})


def control(klaviyo: "Klaviyo", request: Request) -> Answer:
    """Answer a call below `/_sandbox` on Klaviyo's port."""

    def read(name: str, rows: Callable[[str], Iterable[Any]]) -> Action:
        return lambda fields: {name: [_shown(row) for row in rows(fields["account"])]}

    return perform(
        klaviyo,
        request,
        {
            ("POST", "seed"): partial(_seed, klaviyo),
            ("POST", "app"): lambda fields: _write(klaviyo, _APP, fields),
            ("POST", "switches"): lambda fields: _write(klaviyo, _SWITCHES, fields),
            ("POST", "revoke"): lambda fields: klaviyo.revoke(fields["refresh_token"]),
            ("POST", "expire"): lambda fields: klaviyo.expire(fields["access_token"]),
            ("POST", "uninstall"): lambda fields: klaviyo.uninstall(fields["account"]),
            ("POST", "disable-webhook"): lambda fields: klaviyo.disable_webhook(
                fields["account"], fields["id"]
            ),
            ("POST", "delete-data-source"): lambda fields: klaviyo.delete_data_source(
                fields["account"], fields["id"]
            ),
            ("GET", "events"): read("events", klaviyo.events),
            ("GET", "profiles"): read("profiles", klaviyo.profiles),
            ("GET", "data-sources"): read("data_sources", klaviyo.data_sources),
            ("GET", "records"): read("records", klaviyo.records),
            ("GET", "webhooks"): read("webhooks", klaviyo.webhooks),
            **sending_actions(klaviyo),
        },
    )


def _seed(klaviyo: "Klaviyo", fields: dict[str, Any]) -> object:
    for name, method in (
        ("accounts", klaviyo.account),
        ("profiles", klaviyo.profile),
        ("data_sources", klaviyo.data_source),
        ("webhooks", klaviyo.webhook),
    ):
        for row in fields.get(name, ()):
            method(**row)
    return {"installs": [asdict(klaviyo.install(**install)) for install in fields.get("installs", ())]}


def _write(klaviyo: "Klaviyo", allowed: frozenset[str], fields: dict[str, Any]) -> None:
    if unknown := set(fields) - allowed:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in fields.items():
        setattr(klaviyo if name in _OWN_SWITCHES else klaviyo.oauth, name, value)


def _shown(row: Any) -> dict[str, Any]:
    return {name: value for name, value in asdict(row).items() if name != "sent"}
