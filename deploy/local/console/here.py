"""What the pages of the console may ask: the bundle as its callers do, the admin API, the sandbox's controls and the queue's record.

Every call has a timeout. Nothing is shown here and nothing is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from deploy.local.console.asking import ask, control, json_of
from deploy.local.console.watching import Watching
from deploy.local.hints import Place


@dataclass(frozen=True)
class Here:
    """What runs. `watching` reads the calls into stories, `place` names addresses, ids and keys of the demo; `environment` is that of the bundle, for an operator's commands.

    Nothing of this machine is reached by a proxy.
    """

    place: Place
    environment: Mapping[str, str] = field(repr=False)
    watching: Watching

    def ask(self, method: str, url: str, **options: Any) -> requests.Response:
        """Return the answer to one call, whatever its status; see `asking.ask`."""
        return ask(method, url, **options)

    def admin(self, method: str, path: str, *, tenant: str = "", key: str = "", **options: Any) -> Any:
        """Return the JSON of the admin API's answer at `/TENANT/api/v1/PATH`, an error's too; the demo's own tenant by default.

        Raises:
            UnansweredError: no JSON came.
        """
        headers = {"Authorization": f"Bearer {key or self.place.installation_key}"}
        url = f"{self.place.url}/{tenant or self.place.tenant}/api/v1/{path}"
        return json_of(ask(method, url, headers=headers, **options))

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
        return control("GET" if body is None else "POST", url, json=body, params=query)
