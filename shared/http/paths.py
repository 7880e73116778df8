"""Segments of the paths that the clients of Klaviyo and Omneo call. Which paths there are stands in the clients."""

from urllib.parse import quote

from shared.errors import NotFoundError


def path_segment(id: object, *, service: str) -> str:
    """Return an id as one segment of a path: whatever is in it, it leads to nothing beside or above.

    >>> path_segment("a/b c", service="Omneo"), path_segment(41, service="Omneo")
    ('a%2Fb%20c', '41')

    Raises:
        NotFoundError: no service can have something with this id: it is empty, or a step within the path, which quoting leaves as it is.
    """
    try:
        quoted = quote(str(id), safe="")
    except UnicodeEncodeError:  # half a surrogate pair, which is no text
        quoted = ""
    if quoted in {"", ".", ".."}:
        raise NotFoundError(f"{service} can have nothing with such an id", service=service, status=404)
    return quoted
