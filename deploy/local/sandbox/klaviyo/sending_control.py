"""What Klaviyo can be told below `/_sandbox` of what it sends of its own accord: system webhooks and flows.

POST `deliver` `{account}` and what `Courier.deliver` takes besides, `deliver-due` `{account}`, `send-raw` `{account,
webhook_id, body}`; GET `webhook-deliveries?account=`. POST `flows` `{account, url, headers, body, flow_id, autoescape}`,
`run-flow` `{account, flow_id, profile_id, event}`, `flow-due` `{account}`; GET `flow-runs?account=`, with `&bodies=1` for what was
sent. POST `switches` `{auto_deliver}` sends all that is due every so many seconds. No answer holds a secret, an address or the value of a
header, and none but that one what was sent.
"""

from collections.abc import Iterable
from typing import Any

from deploy.local.sandbox.klaviyo.flows import FlowRun
from deploy.local.sandbox.klaviyo.parcels import WebhookDelivery
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.stage.control import Action, wants_bodies


def sending_actions(klaviyo: Klaviyo) -> dict[tuple[str, str], Action]:
    """Return the actions, keyed by method and path below `/_sandbox/`."""

    def send_raw(fields: dict[str, Any]) -> object:
        body = str(fields["body"]).encode()
        return _deliveries([klaviyo.send_raw(fields["account"], fields["webhook_id"], body)])

    def flow(fields: dict[str, Any]) -> object:
        made = klaviyo.flow(**fields)
        return {"id": made.id, "header_names": sorted(made.headers)}

    return {
        ("POST", "deliver"): lambda fields: _deliveries(klaviyo.deliver(**fields)),
        ("POST", "deliver-due"): lambda fields: _deliveries(klaviyo.deliver_due(**fields)),
        ("POST", "send-raw"): send_raw,
        ("GET", "webhook-deliveries"): lambda fields: _deliveries(
            klaviyo.webhook_deliveries(fields["account"])
        ),
        ("POST", "flows"): flow,
        ("POST", "run-flow"): lambda fields: klaviyo.run_flow(**fields).to_json(),
        ("POST", "flow-due"): lambda fields: _runs(klaviyo.flow_due(**fields)),
        ("GET", "flow-runs"): lambda fields: _runs(
            klaviyo.flow_runs(fields["account"]), bodies=wants_bodies(fields)
        ),
    }


def _deliveries(rows: Iterable[WebhookDelivery]) -> dict[str, Any]:
    return {"deliveries": [row.to_json() for row in rows]}


def _runs(rows: Iterable[FlowRun], *, bodies: bool = False) -> dict[str, Any]:
    return {"runs": [row.to_json(bodies=bodies) for row in rows]}
