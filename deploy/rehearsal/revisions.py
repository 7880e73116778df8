"""The same rehearsal under another revision of Klaviyo's API, and the differences in verdicts and answers, by operation."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from deploy.rehearsal.comparing import Difference, compared
from deploy.rehearsal.recording import Recorder
from deploy.rehearsal.rehearsal import Order, Rehearsed, Result, rehearse
from shared.services import Services
from shared.tenants.tenants import Tenant

PAGE, DATA = "revision.md", "revision.json"


@dataclass(frozen=True)
class Revision:
    """A run under another revision, beside the usual one: which verdicts are others (name, before, after), and which answers are."""

    revision: str
    rehearsed: Rehearsed
    verdicts: tuple[tuple[str, str, str], ...]
    differences: tuple[Difference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as the report keeps it."""
        return {
            "revision": self.revision,
            "verdicts": [{"name": name, "usual": was, "here": here} for name, was, here in self.verdicts],
            "differences": [
                {"operation": row.operation, "place": row.place, "usual": row.one, "here": row.other}
                for row in self.differences
            ],
        }

    def lines(self) -> Iterator[str]:
        """Yield it in words, a line each."""
        if not (self.verdicts or self.differences):
            yield f"Under revision {self.revision} every answer has the form that it has under the usual one."
            return
        yield f"Under revision {self.revision}:"
        yield from (f"{name}: {was} became {here}" for name, was, here in self.verdicts)
        yield from map(str, self.differences)


def rehearse_all(
    tenant: Tenant,
    order: Order,
    services: Services,
    *,
    record: Path | None = None,
    revision: str = "",
    tell: Callable[[Result], None],
    ended: Callable[[Rehearsed], None] = lambda rehearsed: None,
) -> tuple[Rehearsed, Revision | None]:
    """Rehearse the order. If another revision is named, rehearse once more under it, without reports on the way.

    The scrubbed answers under the usual revision go into the folder `record`, even if the rehearsal breaks off. `ended`
    gets that run before the other one begins.

    Raises:
        BusyError: another rehearsal of the tenant is under way.
        ServiceError: Klaviyo or Omneo cannot be reached at all.
    """
    recorder = Recorder()
    try:
        usual = rehearse(tenant, order, services, tell=tell, listeners=[recorder.hear])
    finally:
        if record is not None:
            recorder.write(record)
    ended(usual)
    if not revision:
        return usual, None
    again = Recorder()
    other = rehearse(
        tenant,
        replace(order, revision=revision, resume=False),
        services,
        tell=lambda result: None,
        listeners=[again.hear],
    )
    was = {result.name: result.verdict.value for result in usual.results}
    verdicts = tuple(
        (result.name, was[result.name], result.verdict.value)
        for result in other.results
        if result.verdict.value != was[result.name]
    )
    return usual, Revision(revision, other, verdicts, tuple(compared(recorder.answers, again.answers)))


def write(folder: Path, revision: Revision, *, about: Mapping[str, str]) -> None:
    """Write a page and JSON into the folder, which is made if needed."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["# Another revision", "", *(f"- {name}: {text}" for name, text in about.items()), ""]
    first, *others = revision.lines()
    lines += [first, "", *(f"- `{line}`" for line in others)]
    (folder / PAGE).write_text("\n".join(lines).rstrip() + "\n", encoding="utf-8")
    data = {**about, "other": revision.to_json()}
    (folder / DATA).write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")
