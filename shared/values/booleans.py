"""Yes or no, as JSON, people and templates write it."""

from shared.values.rendered import read_id

_WORDS = {"true": True, "1": True, "false": False, "0": False, "": False}


def read_boolean(value: object) -> bool | None:
    """Return what the value says, None if it says neither.

    Twig prints true as "1" and false as "". So nothing is false: where it means something else, ask first whether anything was said.

    >>> [read_boolean(value) for value in (True, "1", " TRUE ", 1.0, False, "0", "", None, "yes")]
    [True, True, True, True, False, False, False, False, None]
    """
    if isinstance(value, bool):
        return value
    word = read_id(value)
    return None if word is None else _WORDS.get(word.lower())
