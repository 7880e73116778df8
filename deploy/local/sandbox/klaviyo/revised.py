"""Changes in Klaviyo's behaviour from a revision on, as a test orders them.

Without an order, revisions differ only where a module says so. Pure.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.klaviyo import errors
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.stage.messages import Answer


@dataclass(frozen=True)
class Revised:
    """One order: from `revision` on an operation, such as "GET /api/profiles/{id}", answers otherwise.

    `fields` and `headers` rename fields and headers in its answers; "" removes one. With `refused`, the answer is 400
    with that code, without any effect.
    """

    revision: str
    operation: str
    fields: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    refused: str = ""

    def holds(self, revision: str, operation: str) -> bool:
        """Return whether it is for this call."""
        return operation == self.operation and revision >= self.revision

    def refusal(self) -> Answer | None:
        """Return the refusal, None if it refuses nothing."""
        problem = Problem("This revision does not know what was sent.", "/data")
        return errors.error(400, problem, code=self.refused) if self.refused else None

    def renamed(self, answer: Answer) -> Answer:
        """Return an answer with the other names."""
        headers = _renamed_once(dict(answer.headers), self.headers)
        if not answer.body:
            return Answer(answer.status, headers)
        body = _renamed(json.loads(answer.body), self.fields)
        return Answer(answer.status, headers, json.dumps(body).encode())


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _renamed(inner, names) for name, inner in _renamed_once(value, names).items()}
    return [_renamed(row, names) for row in value] if isinstance(value, list) else value


def _renamed_once(fields: dict[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    return {names.get(name, name): value for name, value in fields.items() if names.get(name, name)}
