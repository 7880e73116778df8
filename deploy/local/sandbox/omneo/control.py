"""The orders below `/_sandbox` that only Omneo accepts.

POST `seed` `{"tenants": [{name, token, signing_secret, retries, token_expires_at}], "profiles": [{tenant, ...}],
"targets": [{tenant, handle, url, template, condition}], "reactions": [{tenant, trigger, targets, condition}], "webhooks":
[{tenant, ...}], "reward_definitions": [{tenant, ...}]}` returns tenants and profiles; POST `switches` `{id_token_seconds, otherwise}`, the latter the names of assumptions; POST `{tenant}/events` `{trigger, context}` lets an event happen and returns its
deliveries; POST `try-target` `{tenant, trigger, handle, url, template, context, headers}` calls a target that nobody has saved, and returns its
deliveries; POST `enable-webhooks` `{tenant}` enables every webhook, as a user does, and returns how many were not; POST `create-profile` `{tenant, ...}`, `change-profile` `{tenant, id, ...}` and `delete-profile` `{tenant, id}` tell the active webhooks;
POST `expire` `{tenant}` ends its API token; POST `reward_rules` `{tenant, repeated_external_id, numbers_as_text}`; GET `rewards`, `webhooks`,
`profiles`, `reward-definitions` and `interactions` with `?tenant=`, `profiles` also with `&search=` for what stands in an id,
address, number or name, and `&limit=` for the newest; GET `deliveries?tenant=`, with
`&bodies=1` for what was sent.

POST `seed-profiles` `{tenant, count, profile}` keeps many profiles, with `{n}` in every string of `profile` replaced by 0,
1, 2...
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypedDict

from deploy.local.sandbox.omneo.delivery import Delivery
from deploy.local.sandbox.omneo.service import Omneo
from deploy.local.sandbox.stage.control import Action, found_in, newest, perform, wants_bodies
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.orders import all_checked, carry_out, check, known
from deploy.local.sandbox.stage.seeding import numbered


class Identity(TypedDict, total=False):
    """An identity of a profile, as an order gives it."""

    handle: str
    identifier: str


class Attributes(TypedDict, total=False):
    """The attributes of a profile of which the sandbox makes something itself."""

    comms: dict[str, Any] | None


class Profile(TypedDict, total=False):
    """The fields of a profile of which the sandbox makes something itself; all others are kept as they come."""

    id: str
    email: str | None
    first_name: str | None
    last_name: str | None
    identities: list[Identity]
    attributes: Attributes | None


def control(omneo: Omneo, request: Request) -> Answer:
    """Answer a call below `/_sandbox` on Omneo's port."""

    def switches(id_token_seconds: int | None = None, otherwise: Sequence[str] | None = None) -> None:
        omneo.id_token_seconds = omneo.id_token_seconds if id_token_seconds is None else id_token_seconds
        omneo.otherwise = omneo.otherwise if otherwise is None else otherwise

    def seed_profiles(tenant: str, count: int, profile: Profile) -> None:
        omneo.seed_profiles(tenant, count, partial(numbered, profile))

    def deliveries(fields: dict[str, Any]) -> object:
        rows = omneo.deliveries(fields["tenant"])
        return {"deliveries": [row.to_json(bodies=wants_bodies(fields)) for row in rows]}

    def fire(tenant: str, fields: dict[str, Any]) -> object:
        def let_happen(trigger: str, context: dict[str, Any] | None = None) -> list[Delivery]:
            return omneo.fire(tenant, trigger, context or {})

        return {"deliveries": [row.to_json(bodies=False) for row in carry_out(let_happen, fields)]}

    def profile_call(method: Callable[..., Any]) -> Action:
        def act(fields: dict[str, Any]) -> object:
            check(Profile, fields, "profile")
            return carry_out(method, fields)

        return act

    def try_target(fields: dict[str, Any]) -> object:
        rows = carry_out(omneo.try_target, fields)
        return {"deliveries": [row.to_json(bodies=True) for row in rows]}

    return perform(
        omneo,
        request,
        {
            ("POST", "seed"): partial(_seed, omneo),
            ("POST", "switches"): partial(carry_out, switches),
            ("POST", "try-target"): try_target,
            ("POST", "enable-webhooks"): lambda fields: {"enabled": carry_out(omneo.enable_webhooks, fields)},
            ("POST", "create-profile"): profile_call(omneo.create_profile),
            ("POST", "change-profile"): lambda fields: {
                "profile": profile_call(omneo.change_profile)(fields)
            },
            ("POST", "delete-profile"): partial(carry_out, omneo.delete_profile),
            ("POST", "expire"): partial(carry_out, omneo.expire),
            ("POST", "reward_rules"): partial(carry_out, omneo.reward_rules),
            ("GET", "rewards"): lambda fields: {"rewards": omneo.rewards(fields["tenant"])},
            ("POST", "seed-profiles"): partial(carry_out, seed_profiles),
            ("GET", "webhooks"): lambda fields: {"webhooks": omneo.webhooks(fields["tenant"])},
            ("GET", "reward-definitions"): lambda fields: {
                "reward_definitions": omneo.reward_definitions(fields["tenant"])
            },
            ("GET", "profiles"): partial(_profiles, omneo),
            ("GET", "interactions"): lambda fields: {"interactions": omneo.interactions(fields["tenant"])},
            ("GET", "deliveries"): deliveries,
            **{("POST", f"{name}/events"): partial(fire, name) for name in omneo.tenants()},
        },
    )


def _profiles(omneo: Omneo, fields: dict[str, Any]) -> object:
    names = ("id", "email", "mobile_phone", "full_name")
    rows = [
        row
        for row in omneo.profiles(fields["tenant"])
        if found_in(fields, *(row.get(name) for name in names))
    ]
    return {"profiles": newest(rows, fields)}


def _seed(omneo: Omneo, fields: dict[str, Any]) -> object:
    def reaction(tenant: str, trigger: str, targets: list[str], condition: Any = None) -> None:
        omneo.reaction(tenant, trigger, *targets, condition=condition)

    rest = (
        ("targets", omneo.target),
        ("webhooks", omneo.webhook),
        ("reward_definitions", omneo.reward_definition),
        ("reactions", reaction),
    )
    known(fields, "tenants", "profiles", *(name for name, _ in rest))
    check(list[Profile], fields.get("profiles", []), "profiles")
    # All are looked at before the first is made.
    new_tenants = all_checked(omneo.tenant, fields, "tenants")
    new_profiles = all_checked(omneo.profile, fields, "profiles")
    others = [make for name, method in rest for make in all_checked(method, fields, name)]
    tenants = [make() for make in new_tenants]
    profiles = [make() for make in new_profiles]
    for make in others:
        make()
    return {
        "tenants": [
            {"name": tenant.name, "token": tenant.token, "signing_secret": tenant.signing_secret}
            for tenant in tenants
        ],
        "profiles": profiles,
    }
