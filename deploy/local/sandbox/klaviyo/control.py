"""The orders below `/_sandbox` that only Klaviyo accepts.

POST `seed` `{"accounts": [...], "installs": [...], "lists": [...], "profiles": [...], "data_sources": [...], "webhooks":
[...]}`, each row with `account` and what the method of `Klaviyo` of that name takes (`marketing_list` for a list), returns the tokens; POST `app`
`{client_id, client_secret}`; POST `switches` with any of the switches of `OAuth` and `ConsentSwitches`,
`duplicate_title_status`, `unknown_data_source_status`, `unwanted_property`, `plan_lacks`, `retirement_date` and `auto_deliver`; POST `differ` `{revision, operation, fields, headers, refused}`; POST `revoke` `{refresh_token}`, `expire` `{access_token}`, `uninstall` `{account}`,
`disable-webhook` and `delete-data-source` `{account, id}`.

Acts of people, by `{account, profile}`, each with `at` in Unix seconds if it is not now: POST `subscribe` `{channel,
list_id, custom_source}`, `confirm` `{channel}`, `unsubscribe` `{channel, list_id}`, `bounce` `{hard}`, `drop-email`,
`mark-as-spam`, `suppress`, `unsuppress`, `update-email-preferences` `{properties}`, `fail-sms`; POST `merge-profiles`
`{account, source, destination}`, `delete-profile` `{account, profile}`.

POST `seed-profiles` `{account, count, profile}` writes many profiles, with `{n}` in every string of `profile` replaced by
0, 1, 2...; POST `cancel-import` `{account, job_id}`.

GET `events`, `profiles` (with subscriptions as the API shows them, and list memberships), `data-sources`, `records` and
`webhooks` with `?account=`, the last with addresses and secrets; `events` also with `&unique_id=` or `&profile=`, `profiles` with
`&search=` for what stands in an id, address, number or name, and both with `&limit=` for the newest. `sending_control.py` holds the
orders about Klaviyo's own messages.
"""

from collections.abc import Callable, Iterable
from dataclasses import asdict, fields
from functools import partial
from typing import Any, TypedDict

from deploy.local.sandbox.klaviyo.accounts import Profile
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.klaviyo.sending_control import sending_actions
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.stage.control import Action, found_in, newest, perform
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.orders import all_checked, carry_out, check, known, set_on
from deploy.local.sandbox.stage.seeding import numbered

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
    }
)
_OWN_SWITCHES = frozenset(
    {
        "duplicate_title_status",
        "unknown_data_source_status",
        "unwanted_property",
        "plan_lacks",
        "retirement_date",
        "auto_deliver",
    }
)
_CONSENT_SWITCHES = frozenset(field.name for field in fields(ConsentSwitches))
_ACTS = (
    "subscribe",
    "confirm",
    "unsubscribe",
    "bounce",
    "drop_email",
    "mark_as_spam",
    "suppress",
    "unsuppress",
    "update_email_preferences",
    "fail_sms",
    "merge_profiles",
    "delete_profile",
)
_APP = frozenset({"client_id", "client_secret"})


class SeededProfile(TypedDict, total=False):
    """The attributes of a profile of which the sandbox makes something itself; all others are kept as they come."""

    id: str | None
    email: str | None
    phone_number: str | None
    external_id: str | None
    anonymous_id: str | None
    first_name: str | None
    last_name: str | None
    location: dict[str, Any] | None
    properties: dict[str, Any] | None


def control(klaviyo: Klaviyo, request: Request) -> Answer:
    """Answer a call below `/_sandbox` on Klaviyo's port."""

    def read(name: str, rows: Callable[[str], Iterable[Any]]) -> Action:
        return lambda fields: {name: [_shown(row) for row in rows(fields["account"])]}

    return perform(
        klaviyo,
        request,
        {
            ("POST", "seed"): partial(_seed, klaviyo),
            ("POST", "app"): lambda fields: _write(klaviyo, _APP, fields),
            ("POST", "switches"): lambda fields: _write(
                klaviyo, _SWITCHES | _OWN_SWITCHES | _CONSENT_SWITCHES, fields
            ),
            **{("POST", act.replace("_", "-")): partial(carry_out, getattr(klaviyo, act)) for act in _ACTS},
            ("POST", "differ"): partial(carry_out, klaviyo.differ),
            ("POST", "revoke"): partial(carry_out, klaviyo.revoke),
            ("POST", "expire"): partial(carry_out, klaviyo.expire),
            ("POST", "uninstall"): partial(carry_out, klaviyo.uninstall),
            ("POST", "disable-webhook"): partial(carry_out, klaviyo.disable_webhook),
            ("POST", "seed-profiles"): partial(_seed_profiles, klaviyo),
            ("POST", "cancel-import"): partial(carry_out, klaviyo.cancel_import),
            ("POST", "delete-data-source"): partial(carry_out, klaviyo.delete_data_source),
            ("GET", "events"): partial(_events, klaviyo),
            ("GET", "profiles"): partial(_profiles, klaviyo),
            ("GET", "data-sources"): read("data_sources", klaviyo.data_sources),
            ("GET", "records"): read("records", klaviyo.records),
            ("GET", "webhooks"): read("webhooks", klaviyo.webhooks),
            **sending_actions(klaviyo),
        },
    )


def _events(klaviyo: Klaviyo, fields: dict[str, Any]) -> object:
    asked = {"unique_id": fields.get("unique_id"), "profile_id": fields.get("profile")}
    rows = [
        row
        for row in klaviyo.events(fields["account"])
        if all(value in (None, getattr(row, name)) for name, value in asked.items())
    ]
    return {"events": [_shown(row) for row in newest(rows, fields)]}


def _profiles(klaviyo: Klaviyo, fields: dict[str, Any]) -> object:
    names = ("email", "phone_number", "first_name", "last_name", "external_id")
    rows = [
        row
        for row in klaviyo.profiles(fields["account"])
        if found_in(fields, row.id, *(row.attributes.get(name) for name in names))
    ]
    return {"profiles": [_shown(row) for row in newest(rows, fields)]}


def _seed(klaviyo: Klaviyo, fields: dict[str, Any]) -> object:
    methods: dict[str, Callable[..., object]] = {
        "accounts": klaviyo.account,
        "lists": klaviyo.marketing_list,
        "profiles": klaviyo.profile,
        "data_sources": klaviyo.data_source,
        "webhooks": klaviyo.webhook,
    }
    known(fields, *methods, "installs")
    check(list[SeededProfile], fields.get("profiles", []), "profiles")
    # All are looked at before the first is made.
    others = [make for name, method in methods.items() for make in all_checked(method, fields, name)]
    installs = all_checked(klaviyo.install, fields, "installs")
    for make in others:
        make()
    return {"installs": [asdict(install()) for install in installs]}


def _seed_profiles(klaviyo: Klaviyo, fields: dict[str, Any]) -> None:
    def seed(account: str, count: int, profile: SeededProfile) -> None:
        klaviyo.seed_profiles(account, count, partial(numbered, profile))

    carry_out(seed, fields)


def _write(klaviyo: Klaviyo, allowed: frozenset[str], fields: dict[str, Any]) -> None:
    if unknown := set(fields) - allowed:
        raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
    for name, value in fields.items():
        set_on(_switched(klaviyo, name), name, value)


def _switched(klaviyo: Klaviyo, name: str) -> object:
    if name in _OWN_SWITCHES:
        return klaviyo
    return klaviyo.consent if name in _CONSENT_SWITCHES else klaviyo.oauth


def _shown(row: Any) -> dict[str, Any]:
    shown = {name: value for name, value in asdict(row).items() if name != "sent"}
    return {**shown, "subscriptions": row.subscriptions.to_json()} if isinstance(row, Profile) else shown
