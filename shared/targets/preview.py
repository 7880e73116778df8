"""The answer to a dry run of a target, as JSON: what the call would send, and to whom. Nothing is queued, sent, minted or written here.

The same rules read the body as for a real call. If the call names only an Omneo profile, Omneo is read. Klaviyo is not asked: `explain`
says which Klaviyo profile has an address, and what happens to a consent.
"""

import logging
from collections.abc import Mapping
from typing import Any

from shared import logs
from shared.errors import CannotSucceedError
from shared.explain.explain import for_a_person
from shared.explain.rules.plain_words import EXCLUDED, LEFT_OUT
from shared.matching import identity_in
from shared.metrics.rules.event import email_of, klaviyo_profile_id, read_metric, with_id_token
from shared.metrics.rules.event_profile import PHONE, with_phone
from shared.profiles.planning import planned
from shared.profiles.rules.calls import profile_id_of_target
from shared.profiles.rules.sync_plan import SyncPlan
from shared.profiles.synced import SyncedProfiles
from shared.records.rules.record import read_records
from shared.services import Services
from shared.tenants.tenants import Tenant
from shared.values.emails import read_email
from shared.values.phones import region_of

MINTED_LATER = "minted when the event is sent"
NO_EXPIRY = 0.0
_DELETED = "deleted"

Json = dict[str, Any]


def preview_metric(
    tenant: Tenant, body: object, services: Services, *, metric_name: str, with_token: bool
) -> Json:
    """Return `to` (the profile of the event), `would_send` (the body of Create Event) and `notes` in plain words.

    A word stands in place of an ID token, and 0 in place of its expiry.

    Raises:
        InvalidPayloadError: a real call would be refused for the same reason.
        WaitError: Omneo cannot answer now.
    """
    metric = read_metric(
        body,
        metric_name=metric_name,
        with_token=with_token,
        now=services.clock(),
        unique_id=services.new_id(),
    )
    country = tenant.klaviyo.account_country if tenant.klaviyo else ""
    event, lacks_phone = with_phone(metric.attributes, region_of(tenant.settings.default_region, country))
    if with_token:
        event = with_id_token(event, MINTED_LATER, NO_EXPIRY)
    left_out = [*metric.left_out, *([PHONE] if lacks_phone else [])]
    to, notes = _whose(event, metric.omneo_profile_id, tenant, services)
    return {
        "to": to,
        "would_send": {"data": {"type": "event", "attributes": event}},
        "notes": [*notes, *(f"{path} is left out: Klaviyo would not take it." for path in left_out)],
    }


def preview_sync(tenant: Tenant, body: object, services: Services) -> Json:
    """Return `to` (the Omneo profile with its Klaviyo id and email), `would_send` (the body of Klaviyo's create-or-update, None if nothing
    would be sent) and `notes` in plain words. The log notes that personal values were shown. Raises as above.
    """
    id = profile_id_of_target(body)
    with for_a_person():
        profile = services.omneo(tenant).profile_fields(id)
    try:
        plan = planned(profile, tenant, SyncedProfiles.of(services).find(tenant.name, id))
    except CannotSucceedError as error:
        return _nothing(id, str(error))
    if not isinstance(plan, SyncPlan):
        return _nothing(id, EXCLUDED[plan.value])
    logs.write(logging.WARNING, "personal values were shown to the caller of a target", kind="dry-run")
    mapped = plan.mapped
    known = {"klaviyo_profile_id": plan.klaviyo_id, "email": mapped.attributes.get("email")}
    return {
        "to": {"omneo_profile_id": id, **{name: value for name, value in known.items() if value}},
        "would_send": {"data": mapped.resource(plan.klaviyo_id)},
        "notes": [f"{note.name} is left out: {LEFT_OUT[note.reason.value]}" for note in mapped.notes],
    }


def preview_records(body: object, services: Services) -> Json:
    """Return `to` (the data source, by its title) and `would_send` (the records). Raises as `read_records`."""
    asked = read_records(body, id=services.new_id())
    return {"to": {"data_source": asked.data_source}, "would_send": [*asked.records], "notes": []}


def _whose(
    event: Mapping[str, Any], omneo_id: str, tenant: Tenant, services: Services
) -> tuple[Json, list[str]]:
    known = {
        "klaviyo_profile_id": klaviyo_profile_id(event),
        "email": email_of(event),
        "omneo_profile_id": omneo_id,
    }
    to: Json = {name: value for name, value in known.items() if value}
    if list(to) != ["omneo_profile_id"]:
        return to, []
    with for_a_person():
        profile = services.omneo(tenant).profile_fields(omneo_id)
    if profile is None or profile.get("profile_type") == _DELETED:
        return to, ["Omneo has no such profile: the event would become a dead job."]
    if stored := identity_in(profile.get("identities"), tenant.settings.identity_handle):
        return to | {"klaviyo_profile_id": str(stored)}, []
    if address := read_email(profile.get("email")):
        return to | {"email": address}, []
    return to, ["The Omneo profile has no email: Klaviyo is told of it by its Omneo id alone."]


def _nothing(id: str, why: str) -> Json:
    return {"to": {"omneo_profile_id": id}, "would_send": None, "notes": [f"Nothing would be sent: {why}"]}
