"""Omneo's APIs as one service for many tenants: credentials and routes, and the methods for tests.

Paths are `/{tenant}/api/v3/...` and `/{tenant}/id/api/v1/...`; the real ones have the tenant in the host name.

Assumed (tokens-of-omneo):
an unknown tenant is 404 (really its host name does not resolve); an ID token lives 15 minutes, an API token a
year unless said.
"""

import copy
import hmac
import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from deploy.local.sandbox.omneo import answers, reactions, webhooks
from deploy.local.sandbox.omneo.asked import Asked
from deploy.local.sandbox.omneo.bases import Bases
from deploy.local.sandbox.omneo.delivery import Delivery, Postman, reached
from deploy.local.sandbox.omneo.endpoints import route
from deploy.local.sandbox.omneo.events import ProfileEvents
from deploy.local.sandbox.omneo.json_logic import UnknownOperatorError
from deploy.local.sandbox.omneo.profiles import new_profile
from deploy.local.sandbox.omneo.reactions import Row
from deploy.local.sandbox.omneo.rewards import REPEATED, Repeated
from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.omneo.twig import Twig
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.faults import Faults
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Answer, Request
from deploy.local.sandbox.stage.record import Call, Calls

_YEAR = 365 * 24 * 3600.0


class Omneo(ProfileEvents, Bases):
    """An Omneo with tenants, their profiles, targets and reactions. Every method may be called from any thread.

    `ProfileEvents` holds the events of profiles, and the webhooks that report them. `id_token_seconds` is the life of a minted ID token;
    change it at any time.
    `otherwise` names the assumptions, as deploy/guide/assumptions.md has them, in which Omneo behaves the other way.
    """

    def __init__(self, clock: Clock, identifiers: Identifiers) -> None:
        self.url = ""
        self.calls = Calls()
        self.faults = Faults()
        self.fail = self.faults.fail
        self.clock = clock
        self.id_token_seconds = 900
        self.returns_own_changes = False
        self.otherwise: Sequence[str] = ()
        self._identifiers = identifiers
        self._lock = threading.RLock()
        self._twig = Twig(clock)
        self._postman = Postman(self._twig, clock)
        self._tenants: dict[str, Tenant] = {}

    @property
    def url_template(self) -> str:
        """The value for OMNEO_API_URL, with `{tenant}` left to be filled in."""
        return f"{self.url}/{{tenant}}"

    # The methods for tests.

    def tenant(
        self,
        name: str,
        *,
        token: str | None = None,
        signing_secret: str | None = None,
        retries: int = 0,
        token_expires_at: float | None = None,
    ) -> Tenant:
        """Make a tenant, with made-up credentials if none are given, and return it."""
        tenant = Tenant(
            name,
            token or self._identifiers.token("omneo"),
            signing_secret or self._identifiers.token("signing"),
            reactions.targets(self._twig, self.clock),
            reactions.triggers(self.clock),
            webhooks.webhooks(self.clock),
            self.clock() + _YEAR if token_expires_at is None else token_expires_at,
            retries,
        )
        with self._lock:
            self._tenants[name] = tenant
        return tenant

    def profile(self, tenant: str, **fields: Any) -> dict[str, Any]:
        """Keep a profile and return it whole; `identities` as `{handle, identifier}`, `attributes.comms` in part."""
        profile = new_profile(fields, self._identifiers, self.clock())
        with self._lock:
            self._tenants[tenant].profiles[profile["id"]] = profile
        return profile

    def target(
        self, tenant: str, *, handle: str, url: str, template: str | Mapping[str, Any], condition: Any = None
    ) -> Row:
        """Set up a target as a user would, and return it. A template that is no string is written as JSON."""
        text = template if isinstance(template, str) else json.dumps(template)
        logic = condition if condition is None or isinstance(condition, str) else json.dumps(condition)
        body = {"name": handle, "handle": handle, "url": url, "template": text, "condition": logic}
        with self._lock:
            return self._tenants[tenant].targets.create(body)

    def reaction(self, tenant: str, trigger: str, *targets: str, condition: Any = None) -> Row:
        """Let an event send to targets, named by handle, if the condition is met; return the trigger."""
        guard = [] if condition is None else [_action("filter", "condition", condition)]
        sends = [_action("target.send", "target", handle) for handle in targets]
        actions = [{**action, "sort_order": order} for order, action in enumerate([*guard, *sends])]
        body = {"name": trigger, "trigger": trigger, "is_active": True, "actions": actions}
        with self._lock:
            return self._tenants[tenant].triggers.create(body)

    def fire(self, tenant: str, trigger: str, context: Mapping[str, Any]) -> list[Delivery]:
        """Let an event happen and return every attempt to deliver it, when all are over."""
        done = []
        with self._lock:
            whole = self._tenants[tenant]
            rows = whole.triggers.all()
            by_handle = {row["handle"]: row for row in whole.targets.all()}
        # Not under the lock: the called function will call back.
        for delivery in self._begun(whole, rows, trigger, context):
            target = by_handle.get(delivery.target)
            if target is None:
                done.append(delivery if delivery.error else replace(delivery, error="no such target"))
                continue
            aimed = replace(delivery, url=target["url"])
            done += self._postman.deliver(
                aimed, target, context, secret=whole.signing_secret, retries=whole.retries
            )
        with self._lock:
            whole.deliveries += done
        return done

    def try_target(
        self,
        tenant: str,
        *,
        trigger: str,
        handle: str,
        url: str,
        template: str,
        context: Mapping[str, Any],
        headers: Mapping[str, str] | None = None,
    ) -> list[Delivery]:
        """Call a target that nobody has saved, for an event, and return every attempt; conditions do not count.

        `headers` are those that a user would type into CX Manager; the API of targets has none.
        """
        with self._lock:
            whole = self._tenants[tenant]
        begun = Delivery(tenant, trigger, handle, url, self.clock())
        target = {"template": template, "condition": None, "headers": headers or {}}
        # Not under the lock: the called function will call back.
        done = list(
            self._postman.deliver(begun, target, context, secret=whole.signing_secret, retries=whole.retries)
        )
        with self._lock:
            whole.deliveries += done
        return done

    def webhook(self, tenant: str, **fields: Any) -> Row:
        """Keep a webhook as another caller of the API would, and return it.

        Raises:
            InvalidRowError: it cannot be kept.
        """
        with self._lock:
            return self._tenants[tenant].webhooks.create(fields)

    def webhooks(self, tenant: str) -> list[Row]:
        """Return the tenant's webhooks, oldest first."""
        with self._lock:
            return self._tenants[tenant].webhooks.all()

    def enable_webhooks(self, tenant: str) -> int:
        """Enable every webhook as a user does, and return how many were not."""
        with self._lock:
            webhooks = self._tenants[tenant].webhooks
            rows = [row for row in webhooks.all() if not row["is_active"]]
            for row in rows:
                webhooks.update(row, {"is_active": True})
        return len(rows)

    def profiles(self, tenant: str) -> list[dict[str, Any]]:
        """Return the tenant's profiles as they are now, oldest first."""
        with self._lock:
            return copy.deepcopy(list(self._tenants[tenant].profiles.values()))

    def comms(self, tenant: str, profile_id: str) -> dict[str, Any]:
        """Return a profile's consent as it is now. KeyError if there is no such profile."""
        with self._lock:
            return dict(self._tenants[tenant].profiles[profile_id]["attributes"]["comms"])

    def interactions(self, tenant: str) -> list[Row]:
        """Return the tenant's interactions, oldest first."""
        with self._lock:
            return list(self._tenants[tenant].interactions)

    def reward_definition(self, tenant: str, **fields: Any) -> Row:
        """Keep a reward definition and return it; fields that are not given are empty."""
        with self._lock:
            return self._tenants[tenant].rewards.define(fields)

    def reward_definitions(self, tenant: str) -> list[Row]:
        """Return the tenant's reward definitions, oldest first."""
        with self._lock:
            return list(self._tenants[tenant].rewards.definitions.values())

    def rewards(self, tenant: str) -> list[Row]:
        """Return the tenant's rewards, oldest first, with the `external_id` that the API does not show."""
        with self._lock:
            return self._tenants[tenant].rewards.all()

    def reward_rules(
        self,
        tenant: str,
        *,
        repeated_external_id: Repeated | None = None,
        numbers_as_text: bool | None = None,
    ) -> None:
        """Set the effect of a repeated `external_id` ("422", "409" or "creates"), and the form of numbers. Raises:
        ValueError: the effect is unknown.
        """
        if repeated_external_id not in (None, *REPEATED):
            raise ValueError(f"repeated_external_id must be one of {', '.join(REPEATED)}")
        with self._lock:
            rewards = self._tenants[tenant].rewards
            rewards.repeated_external_id = repeated_external_id or rewards.repeated_external_id
            if numbers_as_text is not None:
                rewards.numbers_as_text = numbers_as_text

    def expire(self, tenant: str) -> None:
        """End the tenant's API token now: every call is 401."""
        with self._lock:
            self._tenants[tenant].token_expires_at = self.clock()

    def deliveries(self, tenant: str) -> list[Delivery]:
        """Return every attempt to call the tenant's targets, oldest first."""
        with self._lock:
            return list(self._tenants[tenant].deliveries)

    def tenants(self) -> list[str]:
        """Return the names of all tenants."""
        with self._lock:
            return list(self._tenants)

    def reset(self) -> None:
        """Forget every tenant, call and fault."""
        with self._lock:
            self._tenants.clear()
            self.calls.clear()
            self.faults.clear()

    def close(self) -> None:
        """Close the connections to targets."""
        self._postman.close()

    # The methods for the server.

    def answer(self, request: Request, call: Call) -> Answer:
        """Answer like Omneo."""
        name, *segments = request.segments
        with self._lock:
            tenant = self._tenants.get(name)
            found = route(segments)
            if tenant is None or found is None:
                return answers.error(404)
            if not _holds_token(request, tenant) or self.clock() >= tenant.token_expires_at:
                return answers.error(401)
            call.account = name
            endpoints, named = found
            if request.method not in endpoints:
                return answers.error(405, Allow=", ".join(endpoints))
            url = f"{self.url}{request.path}"
            asked = Asked(
                tenant,
                request,
                named.get("id", ""),
                url,
                self.clock(),
                self.id_token_seconds,
                self._identifiers,
                named.get("handle", ""),
                self.otherwise,
            )
            answer = endpoints[request.method](asked)
            self._note_own_change(tenant, request.method, asked.id, answer.status)
            return answer

    def refusal(self, status: int) -> Answer:
        """Return Omneo's own error answer for `status`."""
        return answers.error(status)

    def _begun(
        self, tenant: Tenant, triggers: list[Row], event: str, context: Mapping[str, Any]
    ) -> list[Delivery]:
        plain = Delivery(tenant.name, event, "", "", self.clock())
        try:
            return [replace(plain, target=handle) for handle in reached(triggers, event, context)]
        except (UnknownOperatorError, ValueError) as error:
            return [replace(plain, error=type(error).__name__)]


def _action(name: str, argument: str, value: Any) -> Row:
    return {"name": name, "arguments": [{"name": argument, "value": value, "is_dynamic": None}]}


def _holds_token(request: Request, tenant: Tenant) -> bool:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), tenant.token.encode())
