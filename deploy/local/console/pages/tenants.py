"""Tenants: all tenants of the store. For the shown one: its state, its settings and secrets, and its install, uninstall
and resync in the sandbox. The tenant that a person chooses here is shown on the other pages too.
"""

from typing import Any

from flask import abort, request, url_for
from werkzeug.wrappers import Response

from deploy.local.console.asking import UnansweredError
from deploy.local.console.here import Here
from deploy.local.console.page import CHOSEN, Page, here, see_other
from deploy.local.console.settings_form import CannotSaveError, changes, fields

STATES = ("pause", "resume", "cancel")
RUNNING = "running"
SEVERITIES = {"ok": "good", "warning": "warn", "critical": "bad"}

Json = dict[str, Any]
page = Page("Tenants", __name__)


@page.get("/")
def show() -> str:
    """Show the tenants, and the chosen one with all that is known of it."""
    return _whole("")


@page.post("/choose")
def choose() -> str | Response:
    """Show another tenant from now on, on all pages; its installation key is asked for the first time."""
    name, key = request.form.get("name", ""), request.form.get("key", "").strip()
    tenants = here().tenants
    if name not in tenants.names():
        abort(404, "There is no such tenant any more.")
    if not tenants.is_open(name):
        if refused := _why_not(here(), name, key):
            return _whole(refused)
        tenants.open(name, key)
    _bring_into_sandbox(here(), name)
    answer = see_other(url_for("tenants.show"))
    answer.set_cookie(CHOSEN, name, path="/console", httponly=True, samesite="Strict")
    return answer


@page.get("/status")
def status() -> str:
    """Show anew how the tenant is."""
    return page.render("_status.html", **_status(here()))


@page.post("/settings")
def save() -> str:
    """Save the changed values, all or nothing."""
    shown = _settings(here())
    try:
        wanted = changes(
            here().admin("GET", "settings/schema"), here().admin("GET", "settings"), request.form
        )
    except CannotSaveError as error:
        return page.render("_settings.html", **_with(shown, request.form), problem=str(error), said="")
    if not wanted:
        return page.render("_settings.html", **shown, problem="", said="Nothing differs.")
    told = here().admin("PUT", "settings", json=wanted)
    if "error" in told:
        return page.render(
            "_settings.html", **_with(shown, request.form), problem=told["error"]["message"], said=""
        )
    return page.render("_settings.html", **_settings(here()), problem="", said=f"Saved: {', '.join(wanted)}.")


@page.post("/secrets/<id>/end")
def end_secret(id: str) -> str:
    """End an older webhook secret."""
    told = here().admin("PUT", "settings", json={"end_webhook_secrets": [id]})
    problem = told["error"]["message"] if "error" in told else ""
    return page.render("_secrets.html", **_settings(here()), problem=problem)


@page.get("/install")
def install() -> Response:
    """Lead to the install's real pages, by a link that starts one without the installation key."""
    told = here().admin("POST", "install-link", json={})
    if "error" in told:
        abort(409, told["error"]["message"])
    return see_other(told["url"])


@page.post("/uninstall")
def uninstall() -> str:
    """Uninstall: remove the webhooks on both sides, revoke and forget the tokens."""
    told = here().admin("DELETE", "install")
    left = ", ".join(told.get("left_behind", []))
    said = told["error"]["message"] if "error" in told else f"Uninstalled. Left behind: {left or 'nothing'}."
    return page.render("_installed.html", said=said, **_status(here()), **_settings(here()))


@page.post("/resync")
def resync() -> str:
    """Begin to send the whole base to Klaviyo."""
    told = here().admin("POST", "resync", json={})
    if "error" in told:
        return page.render("_problem.html", sentence=told["error"]["message"])
    return _run(here(), told["id"])


@page.get("/resync/<id>")
def progress(id: str) -> str:
    """Show how a run stands."""
    return _run(here(), id)


@page.post("/resync/<id>/<state>")
def change_run(id: str, state: str) -> str:
    """Pause, resume or cancel a run."""
    if state not in STATES:
        abort(404, "A run is paused, resumed or cancelled.")
    told = here().admin("POST", f"resync/{id}/{state}")
    if "error" in told:
        return page.render("_problem.html", sentence=told["error"]["message"])
    return _run(here(), id)


def _whole(refused: str) -> str:
    return page.render(
        "tenants.html", every=_every(here()), refused=refused, **_status(here()), **_settings(here())
    )


def _every(here: Here) -> list[Json]:
    """Return a row for each tenant: its name, its Klaviyo account, and whether it is shown or must be opened by its key."""
    rows = []
    for name in here.tenants.names():
        if tenant := here.tenants.find(name):
            account = tenant.klaviyo.account_id if tenant.klaviyo and tenant.is_connected else ""
            rows.append({"name": name, "account": account, "is_open": here.tenants.is_open(name)})
    return rows


def _why_not(here: Here, name: str, key: str) -> str:
    """Return why the admin API does not take the key, "" if it does."""
    if not (key and key.isascii() and key.isprintable()):
        return f"Write the installation key of {name}: `create` has printed it, and `rotate --installation-key` makes a new one."
    told = here.admin("GET", "settings", tenant=name, key=key)
    return f"{name}: {told['error']['message']}" if "error" in told else ""


def _bring_into_sandbox(here: Here, name: str) -> None:
    """Let the sandbox Omneo know the tenant by the credentials that are stored, and the sandbox Klaviyo have an account for it, where they do not."""
    tenant = here.tenants.find(name)
    try:
        here.omneo("profiles", tenant=name, limit="1")
    except UnansweredError:
        if tenant is not None:
            secret = tenant.omneo_signing_secrets[0].value.get_secret_value()
            known = {"name": name, "token": tenant.omneo_token.get_secret_value(), "signing_secret": secret}
            here.omneo("seed", {"tenants": [known]})
    if tenant is not None and not tenant.klaviyo_account_id:
        account = f"{name.replace('-', '').capitalize()}Account"[
            :6
        ]  # six letters and digits, as Klaviyo's are
        here.klaviyo("seed", {"accounts": [{"account": account, "organization_name": name}]})


def _run(here: Here, id: str) -> str:
    told = here.admin("GET", f"resync/{id}")
    if "error" in told:
        return page.render("_problem.html", sentence=told["error"]["message"])
    return page.render("_resync.html", run=told)


def _status(here: Here) -> Json:
    told = here.admin("GET", "status")
    if "error" in told:
        abort(502, told["error"]["message"])
    return {"status": told, "severities": SEVERITIES, "run": told["run"]}


def _settings(here: Here) -> Json:
    settings = here.admin("GET", "settings")
    schema = here.admin("GET", "settings/schema")
    if "error" in settings or "error" in schema:
        abort(502, settings.get("error", schema.get("error"))["message"])
    secrets = [
        (f"Older {title[0].lower()}{title[1:]}" if is_ended else title, row, is_ended)
        for name, title, can_end in (
            ("webhook_secrets", "Webhook secret", True),
            ("omneo_signing_secrets", "Omneo's signing secret", False),
        )
        for place, row in enumerate(settings[name])
        for is_ended in [can_end and place > 0]
    ]
    # The status is a report of the last minute, and the settings are as they are now: only an account has a country or a zone.
    connected = any(settings["account"].values())
    return {"fields": fields(schema, settings), "secrets": secrets, "connected": connected}


def _with(shown: Json, form: Any) -> Json:
    """Return the form as it was filled in, so that nobody types it twice."""
    typed = [(field, form.get(field.name, field.value)) for field in shown["fields"]]
    return {**shown, "typed": {field.name: value for field, value in typed}}
