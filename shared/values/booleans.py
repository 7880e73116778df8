"""Reads yes or no in the spellings of JSON, people and templates."""

from shared.values.rendered import read_id

_WORDS = {"true": True, "1": True, "false": False, "0": False, "": False}


def read_boolean(value: object) -> bool | None:
    """Return the boolean of the value, None if it is neither.

    Twig prints true as "1" and false as "". So an empty text is false. A caller for whom it means something else checks for it first.

    >>> [read_boolean(value) for value in (True, "1", " TRUE ", 1.0, False, "0", "", None, "yes")]
    [True, True, True, True, False, False, False, False, None]
    """
    if isinstance(value, bool):
        return value
    word = read_id(value)
    return None if word is None else _WORDS.get(word.lower())
