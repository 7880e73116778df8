"""People: one person on both sides, their consent with its history and reasons, and the acts of the person and the staff."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

from flask import Response, abort, request, url_for

from deploy.local.console.asking import UnansweredError
from deploy.local.console.here import Here
from deploy.local.console.page import Page, here, see_other
from deploy.local.console.pairing import in_klaviyo, klaviyo_side, omneo_side

MOST_PROFILES = 200
CHANNELS = ("email", "sms")

Json = dict[str, Any]
page = Page("People", __name__)


@page.get("/")
def show() -> str:
    """Show a person, the newest one unless the address names one."""
    search = request.args.get("search", "")
    place = here().place
    people = here().omneo("profiles", tenant=place.tenant, search=search, limit=str(MOST_PROFILES))[
        "profiles"
    ]
    asked = request.args.get("profile", "")
    found = next((row for row in people if row["id"] == asked), None)
    person = found or (None if search else _omneo(here(), asked) if asked else None)
    if asked and not search and person is None:
        abort(404, "Omneo has no such profile any more.")
    person = person or (people[-1] if people else None)
    return page.render("people.html", people=people, person=person, search=search, **_sides(here(), person))


@page.get("/<id>/sides")
def sides(id: str) -> Response:
    """Show both sides anew, or nothing if nothing has changed since `seen`."""
    found = _sides(here(), _omneo(here(), id))
    if found["seen"] == request.args.get("seen"):
        return Response(status=204)
    changed = Response(page.render("_sides.html", id=id, **found))
    changed.headers["HX-Trigger"] = "sides-changed"
    return changed


@page.get("/<id>/why")
def why(id: str) -> str:
    """Show the consent, its history, and the calls of a next sync with their reasons."""
    told = here().admin("GET", f"profiles/{id}/explain?reveal=true")
    problem = told["error"]["message"] if "error" in told else ""
    return page.render("_why.html", id=id, told=told, problem=problem)


@page.post("/<id>/act")
def act(id: str) -> str:
    """Let the person, or the staff, do the act of a button."""
    name = request.form.get("act", "")
    if name not in ACTS:
        abort(400, "There is no such act.")
    person = _omneo(here(), id)
    if person is None:
        abort(404, "Omneo has no such profile any more.")
    try:
        sentence = ACTS[name](here(), person)
    except (UnansweredError, CannotActError) as error:
        return page.render("_problem.html", sentence=str(error))
    return page.render("_acted.html", sentence=sentence)


@page.post("/new")
def new() -> Response:
    """Make a profile in Omneo, as the staff do at a till."""
    fields = {
        name: request.form.get(name, "").strip()
        for name in ("email", "first_name", "last_name", "mobile_phone")
    }
    given = {name: value for name, value in fields.items() if value}
    place = here().place
    _enable_webhooks(here())
    here().omneo("create-profile", {"tenant": place.tenant, **given})
    people = here().omneo("profiles", tenant=place.tenant, limit="1")["profiles"]
    return see_other(url_for("people.show", profile=people[-1]["id"]))


class CannotActError(Exception):
    """The act cannot be done for this person now; the message says why."""


# Their acts, each on the one side where it really happens


def _in_klaviyo(control: str, said: str, **fields: Any) -> Callable[[Here, Json], str]:
    def do(here: Here, person: Json) -> str:
        other = _klaviyo(here, person)
        if other is None:
            raise CannotActError("Klaviyo does not know this person yet. Sync them first.")
        given = fields | ({"channel": _channel()} if control in ("subscribe", "unsubscribe") else {})
        here.klaviyo(control, {"account": here.place.account, "profile": other["id"], **given})
        return f"{said} Klaviyo tells the extension within a second; Omneo hears of it some seconds later."

    return do


def _decide(*, opts_in: bool) -> Callable[[Here, Json], str]:
    def do(here: Here, person: Json) -> str:
        channel = _channel()
        now = f"{datetime.fromtimestamp(time.time(), UTC):%Y-%m-%d %H:%M:%S}"
        comms = {
            f"{channel}_promo": opts_in,
            f"{channel}_optout": not opts_in,
            f"{channel}_consent_updated_at": now,
        }
        return _changed(here, person, {"comms": comms})

    return do


def _change_email(here: Here, person: Json) -> str:
    address = request.form.get("email", "").strip()
    if "@" not in address:
        raise CannotActError("Write the new email address.")
    return _changed(here, person, {"email": address})


def _changed(here: Here, person: Json, fields: Json) -> str:
    enabled = _enable_webhooks(here)
    here.omneo("change-profile", {"tenant": here.place.tenant, "id": person["id"], **fields})
    return f"Changed in Omneo. Its webhook tells the extension, which syncs the profile.{enabled}"


def _sync(here: Here, person: Json) -> str:
    place = here.place
    called = {
        "tenant": place.tenant,
        "trigger": "target.send",
        "handle": "sync",
        "url": f"{place.url}/{place.tenant}/api/v1/targets/klaviyo/upsert-profile-data",
        "template": '{"profile_id": {{ id|json_encode }}}',
        "context": {"id": person["id"]},
    }
    delivery = here.omneo("try-target", called)["deliveries"][-1]
    if delivery["status"] != 202:
        raise CannotActError(f"The extension answered {delivery['status'] or delivery['error']}.")
    return "The sync is queued."


ACTS: Mapping[str, Callable[[Here, Json], str]] = MappingProxyType(
    {
        "subscribe": _in_klaviyo("subscribe", "Subscribed in Klaviyo."),
        "unsubscribe": _in_klaviyo("unsubscribe", "Unsubscribed in Klaviyo."),
        "bounce": _in_klaviyo("bounce", "An email bounced for good.", hard=True),
        "complain": _in_klaviyo("mark-as-spam", "Marked as spam."),
        "opt-in": _decide(opts_in=True),
        "opt-out": _decide(opts_in=False),
        "change-email": _change_email,
        "sync": _sync,
    }
)


def _channel() -> str:
    channel = request.form.get("channel", "email")
    if channel not in CHANNELS:
        raise CannotActError("The channel is email or sms.")
    return channel


def _enable_webhooks(here: Here) -> str:
    """Enable the webhooks that the install has made in Omneo, as a user does in CX Manager, and say so if they were off."""
    done = here.omneo("enable-webhooks", {"tenant": here.place.tenant})
    return " Omneo's webhooks are enabled from now on, as you do it in CX Manager." if done["enabled"] else ""


# The person


def _omneo(here: Here, id: str) -> Json | None:
    rows = here.omneo("profiles", tenant=here.place.tenant, search=id)["profiles"]
    return next((row for row in rows if row["id"] == id), None)


def _klaviyo(here: Here, person: Json) -> Json | None:
    return in_klaviyo(person, here.klaviyo("profiles", account=here.place.account)["profiles"])


def _sides(here: Here, person: Json | None) -> Json:
    if person is None:
        return {"omneo": [], "klaviyo": [], "seen": ""}
    other = _klaviyo(here, person)
    shown = {"omneo": omneo_side(person), "klaviyo": klaviyo_side(other) if other else []}
    return {**shown, "seen": hashlib.sha256(json.dumps(shown).encode()).hexdigest()[:16]}
