"""Shows rows and progress to an operator: a table and a bar on a terminal, plain text elsewhere, or JSON.

This module does not know the contents of the rows. Only the commands that use rich load it.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for jq say.")


def show_json(value: Any) -> None:
    """Print the value as JSON."""
    click.echo(json.dumps(value, indent=2))


def show_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table on a terminal; elsewhere only the rows, with a tab between columns."""
    if sys.stdout.isatty():
        from rich.console import Console

        print_table(Console(), headings, rows)
        return
    for row in rows:
        click.echo("\t".join(row))


def print_table(
    console: "Console",
    headings: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    first_styles: Iterable[str] = (),
) -> None:
    """Print a table to the console; `first_styles` are the styles of the cells in the first column."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*headings, box=box.SIMPLE_HEAD)
    styles = [*first_styles]
    for place, (first, *others) in enumerate(rows):
        # Text, because a tenant's words must not be read as markup.
        style = styles[place] if place < len(styles) else ""
        table.add_row(Text(first, style), *(Text(cell) for cell in others))
    console.print(table)


def progress() -> "Progress":
    """Return a bar on standard error. Without a terminal, it shows nothing.

    Each task has a field `beside`, the text that stands beside its bar. The bar is drawn when `refresh` is called.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[beside]}", markup=False),
        console=Console(file=sys.stderr),
        auto_refresh=False,
        disable=not sys.stderr.isatty(),
    )
