"""Rows are a table on a terminal, plain elsewhere, and JSON when asked for."""

import io

import pytest
from rich.console import Console

from deploy.tenants.tables import print_table, show_rows


def on_a_terminal(**options: object) -> str:
    shown = io.StringIO()
    console = Console(file=shown, force_terminal=True, width=60, color_system="standard")
    rows = [("acme", "connected"), ("[red]beta", "not installed")]
    print_table(console, ("Tenant", "Klaviyo"), rows, **options)  # type: ignore[arg-type]  # by name
    return shown.getvalue()


def test_a_terminal_shows_headings_and_rows_as_they_were_written() -> None:
    lines = on_a_terminal().splitlines()
    assert any("Tenant" in line and "Klaviyo" in line for line in lines)
    assert any("acme" in line and "connected" in line for line in lines)
    assert any("[red]beta" in line for line in lines), "what a tenant wrote is no markup"


def test_the_first_column_has_the_style_of_its_row() -> None:
    shown = on_a_terminal(first_styles=["green", "red"])
    assert "\x1b[32macme" in shown
    assert "\x1b[31m[red]beta" in shown


def test_elsewhere_there_is_a_tab_between_columns_and_no_heading(capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(("Tenant", "Klaviyo"), [("acme", "connected")])
    assert capsys.readouterr().out == "acme\tconnected\n"
