"""All public functions behind one address, routed as on Google Cloud, and a caller in front of them with every secret."""

import hashlib
import hmac
import io
from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask
from werkzeug.test import Client

from deploy.local.path_templates import path_matcher
from deploy.staging import load_functions, load_routes
from tests.support.loading import Load
from tests.support.world import EXTENSION_URL, INSTALLATION_KEY, SIGNING_SECRET, WEBHOOK_SECRET, World

TIMESTAMP = "1795255200"
Environ = dict[str, Any]


class Front:
    """A WSGI application. It signs each call as its real caller would."""

    def __init__(self, world: World, load: Load) -> None:
        names = [function.name for function in load_functions().values() if function.public]
        self._apps: dict[str, Flask] = {
            name: load(name, world.environment, sleep=world.clock.sleep).application for name in names
        }
        self._routes = [(path_matcher(route.path), route.function) for route in load_routes()]

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        name = self.function_of(environ["PATH_INFO"])
        if not name:
            start_response("404 Not Found", [("Content-Type", "text/plain")])
            return [b"no route"]
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        signed = {
            f"HTTP_{key.upper().replace('-', '_')}": value for key, value in _credentials(name, body).items()
        }
        answer: Iterable[bytes] = self._apps[name](
            {**environ, **signed, "wsgi.input": io.BytesIO(body)}, start_response
        )
        return answer

    def function_of(self, path: str) -> str:
        """Return the function that the first matching route names, "" if there is none."""
        return next((function for matches, function in self._routes if matches(path)), "")

    def client(self) -> Client:
        """Return a browser, or a service, that calls."""
        return Client(self)


def _credentials(function: str, body: bytes) -> dict[str, str]:
    match function:
        case "admin":
            return {"Authorization": f"Bearer {INSTALLATION_KEY}"}
        case "system_webhooks":
            text = body + TIMESTAMP.encode()
            return {"Klaviyo-Signature": _hmac(WEBHOOK_SECRET, text), "Klaviyo-Timestamp": TIMESTAMP}
        case "omneo_webhooks":
            return {"X-Omneo-Hmac-SHA256": _hmac(SIGNING_SECRET, body)}
        case "install":
            return {"Origin": EXTENSION_URL}
        case _:
            return {"x-omneo-secret": WEBHOOK_SECRET}


def _hmac(secret: str, body: bytes) -> str:
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
