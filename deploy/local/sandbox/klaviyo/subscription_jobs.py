"""Klaviyo's jobs that subscribe and unsubscribe profiles: the two endpoints and the effect of a job.
`subscription_bodies.py` checks their bodies, `acts.py` makes the changes of a consent.

Klaviyo's pages "Bulk Subscribe Profiles" and "Bulk Unsubscribe Profiles", and recorded behaviour: a new email becomes a
profile only with a list or as history; a profile that is not on the named list is unsubscribed globally.

Assumed (consent-lands-within-three-minutes, subscription-jobs-pass-over):
- The answer comes before the effect, which may be later; a list cannot be deleted meanwhile, because no call does so.
- A row with an id that no profile has, and a row of an unsubscribe job that finds nobody, is passed over.
- An unsubscribe job finds the profile of each channel by that channel's identifier alone.
- The events of history have the time of the job, and `consented_at` is the consent's own time only.
- `method` is "API" for both channels.
- A consent is taken even if it is older than the profile's present consent.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from deploy.local.sandbox.klaviyo import acts, errors
from deploy.local.sandbox.klaviyo.accounts import META_MOVED, Account, Profile, Wish
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.klaviyo.asked import Asked
from deploy.local.sandbox.klaviyo.events import parse_time
from deploy.local.sandbox.klaviyo.importing import unsupported_phones
from deploy.local.sandbox.klaviyo.subscription_bodies import (
    CHANNELS,
    creation_problems,
    deletion_problems,
    unknown_channels,
)
from deploy.local.sandbox.klaviyo.subscriptions import Method
from deploy.local.sandbox.stage.messages import Answer

_ROW = "/data/attributes/profiles/data/{index}"


def create_subscription_job(asked: Asked) -> Answer:
    """`POST /api/profile-subscription-bulk-create-jobs`: 202, and carried out after `job_seconds`."""
    if found := list(creation_problems(asked.document, now=asked.now)):
        return errors.invalid(found)
    rows, prefixes = (
        asked.document["data"]["attributes"]["profiles"]["data"],
        asked.consent.unsupported_phone_prefixes,
    )
    if found := list(unsupported_phones(rows, prefixes, _ROW)):
        return errors.invalid(found)
    if refusal := _refuse(asked):
        return refusal
    account, switches, data = asked.account, asked.consent, asked.document["data"]
    late = 200.0 if asked.is_otherwise("consent-lands-within-three-minutes") else 0.0
    account.schedule.add(
        lambda at: _subscribe_all(account, data, switches, at), after=switches.job_seconds + late
    )
    return Answer(202)


def create_unsubscription_job(asked: Asked) -> Answer:
    """`POST /api/profile-subscription-bulk-delete-jobs`: 202, and carried out after `job_seconds`."""
    if found := list(deletion_problems(asked.document)):
        return errors.invalid(found)
    if refusal := _refuse(asked):
        return refusal
    account, switches, data = asked.account, asked.consent, asked.document["data"]
    account.schedule.add(lambda at: _unsubscribe_all(account, data, switches, at), after=switches.job_seconds)
    return Answer(202)


def named_list(data: Mapping[str, Any]) -> str | None:
    """Return the list that an acceptable job names."""
    related = (data.get("relationships") or {}).get("list")
    return related["data"]["id"] if related else None


def _refuse(asked: Asked) -> Answer | None:
    if problems := list(unknown_channels(asked.document)):
        return errors.error(501, *problems)
    list_id = named_list(asked.document["data"])
    known = list_id is None or list_id in asked.account.lists
    return None if known else errors.missing("list", str(list_id))


def _subscribe_all(account: Account, data: Mapping[str, Any], switches: ConsentSwitches, at: float) -> None:
    attributes, list_id = data["attributes"], named_list(data)
    is_history = bool(attributes.get("historical_import"))
    is_marked = "profile-bears-the-mark" not in switches.otherwise
    method = Method("API", None, attributes.get("custom_source") if is_marked else None)
    for row in attributes["profiles"]["data"]:
        profile = _profile_to_subscribe(account, row, may_create=is_history or list_id is not None)
        if profile is None:
            continue
        for channel, consent in _consents(row["attributes"]):
            wish = Wish(channel, list_id, method)
            if is_history:
                since = parse_time(consent["consented_at"])
                acts.complete(account, profile, wish, switches, at, consented_at=since)
            else:
                acts.subscribe(account, profile, wish, switches, at)


def _profile_to_subscribe(account: Account, row: Mapping[str, Any], *, may_create: bool) -> Profile | None:
    identifiers = {name: row["attributes"].get(name) for name in ("email", "phone_number")}
    known = account.find(row.get("id"), identifiers)
    if known is None and (row.get("id") or not may_create):
        return None
    return account.apply_profile({"id": row.get("id"), "attributes": identifiers}, revision=META_MOVED)


def _unsubscribe_all(account: Account, data: Mapping[str, Any], switches: ConsentSwitches, at: float) -> None:
    list_id = named_list(data)
    for row in data["attributes"]["profiles"]["data"]:
        for channel, _ in _consents(row["attributes"]):
            identifier = "email" if channel == "email" else "phone_number"
            profile = account.owner(identifier, row["attributes"][identifier])
            if profile is not None:
                acts.unsubscribe(account, profile, channel, switches, at, list_id=list_id)


def _consents(attributes: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for (channel, kind), name in CHANNELS.items():
        consent = (attributes["subscriptions"].get(channel) or {}).get(kind)
        if consent is not None:
            yield name, consent
