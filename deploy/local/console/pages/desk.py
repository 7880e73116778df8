"""Desk: the jobs that were given up, and the traffic by metric and hour. Both come from the admin API."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from flask import Response, request, url_for

from deploy.local.console.asking import UnansweredError
from deploy.local.console.page import Page, here, see_other

HOURS = 24
WHAT = ("delivered", "waiting", "dead", "refused")
_A_PAGE = 50
_SAID = {
    "replayed": "The job is queued again. If it dies again, it comes back here.",
    "all": "Every dead job is queued again. Those that die again come back here.",
}

page = Page("Desk", __name__)


@dataclass(frozen=True)
class Bar:
    """The counts of an hour, and the height of each in a chart that is 100 high."""

    at: str
    counts: dict[str, int]
    heights: dict[str, tuple[float, float]]


@dataclass(frozen=True)
class Row:
    """A metric or another target, with its hours, the oldest first."""

    name: str
    target: str
    totals: dict[str, int]
    bars: list[Bar]


@page.get("/")
def show() -> str:
    """Show the desk."""
    return page.render("desk.html", **_shown(), said=_SAID.get(request.args.get("said", "")))


@page.get("/now")
def now() -> str:
    """Show the desk at this moment."""
    return page.render("_desk_now.html", **_shown())


@page.post("/replay")
def replay() -> Response:
    """Queue a job again."""
    _asked("POST", f"dead-jobs/{_id(request.form.get('id', ''))}/replay")
    return see_other(url_for("desk.show", said="replayed"))


@page.post("/replay-all")
def replay_all() -> Response:
    """Queue every dead job again."""
    _asked("POST", "dead-jobs/replay", json={"all": True})
    return see_other(url_for("desk.show", said="all"))


def _shown() -> dict[str, Any]:
    dead = _asked("GET", "dead-jobs", params={"limit": str(_A_PAGE)})
    traffic = _asked("GET", "traffic")
    return {
        "jobs": dead["dead_jobs"],
        "count": dead["count"],
        "rows": chart(traffic),
        "what": WHAT,
    }


def _asked(method: str, path: str, **options: Any) -> Any:
    said = here().admin(method, path, **options)
    if "error" in said:
        raise UnansweredError(said["error"]["message"])
    return said


def _id(text: str) -> str:
    """Return an id that is one segment of a path."""
    return text if text.replace("-", "").replace("_", "").isalnum() and text.isascii() else "none"


def chart(traffic: dict[str, Any]) -> list[Row]:
    """Return the rows of a traffic report as the chart shows them, the busiest first; all have one scale."""
    until = datetime.fromisoformat(traffic["until"]).replace(minute=0, second=0, microsecond=0)
    hours = [(until - timedelta(hours=back)).isoformat() for back in reversed(range(HOURS))]
    by_hour = {
        (row["target"], row["metric"]): {time["at"]: time for time in row["times"]}
        for row in traffic["targets"]
    }
    most = max(
        (sum(time[name] for name in WHAT) for times in by_hour.values() for time in times.values()), default=0
    )
    rows = [
        Row(
            metric or target,
            target if metric else "",
            {name: sum(time[name] for time in times.values()) for name in ("accepted", *WHAT)},
            [_bar(hour, times.get(hour, {}), most) for hour in hours],
        )
        for (target, metric), times in by_hour.items()
    ]
    return sorted(rows, key=lambda row: (-sum(row.totals.values()), row.name))


def _bar(hour: str, time: dict[str, Any], most: int) -> Bar:
    counts = {name: int(time.get(name, 0)) for name in WHAT}
    heights, top = {}, 100.0
    for name, count in counts.items():
        if count:
            # Even one among thousands is seen.
            height = max(4.0, 100.0 * count / most)
            top = max(0.0, top - height)
            heights[name] = (round(top, 1), round(height, 1))
    return Bar(hour, counts, heights)
