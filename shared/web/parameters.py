"""Parameters of a URL's query: names in any case, each at most once, and no unknown name."""

from collections.abc import Mapping

from shared.errors import InvalidPayloadError


def parameters(query: Mapping[str, str], known: tuple[str, ...]) -> dict[str, str]:
    """Return the given parameters, by the names in `known`.

    Raises:
        InvalidPayloadError: a parameter has another name, or stands there twice. To ignore it would leave out what the caller asks for.
    """
    given = {name.strip().casefold(): value for name, value in query.items()}
    names = {name.casefold(): name for name in known}
    if len(given) < len(query):
        raise InvalidPayloadError("A parameter stands in the URL more than once.")
    if given.keys() - names.keys():
        raise InvalidPayloadError(
            f"The URL has a parameter that is not known here. Known: {', '.join(known) or 'none'}."
        )
    return {name: given[key] for key, name in names.items() if key in given}
