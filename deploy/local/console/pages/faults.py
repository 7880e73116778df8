"""Faults: breaks either side for the next calls, or until it is mended."""

from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request, url_for

from deploy.local.console.page import Page, here, see_other

UNTIL_MENDED = 1_000_000  # calls
SIDES = ("Klaviyo", "Omneo")
_MOST_SECONDS = 120.0
_MOST_CALLS = 10_000


@dataclass(frozen=True)
class Kind:
    """A kind of fault: its name on the page, the order to the sandbox, and its description."""

    name: str
    order: dict[str, Any]
    means: str


KINDS = {
    kind.name: kind
    for kind in (
        Kind("status", {"kind": "status"}, "an answer with this status"),
        Kind("HTML", {"kind": "html403"}, "a page of the edge in front of the service, with the status 403"),
        Kind("slow", {"kind": "slow"}, "the true answer, after so many seconds"),
        Kind("reset", {"kind": "reset"}, "the connection is reset; the call is not carried out"),
        Kind(
            "lost answer",
            {"kind": "reset", "takes_effect": True},
            "the call is carried out, but its answer never arrives",
        ),
    )
}
# Which calls, by method and path as the sandbox has them; "" is every call.
CALLS: dict[str, dict[str, str]] = {
    "Klaviyo": {
        "every call": "",
        "events": "POST /api/events",
        "profiles": "* /api/profile*",
        "records": "* /api/data-source*",
        "tokens": "POST /oauth/token",
    },
    "Omneo": {
        "every call": "",
        "profiles": "* */api/v3/profiles*",
        "rewards": "* */api/v3/rewards*",
        "interactions": "* */api/v3/interactions*",
    },
}
_SAID = {
    "broken": "The fault is ordered: the next calls that it means go wrong.",
    "mended": "Both sides are mended: every call goes well.",
}

page = Page("Faults", __name__)


@page.get("/")
def show() -> str:
    """Show the faults that are on, and the form that adds one."""
    return page.render(
        "faults.html",
        kinds=KINDS.values(),
        sides=SIDES,
        calls=CALLS,
        broken=_broken(),
        said=_SAID.get(request.args.get("said", "")),
    )


@page.get("/now")
def now() -> str:
    """Show the faults that are on at this moment."""
    return page.render("_faults.html", broken=_broken())


@page.post("/break")
def break_() -> Response:
    """Order a fault."""
    side, kind = _chosen("side", SIDES), KINDS[_chosen("fault", KINDS)]
    called = request.form.get("calls", "every call")
    if called not in CALLS[side]:
        abort(400, f"{side} has no calls named {called!r}: choose one of {', '.join(CALLS[side])}.")
    until_mended = request.form.get("until") == "mended"
    order = {
        **kind.order,
        "next": UNTIL_MENDED
        if until_mended
        else int(_number("count", "Next calls", 1, _MOST_CALLS, whole=True)),
        "match": CALLS[side][called] or None,
    }
    if kind.name == "status":
        order["status"] = int(_number("status", "Status", 400, 599, whole=True))
    if kind.name == "slow":
        order["seconds"] = _number("seconds", "Seconds", 0.1, _MOST_SECONDS, whole=False)
    _control(side)("fail", order)
    return see_other(url_for("faults.show", said="broken"))


@page.post("/mend")
def mend() -> Response:
    """Let every call go well on both sides."""
    for side in SIDES:
        _control(side)("fail", {"next": 0})
    return see_other(url_for("faults.show", said="mended"))


def _control(side: str) -> Any:
    return here().klaviyo if side == "Klaviyo" else here().omneo


def _broken() -> list[dict[str, Any]]:
    """Return the faults that are still to come: side, kind, which calls and how many."""
    rows = []
    for side in SIDES:
        for fault in _control(side)("faults")["faults"]:
            named = next((name for name, match in CALLS[side].items() if match == (fault["match"] or "")), "")
            rows.append(
                {
                    "side": side,
                    "what": _what(fault),
                    "calls": named or fault["match"],
                    # Some of those until it is mended may be used up.
                    "left": None if fault["left"] > _MOST_CALLS else fault["left"],
                }
            )
    return rows


def _what(fault: dict[str, Any]) -> str:
    for kind in KINDS.values():
        told = {"takes_effect": False, **kind.order}
        if all(fault[name] == value for name, value in told.items()):
            more = {"status": fault["status"], "slow": f"{fault['seconds']:g} s"}.get(kind.name, "")
            return f"{kind.name} {more}".strip()
    return str(fault["kind"])


def _chosen(name: str, among: Any) -> str:
    value = request.form.get(name, "")
    if value not in among:
        abort(400, f"Choose a {name}: {', '.join(among)}.")
    return value


def _number(name: str, label: str, least: float, most: float, *, whole: bool) -> float:
    try:
        value = float(request.form.get(name, ""))
    except ValueError:
        value = float("nan")
    if not least <= value <= most or (whole and value != int(value)):
        abort(400, f"{label} must be a {'whole ' if whole else ''}number from {least:g} to {most:g}.")
    return value
