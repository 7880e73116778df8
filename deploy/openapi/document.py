"""openapi.json, put together from the routes that the code answers and the row that describes each."""

import json
import re
from collections.abc import Mapping
from typing import Any

from deploy.openapi import admin, incoming, open_calls, schemas
from deploy.openapi.operations import Json, Operation, an_object, one_of
from deploy.openapi.routes import BASE, served
from shared.admin.interface import FILE
from shared.tenants.tenants import NAME
from shared.web.answers import ANSWERS, BUG

__all__ = ["FILE", "document", "rows", "text"]

_PATH_VARIABLES: Mapping[str, Json] = {
    "tenant": {
        "description": "The tenant's name.",
        "schema": {"type": "string", "pattern": f"^{NAME.pattern}$"},
        "example": "acme",
    },
    "id": {
        "description": "The id of the thing that the path names.",
        "schema": {"type": "string", "pattern": "^[^/]+$"},
        "example": "0b0c6f3e-5a0e-4a7b-9d3a-2f8f2f1c9a01",
    },
}
_SCHEMES: Json = {
    "installationKey": {"type": "http", "scheme": "bearer", "description": "The tenant's installation key."},
    "webhookSecret": {
        "type": "apiKey",
        "in": "header",
        "name": "x-omneo-secret",
        "description": "The tenant's webhook secret.",
    },
    "omneoSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "X-Omneo-Hmac-SHA256",
        "description": "Lowercase hex HMAC-SHA256 of the raw body, by the tenant's Omneo signing secret.",
    },
    "klaviyoSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "Klaviyo-Signature",
        "description": "Lowercase hex HMAC-SHA256 of the raw body followed by the header Klaviyo-Timestamp, by the tenant's webhook secret.",
    },
}
_MEANINGS: Mapping[int, str] = {
    400: "Change the field that the message names.",
    401: "The tenant is unknown, or the credential is missing or wrong; the answer does not say which.",
    404: "There is nothing at this path, or no such person.",
    405: "Use the method that the header Allow names.",
    409: "No Klaviyo account is connected, or the call contradicts what is so now.",
    413: "Send less.",
    415: "Send Content-Type: application/json.",
    429: "A limit is reached. Call again after Retry-After seconds.",
    500: "A bug of ours. It is logged.",
    503: "Call again after Retry-After seconds.",
}
_TELLS_WHEN = (429, 503)


def rows() -> dict[tuple[str, str], Operation]:
    """Return the row of each public call, by method and path."""
    found = dict(open_calls.OPERATIONS)
    found |= {(method, f"{BASE}{path}"): row for (method, path), row in admin.OPERATIONS.items()}
    found |= {(method, f"{BASE}{path}"): row for (method, path), row in incoming.WEBHOOKS.items()}
    found |= {("POST", f"{BASE}/targets/klaviyo/{name}"): row for name, row in incoming.TARGETS.items()}
    return found


def document() -> Json:
    """Return the OpenAPI document.

    Raises:
        KeyError: a call has no row, or a row has no call.
    """
    described, answered = rows(), served()
    if odd := sorted(described.keys() ^ answered.keys()):
        raise KeyError(f"a call without a row in deploy/openapi, or a row without a call: {odd}")
    paths: dict[str, Json] = {}
    for (method, path), function in sorted(answered.items(), key=lambda item: (item[0][1], item[0][0])):
        variables = [_path_parameter(name) for name in re.findall(r"\{(\w+)\}", path)]
        operation = described[method, path].written(function, variables)
        paths.setdefault(path, {})[method.lower()] = {"operationId": _id(method, path), **operation}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Omneo Klaviyo extension",
            "version": "1",
            "description": "Every error has the body of the schema Error. Its message says what to change, and never repeats a value of the call.",
        },
        "paths": paths,
        "components": {
            "securitySchemes": _SCHEMES,
            "schemas": {"Error": _error(), **schemas.SCHEMAS},
            "responses": {str(status): _refusal(status) for status in _MEANINGS},
        },
    }


def text() -> str:
    """Return the text of openapi.json."""
    return json.dumps(document(), indent=1, ensure_ascii=False) + "\n"


def _codes(status: int | None = None) -> list[str]:
    rows = {*ANSWERS.values(), BUG}
    return sorted(code for given, code in rows if status in (None, given))


def _error() -> Json:
    return an_object({"error": an_object({"code": one_of(_codes()), "message": {"type": "string"}})})


def _refusal(status: int) -> Json:
    codes = _codes(status)
    own = an_object({"error": an_object({"code": one_of(codes), "message": {"type": "string"}})})
    example = {"error": {"code": codes[0], "message": _MEANINGS[status]}}
    told: Json = {
        "description": _MEANINGS[status],
        "content": {"application/json": {"schema": own, "examples": {"refusal": {"value": example}}}},
    }
    if status in _TELLS_WHEN:
        told["headers"] = {
            "Retry-After": {"description": "Seconds.", "schema": {"type": "integer", "minimum": 1}}
        }
    return told


def _path_parameter(name: str) -> Json:
    return {"name": name, "in": "path", "required": True, **_PATH_VARIABLES[name]}


def _id(method: str, path: str) -> str:
    words: list[Any] = [method.lower(), *re.findall(r"\w+", path.removeprefix(BASE))]
    return "_".join(words)
