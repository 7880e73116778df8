"""An endpoint of Klaviyo and a request to it: the types between the service and its endpoints, and the tiers of
its limits. No endpoint lives here.

Klaviyo's page "Rate limits, status codes, and errors".
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.klaviyo.accounts import Account
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.stage.messages import Answer
from deploy.local.sandbox.stage.windows import Window

XS = (Window(1, 1), Window(60, 15))
S = (Window(1, 3), Window(60, 60))
M = (Window(1, 10), Window(60, 150))
L = (Window(1, 75), Window(60, 750))
XL = (Window(1, 350), Window(60, 3500))


@dataclass(frozen=True)
class Asked:
    """A call that may be carried out, under the service's lock. `document` is the body's JSON, None if there is none.

    `id` is the value of the path's placeholder, `url` the service's address, `now` Unix seconds.
    """

    account: Account
    document: Any
    parameters: Mapping[str, str]
    id: str
    revision: str
    url: str
    now: float
    duplicate_title_status: int
    consent: ConsentSwitches
    unknown_data_source_status: int = 404
    unwanted_property: str = ""

    def is_otherwise(self, assumption: str) -> bool:
        """Return whether Klaviyo behaves the other way for this assumption."""
        return assumption in self.consent.otherwise


@dataclass(frozen=True)
class Endpoint:
    """One row of Klaviyo's reference: its scopes, its limits, its function, and its parameters."""

    scopes: frozenset[str]
    windows: Sequence[Window]
    carry_out: Callable[[Asked], Answer]
    parameters: frozenset[str] = frozenset()
