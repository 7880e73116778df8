"""What Omneo alone can be told below `/_sandbox`.

POST `seed` `{"tenants": [{name, token, signing_secret, retries, token_expires_at}], "profiles": [{tenant, ...}],
"targets": [{tenant, handle, url, template, condition}], "reactions": [{tenant, trigger, targets, condition}], "webhooks":
[{tenant, ...}], "reward_definitions": [{tenant, ...}]}` returns tenants and profiles; POST `switches` `{id_token_seconds}`; POST `{tenant}/events` `{trigger, context}` lets an event happen and returns its
deliveries; POST `try-target` `{tenant, trigger, handle, url, template, context}` calls a target that nobody has saved, and returns its
deliveries; POST `enable-webhooks` `{tenant}` enables every webhook, as a user does, and returns how many were not; POST `create-profile` `{tenant, ...}`, `change-profile` `{tenant, id, ...}` and `delete-profile` `{tenant, id}` tell the active webhooks;
POST `expire` `{tenant}` ends its API token; POST `reward_rules` `{tenant, repeated_external_id, numbers_as_text}`; GET `rewards`, `webhooks`,
`profiles`, `reward-definitions` and `interactions` with `?tenant=`, `profiles` also with `&search=` for what stands in an id,
address, number or name, and `&limit=` for the newest; GET `deliveries?tenant=`, with
`&bodies=1` for what was sent.

POST `seed-profiles` `{tenant, count, profile}` keeps many profiles, with `{n}` in every string of `profile` replaced by 0,
1, 2...
"""

from functools import partial
from typing import Any

from deploy.local.sandbox.omneo.service import Omneo
from deploy.local.sandbox.stage.control import found_in, newest, perform, wants_bodies
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.seeding import numbered


def control(omneo: Omneo, request: Request) -> Answer:
    """Answer a call below `/_sandbox` on Omneo's port."""

    def switches(fields: dict[str, Any]) -> None:
        omneo.id_token_seconds = int(fields["id_token_seconds"])

    def seed_profiles(fields: dict[str, Any]) -> None:
        make = partial(numbered, fields["profile"])
        omneo.seed_profiles(fields["tenant"], int(fields["count"]), make)

    def deliveries(fields: dict[str, Any]) -> object:
        rows = omneo.deliveries(fields["tenant"])
        return {"deliveries": [row.to_json(bodies=wants_bodies(fields)) for row in rows]}

    def fire(tenant: str, fields: dict[str, Any]) -> object:
        rows = omneo.fire(tenant, fields["trigger"], fields.get("context", {}))
        return {"deliveries": [row.to_json(bodies=False) for row in rows]}

    def try_target(fields: dict[str, Any]) -> object:
        rows = omneo.try_target(**fields)
        return {"deliveries": [row.to_json(bodies=True) for row in rows]}

    return perform(
        omneo,
        request,
        {
            ("POST", "seed"): partial(_seed, omneo),
            ("POST", "switches"): switches,
            ("POST", "try-target"): try_target,
            ("POST", "enable-webhooks"): lambda fields: {"enabled": omneo.enable_webhooks(fields["tenant"])},
            ("POST", "create-profile"): lambda fields: omneo.create_profile(**fields),
            ("POST", "change-profile"): lambda fields: {"profile": omneo.change_profile(**fields)},
            ("POST", "delete-profile"): lambda fields: omneo.delete_profile(**fields),
            ("POST", "expire"): lambda fields: omneo.expire(fields["tenant"]),
            ("POST", "reward_rules"): lambda fields: omneo.reward_rules(**fields),
            ("GET", "rewards"): lambda fields: {"rewards": omneo.rewards(fields["tenant"])},
            ("POST", "seed-profiles"): seed_profiles,
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
    tenants = [omneo.tenant(**tenant) for tenant in fields.get("tenants", ())]
    profiles = [omneo.profile(**profile) for profile in fields.get("profiles", ())]
    for target in fields.get("targets", ()):
        omneo.target(**target)
    for webhook in fields.get("webhooks", ()):
        omneo.webhook(**webhook)
    for definition in fields.get("reward_definitions", ()):
        omneo.reward_definition(**definition)
    for reaction in fields.get("reactions", ()):
        omneo.reaction(
            reaction["tenant"],
            reaction["trigger"],
            *reaction["targets"],
            condition=reaction.get("condition"),
        )
    return {
        "tenants": [
            {"name": tenant.name, "token": tenant.token, "signing_secret": tenant.signing_secret}
            for tenant in tenants
        ],
        "profiles": profiles,
    }
