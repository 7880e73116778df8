"""How a value becomes a part of an address. Pure."""

from urllib.parse import quote

from shared.errors import NotFoundError

_ELSEWHERE = {"", ".", ".."}  # these name another path than the one they stand in


def segment(text: str, service: str) -> str:
    """Return a value as one segment of a path of `service`, whatever signs are in it.

    Raises:
        NotFoundError: the value cannot be a segment, so nothing of the service has it as its id or its name.

    >>> segment("a/b?c", "Omneo")
    'a%2Fb%3Fc'
    """
    try:
        quoted = quote(text, safe="")
    except UnicodeEncodeError:  # half a surrogate pair
        quoted = ""
    if quoted in _ELSEWHERE:
        message = f"{service} was not called: nothing has an id that is empty, made of dots, or no text"
        raise NotFoundError(message, service=service, status=404)
    return quoted
