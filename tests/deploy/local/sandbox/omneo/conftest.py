"""Calls to the CX API of a tenant of the sandbox's Omneo whose token is `canary-token-` and its name."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from deploy.local.sandbox import Sandbox


@pytest.fixture
def call(sandbox: Sandbox) -> Callable[..., requests.Response]:
    def call(
        method: str, path: str, body: object = None, *, tenant: str = "acme", **parameters: Any
    ) -> requests.Response:
        url = f"{sandbox.omneo.url_template.format(tenant=tenant)}/api/v3{path}"
        headers = {"Authorization": f"Bearer canary-token-{tenant}"}
        return requests.request(method, url, json=body, params=parameters, headers=headers, timeout=60)

    return call
