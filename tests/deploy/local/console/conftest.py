"""The console without a browser, for the tests of its pages: a caller of it, before a sandbox and no bundle."""

from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from deploy.local.console.app import make_app
from deploy.local.console.here import Here
from deploy.local.console.pages import pages
from deploy.local.console.watching import Watching
from deploy.local.console.whose import Tenants
from deploy.local.exchange import Exchange
from deploy.local.hints import Place
from deploy.local.logs import Follower
from deploy.local.sandbox import Sandbox
from shared.storage.encryption import new_key

HOST = "127.0.0.1:8300"
_KEYS = f"k1:{new_key()}"
OWN = {"Host": HOST, "Origin": f"http://{HOST}", "X-Forwarded-For": "127.0.0.1"}


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(token_prefix="canary") as sandbox:
        yield sandbox


@pytest.fixture
def exchanges() -> "deque[Exchange]":
    return deque()


@pytest.fixture
def client(sandbox: Sandbox, exchanges: "deque[Exchange]", tmp_path: Path) -> Iterator[FlaskClient]:
    """Return a caller of the console, before a sandbox and no bundle."""
    place = Place(
        url=f"http://{HOST}", klaviyo=sandbox.klaviyo.url, omneo=sandbox.omneo.url, queue="http://127.0.0.1:9", tenant="demo",
        account="DemoAc", email="", omneo_profile="", klaviyo_profile="", installation_key="canary-key", webhook_secret="canary-secret",
        env_file=tmp_path, repository=tmp_path, python=tmp_path, port=8300, reader="jq",
    )  # fmt: skip
    watching = Watching(sandbox, exchanges, lambda _after: [], Follower(tmp_path), ["canary-secret"])
    tenants = Tenants(place, environment(tmp_path), watching.mask)
    yield make_app(Here(place, watching, tenants), pages()).test_client()
    watching.stop()


def environment(folder: Path) -> dict[str, str]:
    """Return the environment of a bundle whose store is in this folder."""
    return {"STORE": f"sqlite:{folder / 'documents.db'}", "ENCRYPTION_KEYS": _KEYS}
