"""What an endpoint of Omneo is asked: the type between the service and its endpoints. No endpoint lives here."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Request, UnreadableBodyError


@dataclass(frozen=True)
class Asked:
    """An authenticated call: whose it is, what the path's placeholders held, and what answering it may need."""

    tenant: Tenant
    request: Request
    id: str
    url: str
    now: float
    id_token_seconds: int
    identifiers: Identifiers
    handle: str = ""

    @property
    def fields(self) -> Mapping[str, Any]:
        """The JSON object in the body; empty if there is none."""
        try:
            body = self.request.json()
        except UnreadableBodyError:
            return {}
        return body if isinstance(body, dict) else {}
