"""Live: each call through sandbox and functions as one story."""

from deploy.local.console.page import Page

page = Page("Live", __name__, at="/")


@page.get("/")
def show() -> str:
    """Show the page."""
    return page.render("live.html")
