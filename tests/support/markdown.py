"""The parts of a Markdown page: its links, anchors, code and tables.

It knows only as much of Markdown as our own pages use.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

_FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^ {4}.*$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+)$", re.MULTILINE)
_BESIDE_A_PIPE = re.compile(r"\s*(?<!\\)\|\s*")


@dataclass(frozen=True)
class Page:
    """A page. `path` is where it lies: relative links begin there."""

    path: Path
    text: str

    @classmethod
    def read(cls, path: Path) -> "Page":
        """Read a page."""
        return cls(path, path.read_text(encoding="utf-8"))

    @cached_property
    def links(self) -> list[str]:
        """The targets of its links, those to other sites included."""
        return _LINK.findall(_SPAN.sub("", self._prose))

    @cached_property
    def anchors(self) -> set[str]:
        """The names that a link may have behind `#`, as GitHub makes them from headings."""
        found: dict[str, int] = {}
        for heading in _HEADING.findall(self._prose):
            slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
            found[slug] = found.get(slug, 0) + 1
        return {f"{slug}-{n}" if n else slug for slug, count in found.items() for n in range(count)}

    @cached_property
    def code(self) -> list[str]:
        """Its code spans, and the lines of its code blocks; a line that ends with a backslash goes on with the next."""
        blocks = [*_FENCED.findall(self.text), *_INDENTED.findall(_FENCED.sub("", self.text))]
        lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
        return [*_SPAN.findall(self._prose), *(line.strip() for line in lines)]

    def table(self, first_heading: str) -> list[list[str]]:
        """Return the cells of each row of every table whose first heading is this."""
        tables = re.findall(
            rf"^\| {re.escape(first_heading)} \|.*\n\|[-| ]+\|\n((?:\|.*\n)+)", self.text, re.MULTILINE
        )
        return [_BESIDE_A_PIPE.split(row.strip())[1:-1] for rows in tables for row in rows.splitlines()]

    def names(self, first_heading: str) -> list[str]:
        """Return the code spans in the first cells of such a table."""
        return [name for row in self.table(first_heading) for name in _SPAN.findall(row[0])]

    @cached_property
    def _prose(self) -> str:
        return _INDENTED.sub("", _FENCED.sub("", self.text))


def pages(folder: Path) -> Iterator[Page]:
    """Yield every page below the folder, in order, without hidden folders."""
    for path in sorted(folder.rglob("*.md")):
        if not any(part.startswith(".") for part in path.relative_to(folder).parts):
            yield Page.read(path)
