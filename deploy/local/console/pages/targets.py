"""Targets: a notification of the catalogue, its template tried while it is typed, sent, and saved as a target in the sandbox Omneo."""

import json
import time
from collections.abc import Mapping
from typing import Any

from flask import abort, request

from deploy.local.console.here import Here
from deploy.local.console.page import Page, here
from deploy.local.console.trial import Trial, tried
from deploy.targets import catalogue
from deploy.targets.catalogue import EXTENSION, Notification, NotInCatalogueError, Platform
from deploy.targets.pushing import carry_out, changes, handle_of, rows_of
from shared.errors import ServiceError

SAMPLE = "sample"  # in place of a profile's id: Jane Doe of the catalogue, who is not in Omneo
MOST_PROFILES = 200
# So long a job's end is looked for, in seconds. An event that Klaviyo had before shows itself by nothing; after the shorter time it is told.
SECONDS, HAD_IT_SECONDS = 120.0, 3.0
_TRIED_BY_HAND = "target.send"  # stands for the event if none starts the notification

Json = dict[str, Any]
page = Page("Targets", __name__)


@page.get("/")
def show() -> str:
    """Show the page for the parameters in its address."""
    platform, notification = _chosen(request.args)
    people = here().omneo("profiles", tenant=here().place.tenant, limit=str(MOST_PROFILES))["profiles"]
    profile = request.args.get("profile") or (people[0]["id"] if people else SAMPLE)
    return page.render(
        "targets.html",
        platforms=[catalogue.platform(name) for name in catalogue.platforms()],
        notifications=[catalogue.notification(name) for name in catalogue.notifications()],
        people=people,
        platform=platform,
        notification=notification,
        profile=profile,
        text=catalogue.template(platform.name, notification.name),
        context=_context(here(), notification, profile),
        condition=json.dumps(notification.condition(platform), indent=2),
        url=_url(here(), platform, notification),
        is_ours=platform.name == EXTENSION,
        handle=handle_of(platform, notification),
    )


@page.get("/context")
def context() -> str:
    """Show the event context of the notification with another profile."""
    _, notification = _chosen(request.args)
    return page.render(
        "_context.html", context=_context(here(), notification, request.args.get("profile") or SAMPLE)
    )


@page.post("/tried")
def try_it() -> str:
    """Show the rendered template, the call to Klaviyo, and the likely faults."""
    platform, notification = _chosen(request.form)
    trial = _trial(platform, notification)
    is_ours = platform.name == EXTENSION
    preview = _preview(here(), trial.body, notification) if trial.body and is_ours else None
    return page.render("_tried.html", trial=trial, preview=preview, platform=platform, is_ours=is_ours)


@page.post("/send")
def send() -> str:
    """Call the target through the sandbox Omneo, and show the answer. From then on, the page follows the job."""
    platform, notification = _chosen(request.form)
    trial, url = _trial(platform, notification), request.form.get("url", "").strip()
    headers = {name: request.form.get(f"header-{name}", "").strip() for name in platform.headers}
    if problem := _unready(trial, url) or _unfilled(platform, headers):
        return page.render("_problem.html", sentence=f"Nothing was sent. {problem}")
    called = {
        "tenant": here().place.tenant,
        "trigger": notification.trigger or _TRIED_BY_HAND,
        "handle": handle_of(platform, notification),
        "url": url,
        "template": request.form["template"],
        "context": json.loads(request.form["context"]),
        "headers": {name: value for name, value in headers.items() if value},
    }
    delivery = here().omneo("try-target", called)["deliveries"][-1]
    answer = delivery["answer"] if isinstance(delivery["answer"], dict) else {}
    unique_id = _unique_id(json.loads(trial.body)) or answer.get("id", "")
    return page.render(
        "_sent.html",
        delivery=delivery,
        job=answer.get("id", "") if platform.name == EXTENSION else "",
        unique_id=unique_id,
        sent_at=delivery["sent_at"],
    )


@page.get("/job")
def job() -> str:
    """Show where the job is, and the event once Klaviyo has it."""
    id, unique_id = request.args.get("id", ""), request.args.get("unique_id", "")
    sent_at = request.args.get("sent_at", 0.0, type=float)
    place = here().place
    told = here().admin("GET", f"jobs/{id}")
    state, why = told.get("state", "queued"), told.get("why") or told.get("reason") or ""
    event = person = None
    if state in ("queued", "done"):
        events = here().klaviyo("events", account=place.account, unique_id=unique_id, limit="1")["events"]
        event = events[0] if events else None
    # Both clocks are this machine's, and the sandbox's own may run ahead of ours, never behind.
    had_it = event is not None and event["received_at"] < sent_at
    waited = time.time() - sent_at
    if event is not None and (not had_it or waited > HAD_IT_SECONDS):
        state = "delivered"
        people = here().klaviyo("profiles", account=place.account, search=event["profile_id"])["profiles"]
        person = people[0] if people else None
    is_over = state in ("delivered", "dead") or waited > SECONDS
    return page.render(
        "_job.html",
        state=state,
        why=why,
        event=event if state == "delivered" else None,
        person=person,
        had_it=had_it,
        is_over=is_over,
        again={"id": id, "unique_id": unique_id, "sent_at": sent_at},
    )


@page.post("/save")
def save() -> str:
    """Create or update target, condition and reaction in the sandbox Omneo, and show the differences."""
    platform, notification = _chosen(request.form)
    url, template = request.form.get("url", "").strip(), request.form.get("template", "")
    if problem := _unready(_trial(platform, notification), url, template):
        return page.render("_problem.html", sentence=f"Nothing was saved. {problem}")
    try:
        tenant = here().tenants.find(here().place.tenant)
        if tenant is None:
            return page.render(
                "_problem.html", sentence="Nothing was saved. The tenant is not there any more."
            )
        omneo = rows_of(here().tenants.services, tenant)
        planned = changes(omneo, platform, notification, url=url, template=template)
        carry_out(omneo, planned)
    except ServiceError as error:
        return page.render("_problem.html", sentence=str(error))
    return page.render(
        "_saved.html",
        changes=planned,
        platform=platform,
        notification=notification,
        handle=handle_of(platform, notification),
    )


# The input of the person


def _chosen(values: Mapping[str, str]) -> tuple[Platform, Notification]:
    try:
        return (
            catalogue.platform(values.get("platform") or EXTENSION),
            catalogue.notification(values.get("notification") or catalogue.notifications()[0]),
        )
    except NotInCatalogueError as error:
        abort(404, str(error))


def _trial(platform: Platform, notification: Notification) -> Trial:
    return tried(request.form.get("template", ""), request.form.get("context", ""), platform, notification)


def _unready(trial: Trial, url: str, template: str = "") -> str:
    """Return the step that is needed before it can be sent or saved, "" if there is none."""
    if trial.fault:
        return "There is no JSON yet: see Rendered."
    if not url.startswith(("http://", "https://")):
        return "Fill in URL: it starts with https:// or http://."
    if found := catalogue.to_fill_in(url):
        return f"Fill in {found} in URL."
    found = catalogue.to_fill_in(template)
    return f"Fill in {found} in Template." if found else ""


def _unfilled(platform: Platform, headers: Mapping[str, str]) -> str:
    """Return which header still stands as the catalogue has it or is none, "" if each can be sent."""
    for name, value in headers.items():
        if value == platform.headers[name]:
            return f"Fill in the header {name}, or empty it."
        if not (value.isascii() and value.isprintable()):
            return f"Write the header {name} in one line, of ASCII alone."
    return ""


def _context(here: Here, notification: Notification, profile: str) -> str:
    """Return the sample of the notification with a profile of Omneo, or with its own where Omneo has no such profile."""
    event = catalogue.sample(notification.name)
    if profile != SAMPLE:
        found = here.omneo("profiles", tenant=here.place.tenant, search=profile)["profiles"]
        if person := next((row for row in found if row["id"] == profile), None):
            event = catalogue.with_profile(event, person, notification)
    return json.dumps(event, indent=2, ensure_ascii=False)


def _url(here: Here, platform: Platform, notification: Notification) -> str:
    if platform.name != EXTENSION:
        return platform.url
    query = f"?{notification.query}" if notification.query else ""
    return f"{here.place.url}/{here.place.tenant}/api/v1/targets/klaviyo/metric{query}"


# The answers of the extension


def _preview(here: Here, body: str, notification: Notification) -> Json:
    """Return the answer of a dry run of the target, and its status. A dry run sends nothing."""
    url = _url(here, catalogue.platform(EXTENSION), notification)
    address = f"{url}{'&' if '?' in url else '?'}dryRun=1"
    headers = {"x-omneo-secret": here.place.webhook_secret, "Content-Type": "application/json"}
    answer = here.ask("POST", address, data=body.encode(), headers=headers)
    told: Json = answer.json()
    if answer.status_code != 200:
        return {"refused": answer.status_code, "why": told.get("error", {}).get("message", "")}
    return {
        "event": json.dumps(told["would_send"]["data"]["attributes"], indent=2, ensure_ascii=False),
        "to": told["to"],
        "notes": told["notes"],
        "person": _person(here, told["to"]),
    }


def _person(here: Here, to: Mapping[str, str]) -> Json | None:
    """Return the profile of the sandbox Klaviyo that has the id or the address, None if it would be a new one."""
    for name, value in to.items():
        people = here.klaviyo("profiles", account=here.place.account, search=value)["profiles"]
        for person in people:
            known = {"klaviyo_profile_id": person["id"], "email": person["attributes"].get("email")}
            known["omneo_profile_id"] = person["attributes"].get("external_id")
            if str(known.get(name)).lower() == value.lower():
                return dict(person)
    return None


def _unique_id(body: Json) -> str:
    from deploy.targets.warnings import event_in
    from shared.values import read_id

    return read_id(event_in(body).get("unique_id")) or ""
