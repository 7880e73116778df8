"""Faults."""

from deploy.local.console.page import Page

page = Page("Faults", __name__)


@page.get("/")
def show() -> str:
    """Show the page."""
    return page.render("faults.html")
