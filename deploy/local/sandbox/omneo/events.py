"""The events of Omneo's profiles, and the webhooks that report them.

Omneo's pages "Event contexts" and "Webhooks" and its sample app: the body is the event's context, for profile events the profile
itself with `flattened_tags` and `flattened_statuses`; the header X-Omneo-Event names the event; the signature is that
of targets. Only an active webhook is called, and only if its condition is met. Webhooks of a token's own namespace do
not get its changes.

Assumed (own-changes-are-not-told, restored-profile-tells-nothing, deleted-profile-is-gone):
the token is of the namespace of every webhook, so that what the API changes is told to nobody, or by a switch to everybody;
the context of `profile.deleted` is the profile as it was, identities among it; a deleted profile vanishes from every answer; 10
seconds for the answer; the flags about repeating have no effect here.
"""

import json
import threading
from collections.abc import Callable
from typing import Any

from deploy.local.sandbox.omneo.delivery import SIGNATURE, Delivery, holds, sign
from deploy.local.sandbox.omneo.profiles import stamp
from deploy.local.sandbox.omneo.reactions import Row
from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.posting import post

EVENT = "X-Omneo-Event"
ANSWER_SECONDS = 10.0
CREATED, UPDATED, DELETED = "profile.created", "profile.updated", "profile.deleted"


class ProfileEvents:
    """The acts on profiles of a service that has tenants and a lock.

    `returns_own_changes`: whether webhooks also get changes through the API.
    """

    clock: Clock
    returns_own_changes: bool
    profile: Callable[..., dict[str, Any]]
    _lock: threading.RLock
    _tenants: dict[str, Tenant]

    def create_profile(self, tenant: str, *, tells: bool = True, **fields: Any) -> dict[str, Any]:
        """Make a profile as `profile` does, and tell of it, unless `tells` is false."""
        made = self.profile(tenant, **fields)
        self._happened(tenant, CREATED, made, tells=tells)
        return made

    def change_profile(self, tenant: str, id: str, *, tells: bool = True, **fields: Any) -> dict[str, Any]:
        """Change fields of a profile, `comms` one by one, and return it. KeyError if there is no such profile."""
        with self._lock:
            profile = self._tenants[tenant].profiles[id]
            profile["attributes"]["comms"].update(fields.pop("comms", {}))
            profile.update(fields)
            profile["updated_at"] = stamp(self.clock())
            profile["full_name"] = f"{profile['first_name']} {profile['last_name']}"
        self._happened(tenant, UPDATED, profile, tells=tells)
        return profile

    def delete_profile(self, tenant: str, id: str, *, tells: bool = True, whole: bool = True) -> None:
        """Delete a profile; its context holds only the id unless `whole`. KeyError if there is no such profile."""
        with self._lock:
            profile = self._tenants[tenant].profiles.pop(id)
        self._happened(tenant, DELETED, profile if whole else {"id": id}, tells=tells)

    def deliver(self, tenant: str) -> list[Delivery]:
        """Send the waiting events to the active webhooks, and return every attempt.

        A failed attempt is not repeated.
        """
        with self._lock:
            known = self._tenants[tenant]
            happened, known.happened = known.happened, []
            hooks = known.webhooks.all()
        # Not under the lock: the called function may call back.
        done = [
            self._post(known, hook, event, context)
            for event, context in happened
            for hook in hooks
            if hook["trigger"] == event and hook["is_active"] and holds(hook["condition"], context)
        ]
        with self._lock:
            known.webhook_deliveries += done
        return done

    def webhook_deliveries(self, tenant: str) -> list[Delivery]:
        """Return every attempt to call the tenant's webhooks, oldest first."""
        with self._lock:
            return list(self._tenants[tenant].webhook_deliveries)

    def _happened(self, tenant: str, event: str, profile: dict[str, Any], *, tells: bool) -> None:
        with self._lock:
            self._tenants[tenant].happened.append((event, _context(profile)))
        if tells:
            self.deliver(tenant)

    def _note_own_change(self, tenant: Tenant, method: str, id: str, status: int) -> None:
        """Keep the change of a call of the API, if webhooks get such changes. Under the lock."""
        profile = tenant.profiles.get(id)
        if self.returns_own_changes and method != "GET" and status < 300 and profile is not None:
            tenant.happened.append((UPDATED, _context(profile)))

    def _post(self, tenant: Tenant, hook: Row, event: str, context: dict[str, Any]) -> Delivery:
        body = json.dumps(context).encode()
        headers = {
            "Content-Type": "application/json",
            EVENT: event,
            SIGNATURE: sign(tenant.signing_secret, body),
        }
        attempt = post(hook["url"], body, headers, within=ANSWER_SECONDS, clock=self.clock)
        return Delivery(
            tenant.name,
            event,
            str(hook["id"]),
            hook["url"],
            attempt.sent_at,
            sent_at=attempt.sent_at,
            answered_at=None if attempt.status is None else attempt.sent_at + attempt.seconds,
            status=attempt.status,
            error=attempt.error,
            body=body,
        )


def _context(profile: dict[str, Any]) -> dict[str, Any]:
    """Return the profile as webhooks show it, as it is now."""
    shown: dict[str, Any] = json.loads(json.dumps(profile))
    if "tags" not in shown:
        return shown
    return {
        **shown,
        "flattened_tags": [_word(tag) for tag in shown["tags"]],
        "flattened_statuses": [_word(status) for status in shown["statuses"]],
    }


def _word(row: Any) -> Any:
    return row.get("handle", row.get("name")) if isinstance(row, dict) else row
