"""Calls Google's REST APIs for questions for which gcloud has no command. It changes nothing.

It calls the same addresses as gcloud, with the token of gcloud's account. The scripts put the token into the
environment.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

VARIABLE = "GOOGLE_TOKEN"  # holds the token
_SECONDS = 30
_PAGES = 50
_ROOTS = {
    "compute": "https://compute.googleapis.com/compute/v1/",
    "dns": "https://dns.googleapis.com/dns/v1/",
}
_RESOLVER = "https://dns.google/"  # Google Public DNS: the records that everybody sees, not those of this machine's network

Answer = dict[str, Any]


class RefusedError(Exception):
    """Google refused, or did not answer; the words are Google's own, as gcloud would print them."""


class Google:
    """Asks with the rights of the token's owner."""

    def __init__(self, variables: Mapping[str, str] = os.environ) -> None:
        self._variables = variables

    def get(self, service: str, path: str, **parameters: str | Sequence[str]) -> Answer:
        """Return the answer to a GET.

        Raises:
            RefusedError: it was refused, or there was no answer.
        """
        return self._call("GET", service, path, params=parameters)

    def post(self, service: str, path: str, body: Mapping[str, Any]) -> Answer:
        """Return the answer to a POST, of a method that changes nothing.

        Raises:
            RefusedError: it was refused, or there was no answer.
        """
        return self._call("POST", service, path, json=body)

    def pages(
        self, service: str, path: str, rows: str, **parameters: str | Sequence[str]
    ) -> Iterator[Answer]:
        """Yield the rows of every page."""
        token = ""
        for _ in range(_PAGES):
            page = self.get(service, path, **parameters, **({"pageToken": token} if token else {}))
            yield from page.get(rows, [])
            token = page.get("nextPageToken", "")
            if not token:
                return
        raise RefusedError(f"{service} has more than {_PAGES} pages of {rows}")

    def addresses_of(self, name: str) -> list[str]:
        """Return the IPv4 addresses that the public DNS has for a name; the call carries no credential.

        Raises:
            RefusedError: there was no answer.
        """
        root = self._variables.get("RESOLVER", _RESOLVER)
        told = self._answer("GET", root + "resolve", "the public DNS", {}, params={"name": name, "type": "A"})
        return [str(row["data"]) for row in told.get("Answer", []) if row.get("type") == 1]

    def _call(self, method: str, service: str, path: str, **sent: Any) -> Answer:
        override = self._variables.get(f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{service.upper()}", "")
        root = override or _ROOTS.get(service, f"https://{service}.googleapis.com/")
        token = {"Authorization": f"Bearer {self._variables.get(VARIABLE, '')}"}
        return self._answer(method, root + path, service, token, **sent)

    def _answer(self, method: str, url: str, who: str, headers: Mapping[str, str], **sent: Any) -> Answer:
        import requests  # here, because most commands of the planner ask nobody

        try:
            answer = requests.request(
                method, url, headers=dict(headers), timeout=_SECONDS, allow_redirects=False, **sent
            )
            told = answer.json() if answer.content else {}
        except (requests.RequestException, ValueError) as error:
            raise RefusedError(f"UNAVAILABLE: {who} did not answer: {type(error).__name__}") from error
        if answer.status_code != 200 or not isinstance(told, dict):
            refusal = told.get("error", {}) if isinstance(told, dict) else {}
            word = refusal.get("status", f"HTTPError {answer.status_code}")
            raise RefusedError(f"{word}: {who}: {refusal.get('message', answer.reason)}")
        return told
