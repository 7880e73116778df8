"""The orders over HTTP below `/_sandbox` that both services accept, so that another process can prepare and read them.

POST `reset`; POST `fail` with the arguments of `Faults.fail` (`{"next": 0}` clears every fault), GET `faults` those that are
still to come; POST `clock` `{"advance": seconds}`;
GET `calls`, with `?bodies=1` for bodies and queries. Each service has a control module for its own orders.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.faults import Faults
from deploy.local.sandbox.stage.messages import Answer, Request, json_answer
from deploy.local.sandbox.stage.orders import carry_out, check
from deploy.local.sandbox.stage.record import Calls
from deploy.local.sandbox.stage.server import CONTROL


class Controlled(Protocol):
    """The methods that every service offers to its control interface."""

    calls: Calls
    faults: Faults
    clock: Clock

    def reset(self) -> None:
        """Forget everything."""


Action = Callable[[dict[str, Any]], object]
T = TypeVar("T")


def perform(service: Controlled, request: Request, actions: dict[tuple[str, str], Action]) -> Answer:
    """Carry out the action at the request's path and return what it returned, as JSON; `{}` for nothing.

    `actions` are keyed by method and path below `/_sandbox/`. Each gets the fields of the body, or for a GET the
    parameters of the query. If one raises an error, the order was wrong: 400.
    """
    path = request.path.removeprefix(CONTROL).strip("/")
    action = {**_shared(service), **actions}.get((request.method, path))
    if action is None:
        return json_answer(404, {"error": "no such control"})
    try:
        fields = request.parameters if request.method == "GET" else request.json() if request.body else {}
        check(dict[str, Any], fields, "the order")
        result = action(fields)
    except Exception as error:  # noqa: BLE001 - whoever arranges a test is told, whatever is wrong with what it sent
        return json_answer(400, {"error": f"{type(error).__name__}: {error}"})
    return json_answer(200, {} if result is None else result)


def _shared(service: Controlled) -> dict[tuple[str, str], Action]:
    def clock(advance: float) -> None:
        service.clock.advance(advance)

    return {
        ("POST", "reset"): lambda fields: service.reset(),
        ("POST", "fail"): lambda fields: _fail(service, fields),
        ("GET", "faults"): lambda fields: {"faults": [fault.to_json() for fault in service.faults.ordered()]},
        ("POST", "clock"): lambda fields: carry_out(clock, fields),
        ("GET", "calls"): lambda fields: {
            "calls": [call.to_json(bodies=wants_bodies(fields)) for call in service.calls.all()]
        },
    }


def _fail(service: Controlled, fields: dict[str, Any]) -> object:
    carry_out(service.faults.fail, fields)
    count = fields.get("next", 1)
    return {
        "message": f"The next {count} calls that match go wrong."
        if count
        else "Every call goes well from now on."
    }


def newest(rows: Sequence[T], fields: dict[str, Any]) -> Sequence[T]:
    """Return the last rows, as many as the query's limit allows; all without one."""
    limit = int(fields.get("limit", len(rows)))
    return rows[-limit:] if limit > 0 else rows[:0]


def found_in(fields: dict[str, Any], *values: object) -> bool:
    """Return whether one of the values contains the searched text, in any case. Without a search, return true."""
    wanted = str(fields.get("search", "")).strip().lower()
    return any(wanted in str(value).lower() for value in values if value is not None)


def wants_bodies(fields: dict[str, Any]) -> bool:
    """Return whether the query asks for bodies."""
    return fields.get("bodies") == "1"
