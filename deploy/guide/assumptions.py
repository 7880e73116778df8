"""The tables of `assumptions.md`, written from the rows in `deploy/rehearsal/assumptions/`. The text around them is written by hand."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from deploy.rehearsal.assumption import Assumption, CannotBeTried, Service
from deploy.rehearsal.assumptions.sandbox import SANDBOX
from deploy.rehearsal.assumptions.table import ASSUMPTIONS

PAGE = Path(__file__).with_name("assumptions.md")
BEGIN = "<!-- The tables below are written from the rows: python -m deploy.guide -->"
END = "<!-- The end of the written tables -->"
HEADINGS = ("Assumption", "Assumed", "Where", "If it is wrong", "Settled by")


def with_tables(page: str) -> str:
    """Return the page with the tables between its two comments written anew.

    Raises:
        ValueError: a comment is missing.
    """
    before, _, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"assumptions.md needs these two lines around its tables: {BEGIN} and {END}")
    tables = "\n".join(_sections())
    return f"{before}{BEGIN}\n\n{tables}\n{END}{after}"


def _sections() -> Iterator[str]:
    for service in Service:
        yield from (f"## {service.value}", "")
        yield from _table(row for row in ASSUMPTIONS if row.service is service)
    yield from ("## The sandbox alone", "")
    yield "The public pages name no one way, so the sandbox had to choose one; the extension works with each."
    yield ""
    yield from _table(SANDBOX)


def _table(rows: Iterable[Assumption]) -> Iterator[str]:
    yield _line(HEADINGS)
    yield _line(("---",) * len(HEADINGS))
    for row in rows:
        where = f"`{row.place.path}`, `{row.place.name}`"
        yield _line((f"`{row.name}`", row.sentence, where, row.if_wrong, settled_by(row)))
    yield ""


def settled_by(row: Assumption) -> str:
    """Return how an assumption is settled: by the rehearsal, by a person, or by nobody."""
    if not isinstance(row.tried, CannotBeTried):
        return "`rehearse`"
    by_hand = f". {row.tried.by_hand}" if row.tried.by_hand else ""
    return f"cannot be tried, because {row.tried.because}{by_hand}"


def _line(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
