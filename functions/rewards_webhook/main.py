"""POST /{tenant}/api/v1/webhooks/klaviyo/rewards: a Klaviyo Flow's webhook action issues an Omneo reward here."""

import functions_framework

from shared.rewards.rewards import ANSWER_WITHIN, issue_reward
from shared.services import Services
from shared.settings import Needs
from shared.web.callers import tenant_by_webhook_secret
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint
from shared.web.parameters import parameters

services = Services.from_environment(Needs.STORE)


@functions_framework.http
@endpoint("POST", "/{tenant}/api/v1/webhooks/klaviyo/rewards", largest=1_000_000, within=ANSWER_WITHIN)
def rewards_webhook(call: Call) -> Reply:
    """Answer with the reward, which is issued now or was issued before."""
    tenant = tenant_by_webhook_secret(call, services)
    parameters(call.query, ())
    flow = call.headers.get("X-Klaviyo-Flow-ID", "")
    result = issue_reward(tenant, json_body(call), flow=flow, services=services)
    return 200, {"status": result.status, "reward_id": result.reward_id}
