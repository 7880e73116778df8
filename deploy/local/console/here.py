"""The parts that the pages of the console use: the bundle as its callers do, the admin API, the sandbox's controls and the queue's record.

Every call has a timeout. It shows nothing and keeps nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import requests

from deploy.local.console.asking import UnansweredError, ask, control, json_of
from deploy.local.console.watching import Watching
from deploy.local.console.whose import Tenants
from deploy.local.hints import Place


@dataclass(frozen=True)
class Here:
    """The running parts. `watching` reads the calls into stories, `place` names addresses, and the ids and keys of the tenant whose pages are
    shown, one of `tenants`.

    Calls to this machine use no proxy.
    """

    place: Place
    watching: Watching
    tenants: Tenants

    def of(self, tenant: str) -> Self:
        """Return the parts that the pages of a tenant may ask; those of the demo if the tenant is not open to the console."""
        return replace(self, place=self.tenants.place(tenant))

    def ask(self, method: str, url: str, **options: Any) -> requests.Response:
        """Return the answer to one call, whatever its status; see `asking.ask`."""
        return ask(method, url, **options)

    def admin(self, method: str, path: str, *, tenant: str = "", key: str = "", **options: Any) -> Any:
        """Return the JSON of the admin API's answer at `/TENANT/api/v1/PATH`, an error's too; the tenant whose pages are shown by default.

        Raises:
            UnansweredError: no JSON came.
        """
        headers = {"Authorization": f"Bearer {key or self.place.installation_key}"}
        url = f"{self.place.url}/{tenant or self.place.tenant}/api/v1/{path}"
        return json_of(ask(method, url, headers=headers, **options))

    def klaviyo(self, path: str, body: object = None, **query: str) -> Any:
        """Return the answer of a control of the sandbox Klaviyo: a POST with a body, else a GET.

        Raises:
            UnansweredError: it refused (the message says why) or did not answer, or the tenant has no account.
        """
        asked = query if body is None else body
        if isinstance(asked, Mapping) and asked.get("account") == "":
            raise UnansweredError(
                f"{self.place.tenant} has never had a Klaviyo account: install it on the page Tenants first."
            )
        return self._control(f"{self.place.klaviyo}/_sandbox/{path}", body, query)

    def omneo(self, path: str, body: object = None, **query: str) -> Any:
        """Return the answer of a control of the sandbox Omneo: a POST with a body, else a GET.

        Raises:
            UnansweredError: it refused, which the message tells, or did not answer.
        """
        return self._control(f"{self.place.omneo}/_sandbox/{path}", body, query)

    def queue(self, path: str, **query: str) -> Any:
        """Return a part of the queue's record: `queues` or `attempts`.

        Raises:
            UnansweredError: it did not answer.
        """
        return self._control(f"{self.place.queue}/{path}", None, query)

    def _control(self, url: str, body: object, query: Mapping[str, str]) -> Any:
        return control("GET" if body is None else "POST", url, json=body, params=query)
