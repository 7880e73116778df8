"""What the pages of the console may ask: the bundle as its callers do, the admin API, the sandbox's controls and the queue's record.

Every call has a timeout. Nothing is shown here and nothing is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from deploy.local.hints import Place

SECONDS = 10.0  # for any answer of something on this machine


class UnansweredError(Exception):
    """Something on this machine did not answer, or not with JSON; the message says what, for a person."""


@dataclass(frozen=True)
class Here:
    """What runs. `place` names addresses, ids and keys of the demo; `environment` is that of the bundle, for an operator's commands.

    `logs` is the folder of the functions' logs. Nothing of this machine is reached by a proxy.
    """

    place: Place
    environment: Mapping[str, str] = field(repr=False)
    logs: Path

    def ask(self, method: str, url: str, *, seconds: float = SECONDS, **options: Any) -> requests.Response:
        """Return the answer to one call, whatever its status; `options` are those of requests.

        Raises:
            UnansweredError: no answer came.
        """
        with requests.Session() as session:
            session.trust_env = False
            options.setdefault("allow_redirects", False)
            try:
                return session.request(method, url, timeout=seconds, **options)
            except requests.RequestException as error:
                raise UnansweredError(f"{_origin(url)} did not answer: {type(error).__name__}.") from None

    def admin(self, method: str, path: str, *, tenant: str = "", key: str = "", **options: Any) -> Any:
        """Return the JSON of the admin API's answer at `/TENANT/api/v1/PATH`, an error's too; the demo's own tenant by default.

        Raises:
            UnansweredError: no JSON came.
        """
        headers = {"Authorization": f"Bearer {key or self.place.installation_key}"}
        url = f"{self.place.url}/{tenant or self.place.tenant}/api/v1/{path}"
        return _json(self.ask(method, url, headers=headers, **options))

    def klaviyo(self, path: str, body: object = None, **query: str) -> Any:
        """Return what a control of the sandbox Klaviyo answers: a POST with a body, else a GET.

        Raises:
            UnansweredError: it refused, which the message tells, or did not answer.
        """
        return self._control(f"{self.place.klaviyo}/_sandbox/{path}", body, query)

    def omneo(self, path: str, body: object = None, **query: str) -> Any:
        """Return what a control of the sandbox Omneo answers: a POST with a body, else a GET.

        Raises:
            UnansweredError: it refused, which the message tells, or did not answer.
        """
        return self._control(f"{self.place.omneo}/_sandbox/{path}", body, query)

    def queue(self, path: str, **query: str) -> Any:
        """Return what the record of the queue tells: `queues` or `attempts`.

        Raises:
            UnansweredError: it did not answer.
        """
        return self._control(f"{self.place.queue}/{path}", None, query)

    def _control(self, url: str, body: object, query: Mapping[str, str]) -> Any:
        method = "GET" if body is None else "POST"
        answer = self.ask(method, url, json=body, params=query)
        said = _json(answer)
        if answer.status_code != 200:
            raise UnansweredError(f"{_origin(url)} refused: {said.get('error', answer.status_code)}")
        return said


def _json(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        raise UnansweredError(
            f"{_origin(answer.url)} answered {answer.status_code}, and not with JSON."
        ) from None


def _origin(url: str) -> str:
    return "/".join(url.split("/")[:3])
