"""What Omneo holds for one tenant. No HTTP, no credentials checked.

Omneo's page "Working with identities": handle and identifier together mean one profile.

Assumed: emails are compared without regard to case.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.delivery import Delivery
from deploy.local.sandbox.omneo_rewards import Rewards
from deploy.local.sandbox.reactions import Row, Rows


@dataclass
class Tenant:
    """One tenant. `retries` is how often a target that gave no 2xx is called again. Callers hold the service's lock.

    `token` is valid until `token_expires_at`, in Unix seconds.
    """

    name: str
    token: str = field(repr=False)
    signing_secret: str = field(repr=False)
    targets: Rows = field(repr=False)
    triggers: Rows = field(repr=False)
    webhooks: Rows = field(repr=False)
    token_expires_at: float
    retries: int = 0
    profiles: dict[str, dict[str, Any]] = field(default_factory=dict, repr=False)
    interactions: list[Row] = field(default_factory=list, repr=False)
    deliveries: list[Delivery] = field(default_factory=list, repr=False)
    rewards: Rewards = field(default_factory=Rewards, repr=False)

    def with_identity(self, handle: str, identifier: str) -> dict[str, Any] | None:
        """Return the profile that holds the identity; `profile_id` as handle means the profile's own id."""
        if handle == "profile_id":
            return self.profiles.get(identifier)
        for profile in self.profiles.values():
            if any(_is(row, handle, identifier) for row in profile["identities"]):
                return profile
        return None

    def with_email(self, email: str) -> list[dict[str, Any]]:
        """Return the profiles with this email: one or none."""
        wanted = email.casefold()
        return [row for row in self.profiles.values() if (row["email"] or "").casefold() == wanted]


def _is(identity: Mapping[str, Any], handle: str, identifier: str) -> bool:
    return bool(identity["handle"] == handle and identity["identifier"] == identifier)
