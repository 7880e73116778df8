"""Whether the JSON of a success is the API's own: a proxy in front of an API may answer 200 in its place. Pure."""

from typing import Any

# What whoever does not know the call has to say of it, at most.
_WORDS_OF_STRANGERS = frozenset(
    {"message", "msg", "error", "errors", "detail", "title", "fault", "maintenance"}
)


def is_strangers(answer: Any) -> bool:
    """Return whether a success holds JSON that is none of the API's, which wraps what it has to say in `data`; no body is none.

    >>> is_strangers({"message": "We are back soon"}), is_strangers("ok"), is_strangers({"data": []}), is_strangers({}), is_strangers(None)
    (True, True, False, False, False)
    """
    if isinstance(answer, dict):
        return "data" not in answer and not _WORDS_OF_STRANGERS.isdisjoint(answer)
    return answer is not None and not isinstance(answer, list)
