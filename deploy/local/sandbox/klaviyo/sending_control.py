"""The orders below `/_sandbox` about messages that Klaviyo sends without a call: system webhooks and flows.

POST `deliver` `{account}` and what `Courier.deliver` takes besides, `deliver-due` `{account}`, `send-raw` `{account,
webhook_id, body}`; GET `webhook-deliveries?account=`. POST `flows` `{account, url, headers, body, flow_id, autoescape}`,
`run-flow` `{account, flow_id, profile_id, event}`, `flow-due` `{account}`; GET `flow-runs?account=`, with `&bodies=1` for what was
sent. POST `switches` `{auto_deliver}` sends all that is due every so many seconds. No answer holds a secret, an address
or the value of a header, and only that answer holds sent bodies.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

from deploy.local.sandbox.klaviyo.flows import FlowRun
from deploy.local.sandbox.klaviyo.parcels import WebhookDelivery
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.stage.control import Action, wants_bodies
from deploy.local.sandbox.stage.orders import carry_out


def sending_actions(klaviyo: Klaviyo) -> dict[tuple[str, str], Action]:
    """Return the actions, keyed by method and path below `/_sandbox/`."""

    def send_raw(account: str, webhook_id: str, body: str) -> object:
        return _deliveries([klaviyo.send_raw(account, webhook_id, body.encode())])

    def flow(fields: dict[str, Any]) -> object:
        made = carry_out(klaviyo.flow, fields)
        return {"id": made.id, "header_names": sorted(made.headers)}

    return {
        ("POST", "deliver"): lambda fields: _deliveries(carry_out(klaviyo.deliver, fields)),
        ("POST", "deliver-due"): lambda fields: _deliveries(carry_out(klaviyo.deliver_due, fields)),
        ("POST", "send-raw"): partial(carry_out, send_raw),
        ("GET", "webhook-deliveries"): lambda fields: _deliveries(
            klaviyo.webhook_deliveries(fields["account"])
        ),
        ("POST", "flows"): flow,
        ("POST", "run-flow"): lambda fields: carry_out(klaviyo.run_flow, fields).to_json(),
        ("POST", "flow-due"): lambda fields: _runs(carry_out(klaviyo.flow_due, fields)),
        ("GET", "flow-runs"): lambda fields: _runs(
            klaviyo.flow_runs(fields["account"]), bodies=wants_bodies(fields)
        ),
    }


def _deliveries(rows: Iterable[WebhookDelivery]) -> dict[str, Any]:
    return {"deliveries": [row.to_json() for row in rows]}


def _runs(rows: Iterable[FlowRun], *, bodies: bool = False) -> dict[str, Any]:
    return {"runs": [row.to_json(bodies=bodies) for row in rows]}
