"""The tools of every page of the console: its name, its routes, its templates, and the parts that it may ask."""

from typing import Any, cast

from flask import Blueprint, Response, current_app, g, render_template, request

from deploy.local.console.here import Here

EXTENSION = "console"
CHOSEN = "tenant"  # the cookie that names the tenant whose pages are shown


class Page(Blueprint):
    """A page: a link in the navigation, a heading, and the routes below `/console/name`, or below `at`."""

    def __init__(self, title: str, module: str, *, at: str | None = None) -> None:
        name = title.lower()
        super().__init__(name, module, url_prefix=f"/console/{name}" if at is None else at)
        self.title = title

    @property
    def entry(self) -> str:
        """The endpoint that the navigation leads to."""
        return f"{self.name}.show"

    def render(self, template: str, **values: Any) -> str:
        """Return the page, or a part of it, as HTML."""
        return render_template(template, page=self, here=here(), **values)


def here() -> Here:
    """Return the parts that the pages may ask about the chosen tenant. Only within a request."""
    if "here" not in g:
        g.here = cast(Here, current_app.extensions[EXTENSION]).of(request.cookies.get(CHOSEN, ""))
    return cast(Here, g.here)


def see_other(location: str) -> Response:
    """Return the answer to a form: a redirect to the page that shows the result."""
    return Response(status=303, headers={"Location": location})
