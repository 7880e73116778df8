"""The content of one Omneo tenant. No HTTP, no credentials checked.

Omneo's page "Working with identities": handle and identifier together mean one profile.
"""

from dataclasses import dataclass, field
from typing import Any

from deploy.local.sandbox.omneo.delivery import Delivery
from deploy.local.sandbox.omneo.directory import Profiles
from deploy.local.sandbox.omneo.reactions import Row, Rows
from deploy.local.sandbox.omneo.rewards import Rewards

Happening = tuple[str, dict[str, Any]]  # the event's name and its context


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
    profiles: Profiles = field(default_factory=Profiles, repr=False)
    interactions: list[Row] = field(default_factory=list, repr=False)
    deliveries: list[Delivery] = field(default_factory=list, repr=False)
    happened: list[Happening] = field(default_factory=list, repr=False)  # no webhook has told of it yet
    webhook_deliveries: list[Delivery] = field(default_factory=list, repr=False)
    rewards: Rewards = field(default_factory=Rewards, repr=False)

    def with_identity(self, handle: str, identifier: str) -> dict[str, Any] | None:
        """Return the profile that holds the identity; `profile_id` as handle means the profile's own id."""
        if handle == "profile_id":
            return self.profiles.get(identifier)
        return self.profiles.with_identity(handle, identifier)

    def with_email(self, email: str) -> list[dict[str, Any]]:
        """Return the profiles with this email: one or none."""
        return self.profiles.with_email(email)
