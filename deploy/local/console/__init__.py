"""The console: the pages at `/` of `make run`, where a person sees the traffic of the extension, tries it and breaks
it.

Only `make run` starts it, never `make serve`, and it is never deployed. The gateway leads `/` and `/console/...` to it
if no route of the product matches. It answers only callers on this machine, under the gateway's own address.

The choices. Server-rendered pages with htmx (52 KB) need less than a client framework: React with a router has 150 KB
and a build step, and we would write every view twice, as an API and as a component. Flask and Jinja are here already,
so the console needs no installation. They are loaded after `make run` is ready, so they delay no start. A page is one
document of a few KB, one style sheet and one script, all from this machine. Pico's classless style sheet is 70 KB and
sets its text for reading, not for a dense desk; the style sheet here is a tenth of it. Native elements (`details`,
`dialog`, `output`, `select`, `table`) bring keyboard and screen readers with them, so no widget library is needed. Two
parts are our own, because no library has them: the join of the records of gateway, queue, logs and sandbox to one
story, and the secret words in them.

How to add a page:

1. A module `pages/NAME.py` with `page = Page("Name", __name__)`: the name is the link in the navigation and the page's heading, and its
   routes are written as `@page.get("/")`, which `/console/name/` answers, or `@page.post("/send")`. The route of "/" is the function
   `show`. Its service is `here()`: addresses, keys, and calls of bundle and sandbox.
2. A template `templates/NAME.html` that extends `layout.html` and fills `{% block main %}`; `page.render("NAME.html", ...)` makes it.
   A part of a page, for htmx, is a template that starts with `_`. Own script and style are `static/NAME.js` and `static/NAME.css`, named
   in `{% block head %}`. There is no inline script and no inline style: the policy allows only files from here
   (`csp_nonce` is for a library that writes a style element).
3. Its module's name in `PAGES` of `pages/__init__.py`, at its place in the navigation.
4. A test in `tests/browser/test_console_NAME.py` with the fixture `console` of `tests/browser/conftest.py`.
"""

from deploy.local.console.console import Console

__all__ = ["Console"]
