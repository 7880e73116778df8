"""The report of a rehearsal, as a page in Markdown and as JSON. It holds shapes, statuses, names and codes; no value of anybody's."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy.rehearsal.assumption import Assumption, Verdict
from deploy.rehearsal.assumptions.table import BY_NAME
from deploy.rehearsal.rehearsal import Rehearsed, Result

PAGE, DATA = "rehearsal.md", "rehearsal.json"


def as_json(rehearsed: Rehearsed, *, about: Mapping[str, str]) -> dict[str, Any]:
    """Return everything; `about` says of which run it is."""
    return {
        **about,
        "results": [
            {**result.to_json(), "assumed": BY_NAME[result.name].sentence} for result in rehearsed.results
        ],
        "left_behind": [made.kind for made in rehearsed.left],
    }


def as_page(rehearsed: Rehearsed, *, about: Mapping[str, str]) -> str:
    """Return the page: a table of verdicts, failures first, then the evidence of each."""
    order = (Verdict.FAILS, Verdict.HOLDS, Verdict.UNTRIED)
    results = sorted(rehearsed.results, key=lambda result: order.index(result.verdict))
    lines = ["# Rehearsal", "", *(f"- {name}: {text}" for name, text in about.items()), ""]
    lines += ["| Assumption | Verdict | |", "|---|---|---|"]
    lines += [
        f"| [{one.name}](#{one.name}) | {one.verdict.value} | {_cell(one.because)} |" for one in results
    ]
    if rehearsed.left:
        kinds = ", ".join(made.kind for made in rehearsed.left)
        lines += ["", f"Not removed yet, the next rehearsal tries again: {kinds}."]
    for result in results:
        lines += _section(result, BY_NAME[result.name])
    return "\n".join(lines) + "\n"


def write(folder: Path, rehearsed: Rehearsed, *, about: Mapping[str, str]) -> None:
    """Write both files into the folder, which is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    page, data = as_page(rehearsed, about=about), as_json(rehearsed, about=about)
    (folder / PAGE).write_text(page, encoding="utf-8")
    (folder / DATA).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def _section(result: Result, assumption: Assumption) -> Iterator[str]:
    yield from ("", f"## {result.name}", "", f"{assumption.service.value}: {assumption.sentence}.", "")
    yield f"**{result.verdict.value}**" + (f": {result.because}." if result.because else ".")
    if result.verdict is Verdict.FAILS:
        yield from ("", f"It matters: {assumption.if_wrong}. See `{assumption.place.path}`.")
    if result.evidence:
        yield ""
        yield from (f"- {name}: {_plain(value)}" for name, value in result.evidence.items())
    if result.lines:
        yield from ("", "```", *result.lines, "```")


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(f"`{name}`" for name in value) or "none" if isinstance(value, list) else str(value)


def _cell(text: str) -> str:
    return text.replace("|", r"\|")
