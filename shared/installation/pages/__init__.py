"""The pages that a merchant sees, as templates. steps.py decides what they show, policy.py how they are sent."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def render(name: str, *, nonce: str, **values: Any) -> str:
    """Return the page. With `nonce`, the content security policy allows the page's own style and script."""
    return _templates().get_template(f"{name}.html").render(nonce=nonce, **values)


@cache
def _templates() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    return Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
