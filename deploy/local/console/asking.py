"""The calls of the console to this machine: with a time limit, without a proxy, and under their own name."""

from typing import Any

import requests

SECONDS = 50.0  # for any answer of something on this machine: less than the gateway waits for the console
CONSOLE = "omneo-klaviyo-console"  # the user agent of the console's own calls, which are no stories


class UnansweredError(Exception):
    """Something on this machine did not answer, or answered wrongly; the message says what, for a person."""


def ask(method: str, url: str, *, seconds: float = SECONDS, **options: Any) -> requests.Response:
    """Return the answer to one call, whatever its status; `options` are those of requests.

    Raises:
        UnansweredError: no answer came.
    """
    with requests.Session() as session:
        session.trust_env = False
        session.headers["User-Agent"] = CONSOLE
        options.setdefault("allow_redirects", False)
        try:
            return session.request(method, url, timeout=seconds, **options)
        except requests.RequestException as error:
            raise UnansweredError(f"{_origin(url)} did not answer: {type(error).__name__}.") from None


def control(method: str, url: str, **options: Any) -> Any:
    """Return the JSON with which a control of the sandbox or the queue has answered.

    Raises:
        UnansweredError: it refused, which the message tells, or did not answer.
    """
    answer = ask(method, url, **options)
    said = json_of(answer)
    if answer.status_code != 200:
        raise UnansweredError(f"{_origin(url)} refused: {said.get('error', answer.status_code)}")
    return said


def json_of(answer: requests.Response) -> Any:
    """Return the answer's JSON.

    Raises:
        UnansweredError: the answer is not JSON.
    """
    try:
        return answer.json()
    except ValueError:
        raise UnansweredError(
            f"{_origin(answer.url)} answered {answer.status_code}, and not with JSON."
        ) from None


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
