"""A shop whose profiles travel from Omneo to Klaviyo: the world, with the functions that Omneo and Klaviyo call, on the world's clock."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from flask import Flask, Response, request

from deploy.local.sandbox.klaviyo.accounts import Profile
from shared.consent.webhook import accept_delivery
from shared.klaviyo.resources import OMNEO_TRIGGERS, SYSTEM_TOPICS, webhook_name
from shared.profiles.calls import accept_profile_event
from shared.web.callers import tenant_by_klaviyo, tenant_by_omneo
from shared.web.calls import Call, Reply, json_body
from shared.web.endpoints import endpoint
from tests.support.world import (
    ACCOUNT,
    EMAIL,
    TENANT,
    WEBHOOK_SECRET,
    World,
    serve,
    serving,
    told_to_the_queue,
)

PHONE = "+61412345678"
OTHERS_EMAIL = "canary-other@example.org"
OTHERS_PHONE = "+61412345679"
IMPORT = "/api/profile-import"
PROFILES = "/api/profiles"
SUBSCRIBE = "/api/profile-subscription-bulk-create-jobs"
UNSUBSCRIBE = "/api/profile-subscription-bulk-delete-jobs"


class Shop:
    """One tenant and its customers."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.omneo = world.sandbox.omneo
        self.klaviyo = world.sandbox.klaviyo

    def customer(self, *, tells: bool = True, **fields: Any) -> str:
        """Make a customer in Omneo, Jane unless said, tell of her, and return her id. `comms` are her consents."""
        comms = fields.pop("comms", {})
        whole = {"email": EMAIL, "first_name": "Jane", "attributes": {"comms": comms}, **fields}
        return str(self.omneo.create_profile(TENANT, tells=tells, **whole)["id"])

    def change(self, id: str, **fields: Any) -> None:
        """Change the customer in Omneo, and tell of it."""
        self.omneo.change_profile(TENANT, id, **fields)

    def now(self, seconds: float = 0.0) -> str:
        """Return the time as Omneo stamps it, `seconds` from now."""
        from deploy.local.sandbox.omneo.profiles import stamp

        return stamp(self.world.clock.timestamp() + seconds)

    def settle(self, most: int = 40) -> None:
        """Let time pass until the queue is empty and nobody has anything left to tell."""
        for _ in range(most):
            self.world.work(15)
            told = [*self.klaviyo.deliver(ACCOUNT), *self.omneo.deliver(TENANT)]
            assert all(delivery.status == 202 for delivery in self.omneo.webhook_deliveries(TENANT))
            if not told and not self.waiting():
                return
        raise AssertionError("it never comes to rest")

    def sync(self) -> None:
        """Let the syncs be done that wait, before Klaviyo tells of anything."""
        self.world.work(15)

    def waiting(self) -> int:
        """Return how many tasks wait."""
        return self.world.waiting()

    def profile(self) -> Profile:
        """Return the one profile that Klaviyo has."""
        (profile,) = self.klaviyo.profiles(ACCOUNT)
        return profile

    def consent(self, channel: str = "email") -> str:
        """Return the consent of the one profile that Klaviyo has."""
        return self.profile().subscriptions.consents[channel].status

    def comms(self, id: str) -> dict[str, Any]:
        """Return the customer's consents in Omneo that are set."""
        return {
            name: value
            for name, value in self.omneo.comms(TENANT, id).items()
            if value is not None and value != "not_sent"
        }

    def identities(self, id: str) -> list[str]:
        """Return the Klaviyo ids that Omneo holds for the customer."""
        (profile,) = [row for row in self.omneo.profiles(TENANT) if row["id"] == id]
        return [row["identifier"] for row in profile["identities"] if row["handle"] == "klaviyo"]

    def klaviyo_calls(self, path: str = "") -> list[Any]:
        """Return the calls that Klaviyo has got, of a path or all, without those of the install."""
        calls = [call for call in self.klaviyo.calls.all() if call.path.startswith("/api/")]
        return [call for call in calls if path in ("", call.path)]

    def omneo_calls(self) -> list[Any]:
        """Return the calls that Omneo has got."""
        return self.omneo.calls.all()

    def profile_writes(self) -> list[dict[str, Any]]:
        """Return the `data` of each call that has written a profile, or tried to: a new one is created, and one that is there imported."""
        calls = [
            call for call in self.klaviyo_calls() if call.method == "POST" and call.path in (IMPORT, PROFILES)
        ]
        return [json.loads(call.body)["data"] for call in calls]

    def look_ups(self) -> int:
        """Return how many calls have only read: in Klaviyo, and in Omneo beside the profile itself."""
        omneo = [call for call in self.omneo_calls() if call.method == "GET" or is_search(call)]
        return len([call for call in self.klaviyo_calls() if call.method == "GET"]) + len(omneo) - 1

    def bodies(self, path: str) -> list[dict[str, Any]]:
        """Return the `data` of each call of a path."""
        return [json.loads(call.body)["data"] for call in self.klaviyo_calls(path)]

    def forget_calls(self) -> None:
        """Count from here on."""
        self.klaviyo.calls.clear()
        self.omneo.calls.clear()


def is_search(call: Any) -> bool:
    """Tell whether a call of Omneo's reads, though it is a POST."""
    return str(call.path).endswith("/profiles/search-id")


def reads_alone(shop: Shop) -> bool:
    """Tell whether every call since the last count was a read."""
    calls = [*shop.klaviyo_calls(), *shop.omneo_calls()]
    return all(call.method == "GET" or is_search(call) for call in calls)


@contextmanager
def a_shop(world: World, **settings: Any) -> Iterator[Shop]:
    """Open a shop: an installed tenant, with webhooks of Omneo's and Klaviyo's that call it."""
    with ExitStack() as stack:
        app = Flask("doors", static_folder=None)
        url = stack.enter_context(serving(app))
        serve(app, _doors(world))
        tenant = world.tenant()
        changed = tenant.settings.model_copy(update=settings)
        world.services.tenants.change(TENANT, lambda known: known.model_copy(update={"settings": changed}))
        for trigger in OMNEO_TRIGGERS:
            hook = f"{url}/{TENANT}/api/v1/webhooks/omneo"
            world.sandbox.omneo.webhook(TENANT, trigger=trigger, url=hook, namespace="klaviyo")
        world.sandbox.klaviyo.webhook(
            ACCOUNT,
            webhook_name(TENANT),
            endpoint_url=f"{url}/{TENANT}/api/v1/webhooks/klaviyo/system",
            secret_key=WEBHOOK_SECRET,
            topics=sorted(SYSTEM_TOPICS),
        )
        yield Shop(world)
        answers = told_to_the_queue(f"http://{world.tasks.http_address}")
        assert answers <= {200}, "the worker met a bug"


def _doors(world: World) -> dict[str, Callable[[], Response]]:
    services = world.services

    @endpoint("POST", "/{tenant}/api/v1/webhooks/omneo", largest=1_000_000)
    def omneo_webhooks(call: Call) -> Reply:
        tenant = tenant_by_omneo(call, services)
        event = call.headers.get("X-Omneo-Event", "")
        return 202, accept_profile_event(
            tenant,
            event,
            json_body(call),
            services,
            traceparent=call.traceparent,
        )

    @endpoint("POST", "/{tenant}/api/v1/webhooks/klaviyo/system", largest=25_000_000)
    def system_webhooks(call: Call) -> Reply:
        return 202, accept_delivery(
            tenant_by_klaviyo(call, services),
            json_body(call),
            webhook_id=call.headers.get("Klaviyo-Webhook-Id", ""),
            queue=services.queue,
            now=services.clock(),
            traceparent=call.traceparent,
        )

    return {
        "/api/v1/webhooks/omneo": lambda: omneo_webhooks(request),
        "/api/v1/webhooks/klaviyo/system": lambda: system_webhooks(request),
    }
