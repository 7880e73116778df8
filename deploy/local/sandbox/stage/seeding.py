"""How a base of hundreds of thousands is made in seconds: what both services need for it, and no service's rules."""

import gc
from typing import Any


class Uncollected:
    """While a base is made, nothing is thrown away; the garbage collector would go through all of it again and again, and
    later too, so the base is taken out of its sight.
    """

    def __enter__(self) -> None:
        self._was_on = gc.isenabled()
        gc.disable()

    def __exit__(self, *_: object) -> None:
        gc.freeze()
        if self._was_on:
            gc.enable()


def numbered(template: Any, number: int) -> Any:
    """Return a copy of JSON in which `{n}` in every string is the number, so that a base can be described over HTTP."""
    if isinstance(template, str):
        return template.replace("{n}", str(number))
    if isinstance(template, list):
        return [numbered(item, number) for item in template]
    if isinstance(template, dict):
        return {name: numbered(value, number) for name, value in template.items()}
    return template
