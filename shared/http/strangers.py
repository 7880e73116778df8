"""Whether a success is the API's own: a proxy in front of an API may answer 2xx in its place. Pure."""

from typing import Any


def is_strangers(answer: Any) -> bool:
    """Return whether a success holds JSON of another sender: Klaviyo and Omneo wrap each answer in `data`. An empty body is nobody's.

    >>> is_strangers({"status": "ok"}), is_strangers("ok"), is_strangers([]), is_strangers({"data": []}), is_strangers(None)
    (True, True, True, False, False)
    """
    return answer is not None and not (isinstance(answer, dict) and "data" in answer)
