"""Fires an event of a tenant: runs its reactions, renders targets, signs the bodies and posts them.

Omneo's pages "Targets", "Reactions" and "Filters", and its SDKs for the signature: X-Omneo-Hmac-SHA256 is the lowercase
hex HMAC-SHA256 of the raw body, keyed with the tenant's secret.

Assumed (targets-are-given-ten-seconds, targets-are-signed):
a target is given 10 seconds; nothing is retried unless the tenant says so, and then at once, when no 2xx came;
targets carry no X-Omneo-Event; redirects are not followed.
"""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from deploy.local.sandbox.omneo import json_logic, reactions
from deploy.local.sandbox.omneo.json_logic import UnknownOperatorError
from deploy.local.sandbox.omneo.reactions import Row
from deploy.local.sandbox.omneo.twig import TemplateFailedError, Twig

SIGNATURE = "X-Omneo-Hmac-SHA256"
TIMEOUT = 10.0


@dataclass(frozen=True)
class Delivery:
    """One attempt to call a target. Times are Unix seconds.

    `status` is None if no answer came, and then `error` is the name of the fault, never a value.
    `answer` is the answer's JSON, None if it had none.
    """

    tenant: str
    trigger: str
    target: str
    url: str
    fired_at: float
    attempt: int = 1
    sent_at: float | None = None
    answered_at: float | None = None
    status: int | None = None
    error: str = ""
    answer: Any = field(default=None, repr=False)
    body: bytes = field(default=b"", repr=False)

    def to_json(self, *, bodies: bool) -> dict[str, Any]:
        """Return the delivery as the control interface shows it."""
        shown = {name: value for name, value in vars(self).items() if name != "body"}
        return shown | ({"body": self.body.decode()} if bodies else {})


def sign(secret: str, body: bytes) -> str:
    """Return the signature of a body."""
    return hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def reached(triggers: list[Row], event: str, context: Mapping[str, Any]) -> Iterator[str]:
    """Yield the handles of the targets that an event reaches, in the order of the reactions and their actions.

    Raises:
        UnknownOperatorError: a filter uses an operator unknown here.
    """
    for row in triggers:
        if row["trigger"] != event or not row["is_active"]:
            continue
        for action in sorted(row["actions"], key=lambda action: action.get("sort_order") or 0):
            if reactions.action_name(action) in reactions.SEND:
                yield from (str(value) for value in reactions.argument_values(action) if value)
            elif not all(holds(rule, context) for rule in reactions.argument_values(action, "condition")):
                break


def holds(rule: Any, context: Mapping[str, Any]) -> bool:
    """Return whether a condition is met; it may be JSON Logic or a string of it. A missing condition is met.

    Raises:
        UnknownOperatorError: it uses an operator unknown here.
    """
    logic = json.loads(rule) if isinstance(rule, str) and rule else rule
    return bool(json_logic.evaluate(logic, context)) if logic else True


class Postman:
    """Renders, signs and posts."""

    def __init__(self, twig: Twig, clock: Callable[[], float]) -> None:
        self._twig = twig
        self._clock = clock
        self._session = requests.Session()
        self._session.trust_env = False  # loopback calls use no proxy of the machine
        self._session.mount("http://", HTTPAdapter(pool_maxsize=64))

    def deliver(
        self, delivery: Delivery, target: Row, context: Mapping[str, Any], *, secret: str, retries: int
    ) -> Iterator[Delivery]:
        """Call the target and yield each attempt; yield none if the target's own condition is not met."""
        try:
            if not holds(target["condition"], context):
                return
            body = self._twig.render(target["template"], context).encode()
        except (TemplateFailedError, UnknownOperatorError, ValueError) as error:
            yield replace(delivery, error=f"{type(error).__name__}: {error}")
            return
        for attempt in range(1, retries + 2):
            begun = replace(delivery, attempt=attempt, body=body, sent_at=self._clock())
            done = self._post(begun, target.get("headers", {}), secret)
            yield done
            if done.status is not None and 200 <= done.status < 300:
                return

    def close(self) -> None:
        """Close the connections kept open."""
        self._session.close()

    def _post(self, delivery: Delivery, own: Mapping[str, str], secret: str) -> Delivery:
        headers = {"Content-Type": "application/json", **own, SIGNATURE: sign(secret, delivery.body)}
        try:
            answer = self._session.post(
                delivery.url, data=delivery.body, headers=headers, timeout=TIMEOUT, allow_redirects=False
            )
        except requests.RequestException as error:
            return replace(delivery, answered_at=self._clock(), error=type(error).__name__)
        return replace(
            delivery, answered_at=self._clock(), status=answer.status_code, answer=_json_or_none(answer)
        )


def _json_or_none(answer: requests.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return None
