"""Flows: the body of a flow's reward webhook to be pasted into Klaviyo, and the flow run in the sandbox."""

import json
from typing import Any

from flask import request

from deploy.local.console.asking import UnansweredError
from deploy.local.console.flow_body import CannotFillInError, Reward, body
from deploy.local.console.here import Here
from deploy.local.console.page import Page, here

FLOW = "console"  # one flow of the sandbox, which each run sets up anew
MOST_PROFILES = 200
FIRST = Reward(definition="1", id="birthday-2027", amount="20")
EVENT = {"reward_id": "order-1001", "reward_amount": 20}

Json = dict[str, Any]
page = Page("Flows", __name__)


@page.get("/")
def show() -> str:
    """Show the form, filled in for the reward that is there first."""
    place = here().place
    definitions = here().omneo("reward-definitions", tenant=place.tenant)["reward_definitions"]
    people = here().klaviyo("profiles", account=place.account, limit=str(MOST_PROFILES))["profiles"]
    first = Reward(str(definitions[0]["id"]) if definitions else "1", FIRST.id, "", FIRST.amount)
    return page.render(
        "flows.html",
        definitions=definitions,
        people=people,
        url=_url(here()),
        filled=first,
        body=body(first),
        event=json.dumps(EVENT, indent=2),
    )


@page.post("/body")
def fill_in() -> str:
    """Show the body as the form says it."""
    try:
        text, problem = body(_reward()), ""
    except CannotFillInError as error:
        text, problem = "", str(error)
    return page.render("_flow_body.html", body=text, problem=problem)


@page.post("/run")
def run() -> str:
    """Run the flow for a profile of the sandbox Klaviyo, and show the request and the answer."""
    place = here().place
    try:
        event = json.loads(request.form.get("event") or "{}")
    except ValueError as error:
        return page.render("_problem.html", sentence=f"Event is no JSON: {error}")
    if not isinstance(event, dict):
        return page.render("_problem.html", sentence="Event is an object of properties, as in {…}.")
    flow = {
        "account": place.account,
        "url": _url(here()),
        "headers": {"x-omneo-secret": place.webhook_secret},
        "body": request.form.get("body", ""),
        "flow_id": FLOW,
    }
    profile = request.form.get("profile", "")
    asked = {"account": place.account, "flow_id": FLOW, "profile_id": profile, "event": event}
    try:
        here().klaviyo("flows", flow)
        done = here().klaviyo("run-flow", asked)
    except UnansweredError as error:
        return page.render("_problem.html", sentence=str(error))
    return _shown(done["id"])


@page.get("/run")
def look() -> str:
    """Show how a run stands."""
    return _shown(request.args.get("id", ""))


def _shown(id: str) -> str:
    place = here().place
    runs = here().klaviyo("flow-runs", account=place.account, bodies="1")["runs"]
    done = next((row for row in runs if row["id"] == id), None)
    if done is None:
        return page.render("_problem.html", sentence="The sandbox Klaviyo knows no such run any more.")
    answer = done["attempts"][-1]["answer"] if done["attempts"] else None
    reward = _reward_of(here(), answer)
    return page.render("_flow_run.html", run=done, answer=answer, reward=reward)


def _reward_of(here: Here, answer: object) -> Json | None:
    """Return the reward that the answer names, as Omneo has it."""
    id = answer.get("reward_id") if isinstance(answer, dict) else None
    rewards = here.omneo("rewards", tenant=here.place.tenant)["rewards"] if id else []
    return next((row for row in rewards if row["id"] == id), None)


def _reward() -> Reward:
    names = ("definition", "id", "id_property", "amount", "amount_property", "expires_at", "timezone")
    return Reward(**{name: request.form.get(name, "") for name in names})


def _url(here: Here) -> str:
    return f"{here.place.url}/{here.place.tenant}/api/v1/webhooks/klaviyo/rewards"
