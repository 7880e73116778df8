"""The arguments of filters, checked as PHP checks them: a text, an array, a function. No filter stands here."""

from collections.abc import Callable

from deploy.local.sandbox.omneo.twig.php import Array, Arrow, Value, text
from deploy.local.sandbox.omneo.twig.refusals import Refusal

Filter = Callable[..., Value]


def string(value: Value) -> str:
    """Return a value as a function of PHP takes it that wants text.

    Raises:
        Refusal: an array is none.
    """
    if isinstance(value, dict):
        raise Refusal("An array is no text; |join or |json_encode makes one of it.")
    return text(value)


def items_of(value: Value, name: str) -> Array:
    """Return an array.

    Raises:
        Refusal: it is none.
    """
    if isinstance(value, dict):
        return value
    raise Refusal(f"{name} takes an array.")


def arrow(value: Value, name: str) -> Callable[..., Value]:
    """Return the function to call. Raises: Refusal: it is not a function that the template itself writes."""
    if isinstance(value, Arrow):
        return value.call
    raise Refusal(f"{name} takes a function, as in |{name}(one => one.name).")
