"""A template that is checked or rendered: the door of this package."""

from collections.abc import Callable, Mapping
from typing import Any

from deploy.local.sandbox.omneo.twig.expressions import standing_at
from deploy.local.sandbox.omneo.twig.parser import parse
from deploy.local.sandbox.omneo.twig.php import key, of_json
from deploy.local.sandbox.omneo.twig.refusals import Place
from deploy.local.sandbox.omneo.twig.scope import Scope
from deploy.local.sandbox.omneo.twig.statements import write_all


class Twig:
    """Renders templates. `now` gives Unix seconds."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now

    def check(self, template: str) -> None:
        """Do nothing if the template can be parsed.

        Raises:
            TemplateFailedError: it cannot, or uses an unsupported part.
        """
        parse(template)

    def render(self, template: str, context: Mapping[str, Any]) -> str:
        """Return the template filled in. `context` holds values of JSON.

        Raises:
            TemplateFailedError: it cannot be parsed, exceeds its budget, or uses a value in a way that is not allowed.
        """
        body = parse(template)
        with standing_at(Place(1, 1)):
            variables = {key(name): of_json(value) for name, value in context.items()}
        out: list[str] = []
        write_all(body, Scope(variables, self._now()), out)
        return "".join(out)
