"""The console: the pages at `/` of `make run`, where a person sees what goes through the extension, tries it and breaks it.

It is started by `make run` alone, never by `make serve`, and is never deployed. The gateway leads `/` and `/console/...` to it where
no route of the product matches; it answers whoever calls from this machine, under the gateway's own address, and nobody else.

What was weighed. Server-rendered pages with htmx (52 KB) against a client framework: React with a router
is 150 KB and a build step, and every view would be written twice, as an API and as a component. Flask and Jinja are here already, so
nothing is installed for the console; they are loaded after `make run` is ready, so a start waits for nothing. A page is one document
of a few KB, one style sheet and one script, all from this machine. Pico's classless style sheet is 70 KB and sets its
text for reading, not for a dense desk; the style sheet here is a tenth of it. Native elements (`details`, `dialog`, `output`,
`select`, `table`) bring keyboard and screen readers with them, so no widget library is needed. Ours is what no library knows: how the
records of gateway, queue, logs and sandbox are one story, and which words in them are secret.

How to add a page:

1. A module `pages/NAME.py` with `page = Page("Name", __name__)`: the name is the link in the navigation and the page's heading, and its
   routes are written as `@page.get("/")`, which `/console/name/` answers, or `@page.post("/send")`. The route of "/" is the function
   `show`. Its service is `here()`: addresses, keys, and calls of bundle and sandbox.
2. A template `templates/NAME.html` that extends `layout.html` and fills `{% block main %}`; `page.render("NAME.html", ...)` makes it.
   A part of a page, for htmx, is a template that starts with `_`. Own script and style are `static/NAME.js` and `static/NAME.css`, named
   in `{% block head %}`. There is no inline script and no inline style: the policy allows files from here alone (`csp_nonce` is for a
   library that writes a style element).
3. Its module's name in `PAGES` of `pages/__init__.py`, at its place in the navigation.
4. A test in `tests/browser/test_console_NAME.py` with the fixture `console` of `tests/browser/conftest.py`.
"""

from deploy.local.console.console import Console

__all__ = ["Console"]
