"""The pages of the console, a module each. Their order is that of the navigation."""

from importlib import import_module

from deploy.local.console.page import Page

PAGES = ("live", "targets", "flows", "people", "tenants", "desk", "faults")


def pages() -> list[Page]:
    """Return the pages in the order of the navigation."""
    return [import_module(f"{__name__}.{name}").page for name in PAGES]
