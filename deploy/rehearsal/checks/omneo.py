"""Tries the assumptions about Omneo: its reads and lists, its refusals, identities, tokens, interactions and webhooks.

Reads are of the profile that the operator names. Two equal interactions stay on it: Omneo has no public call that removes one.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from deploy.rehearsal import made
from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.stage import Stage
from shared.errors import NotFoundError, RefusedError, UnsureError, WaitError
from shared.klaviyo.resources import omneo_webhook_path
from shared.profiles.deleted import OMNEO_LAGS

_HANDLE = "klaviyo-rehearsal"
_UNANSWERED = "Omneo's answer could not be taken for its own"

Row = Mapping[str, Any]


def identity_mints_token(stage: Stage) -> Answer:
    """Ask for a token by the profile's Klaviyo id, and check that the token belongs to the profile."""
    handle = stage.tenant.settings.identity_handle
    identifier = _identity(stage, handle)
    if not identifier:
        return untried("the profile has no identity of Klaviyo's. Let it be synced once, and try again")
    try:
        answer = stage.omneo.mint({"id": identifier, "id_handle": handle})
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return fails("Omneo refuses to mint by identity")
    claims = _claims(answer["data"]["token"])
    if "pid" in claims:
        stage.saw("the token names the profile", claims["pid"] == stage.profile_id)
        return judged(claims["pid"] == stage.profile_id, "the token is not the profile's")
    return holds("the token does not say whose it is")


def token_expires_in_unix_seconds(stage: Stage) -> Answer:
    """Ask for a token, and look at its `exp`."""
    exp = stage.omneo.mint({"id": stage.profile_id})["data"].get("exp")
    if isinstance(exp, bool) or not isinstance(exp, int | float):
        return fails("`exp` is no number")
    left = exp - stage.now().timestamp()
    is_so = -60 < left < timedelta(days=366).total_seconds()
    if is_so:
        stage.saw("seconds that it lives", float(left))
    return judged(is_so, "`exp` is no time in Unix seconds that is near")


def unknown_identity_mints_nothing(stage: Stage) -> Answer:
    """Ask for a token of nobody."""
    handle = stage.tenant.settings.identity_handle
    try:
        stage.omneo.mint({"id": stage.name("nobody"), "id_handle": handle})
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return judged(error.status in (404, 422), "the refusal is neither 404 nor 422")
    except UnsureError:
        stage.saw("status", 404)
        return holds("the 404 may be a gateway's as well")
    return fails("a token is given")


def lists_by_time_made(stage: Stage) -> Answer:
    """Read a page of profiles that were made since the profile was."""
    made_at = _profile(stage).get("created_at")
    since = datetime.fromisoformat(str(made_at)).replace(tzinfo=stage.now().tzinfo)
    page = stage.omneo.profiles_page(1, made_since=since)
    times = [str(row.get("created_at")) for row in page.rows]
    stage.saw("profiles on the page", len(times))
    if times != sorted(times):
        return fails("the page is not in the order of `created_at`")
    if any(time < str(made_at) for time in times):
        return fails("the filter by `created_at` lets older profiles through")
    if not times:
        return fails("the profile itself is not found")
    later = stage.omneo.profiles_page(1, made_since=since + timedelta(seconds=1))
    is_left_out = all(row.get("id") != stage.profile_id for row in later.rows)
    if not is_left_out:
        return fails("the filter by `created_at` lets older profiles through")
    return holds("whether profiles of one second keep their order was not tried")


def email_filter_ignores_case(stage: Stage) -> Answer:
    """Search for the profile by its email in the other case."""
    email = _profile(stage).get("email")
    if not isinstance(email, str) or email == email.swapcase():
        return untried("the profile has no email with letters. Name another one")
    rows = stage.omneo.profiles_by_email(email.swapcase())["data"]
    return judged(any(row.get("id") == stage.profile_id for row in rows), "the profile is not found")


def missing_profile_is_named(stage: Stage) -> Answer:
    """Read a profile that is not there."""
    try:
        stage.omneo.profile_row(str(uuid.UUID(int=0)))
    except UnsureError:
        return fails("the 404 says no more than a gateway's would")
    except NotFoundError:
        return holds()
    except (RefusedError, WaitError) as error:
        stage.saw("status", error.status or 0)
        return fails("it is not a 404 of Omneo's own")
    return fails("a profile that is not there is shown")


def empty_list_is_200(stage: Stage) -> Answer:
    """Search for an email that nobody has."""
    try:
        body = stage.omneo.profiles_by_email(f"{stage.name('nobody')}@example.com")
    except (RefusedError, WaitError) as error:
        stage.saw("status", error.status or 0)
        return fails("a list that finds nobody is no 200")
    return judged(isinstance(body, dict) and body.get("data") == [], "`data` is no empty list")


def refusal_names_fields(stage: Stage) -> Answer:
    """Ask for an interaction without its required fields."""
    try:
        stage.omneo.add_interaction({"profile_id": stage.profile_id})
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        stage.saw("a field is named", bool(error.field))
        return judged(error.status == 422 and bool(error.field), "it is no 422 with `errors` by field")
    except WaitError as error:
        stage.saw("status", error.status or 0)
        return fails(_UNANSWERED)
    return fails("it is accepted")


def equal_interactions_are_two(stage: Stage) -> Answer:
    """Add the interaction of a consent event twice."""
    body = {
        "profile_id": stage.profile_id,
        "action": "reach",
        "channel": "email",
        "signal": 0,
        "name": "Omneo Rehearsal",
        "namespace": stage.tenant.settings.namespace,
        "description": "Made by a rehearsal.",
        "interacted_at": f"{stage.now():%Y-%m-%d %H:%M:%S}",
        "meta": {"rehearsal": stage.run},
    }
    ids = []
    for _ in range(2):
        try:
            ids.append(stage.omneo.add_interaction(body)["data"].get("id"))
        except RefusedError as error:
            stage.saw("status", error.status or 0)
            first = "the action `reach` is refused, or another field"
            return fails("a second, equal interaction is refused" if ids else first)
    return judged(ids[0] != ids[1], "Omneo answers both with one id")


def webhooks_are_listed_by_namespace(stage: Stage) -> Answer:
    """Make a disabled webhook in a new namespace, and list that namespace."""
    namespace = stage.note(made.OMNEO_WEBHOOKS, stage.name("webhooks"))
    base = stage.services.settings.public_url
    address = f"{base}{omneo_webhook_path(stage.tenant.name)}/{namespace}"
    stage.omneo.create_webhook("profile.deleted", address, namespace)
    body = stage.omneo.webhook_rows(namespace)
    rows = body["data"]
    stage.saw_names("fields of the list", [*body])
    stage.saw_names("fields of a webhook", [*(rows[0] if rows else {})])
    if any(row.get("namespace") != namespace for row in rows):
        return fails("the list shows other namespaces too")
    if len(rows) != 1:
        return fails("the list does not show the webhook")
    if rows[0].get("is_active"):
        return fails("a webhook that was made disabled is enabled")
    return judged("next" in (body.get("links") or {}), "the list has no `links.next`")


def token_says_when_it_expires(stage: Stage) -> Answer:
    """Have the token verified."""
    body = stage.omneo.verified()
    return judged(
        isinstance(body, dict) and isinstance(body.get("data", body), dict) and _expires(body),
        "the answer has no `expires_at`: the doctor cannot warn",
    )


def profile_shows_identities(stage: Stage) -> Answer:
    """Read the profile, and look for its identities."""
    rows = _profile(stage).get("identities")
    if not isinstance(rows, list):
        return fails("the profile has no list of identities")
    if rows:
        stage.saw_names("fields of an identity", [*rows[0]])
    return holds()


def taken_identity_is_refused(stage: Stage) -> Answer:
    """Give an identity of one new profile to another."""
    holder, other = stage.omneo_profile("holder"), stage.omneo_profile("taker")
    identifier = stage.name("identity")
    stage.omneo.create_identity(holder, handle=_HANDLE, identifier=identifier)
    try:
        stage.omneo.create_identity(other, handle=_HANDLE, identifier=identifier)
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return judged(error.status == 422, "the refusal has another status than 422")
    return fails("two profiles may hold one identity, or it has moved to the other")


def deleted_profile_is_gone(stage: Stage) -> Answer:
    """Delete a new profile, and read it."""
    id = stage.omneo_profile("deleted")
    stage.omneo.delete_profile(id)

    def gone() -> bool | None:
        profile = stage.omneo.profile(id)
        return True if profile is None or not profile.lives else None

    within = OMNEO_LAGS.total_seconds()
    found = stage.until(gone, within=within)
    if found is None:
        return fails("ten seconds later the profile is still shown as one that lives")
    stage.saw("seconds until it was gone", found[1].seconds)
    return holds()


def _profile(stage: Stage) -> Row:
    row = stage.omneo.profile_row(stage.profile_id)["data"]
    return row if isinstance(row, dict) else {}


def _identity(stage: Stage, handle: str) -> str:
    for row in _profile(stage).get("identities") or []:
        if row.get("handle") == handle:
            return str(row.get("identifier") or "")
    return ""


def _claims(token: object) -> Row:
    try:
        middle = str(token).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(middle + "=" * (-len(middle) % 4)))
    except (ValueError, IndexError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _expires(body: Row) -> bool:
    try:
        datetime.fromisoformat(str(body.get("data", body)["expires_at"]))
    except (ValueError, KeyError):
        return False
    return True
