"""How a base of hundreds of thousands is made in seconds: the common part of both services, without a service's rules."""

import gc
from typing import Any


class Uncollected:
    """While a base is made, there is no garbage. The garbage collector would look through the base again and again, now
    and later, so the base is hidden from it.
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
