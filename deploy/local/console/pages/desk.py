"""Desk."""

from deploy.local.console.page import Page

page = Page("Desk", __name__)


@page.get("/")
def show() -> str:
    """Show the page."""
    return page.render("desk.html")
