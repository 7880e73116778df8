"""The pages that a merchant sees, as templates. steps.py decides what they show, policy.py how they are sent."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, *, nonce: str, **values: Any) -> str:
    """Return the page. `nonce` is what lets its own style and script through the content security policy."""
    return _templates().get_template(f"{name}.html").render(nonce=nonce, **values)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
