"""A request to an endpoint of Omneo: the type between the service and its endpoints. No endpoint lives here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.omneo.tenants import Tenant
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Request, UnreadableBodyError


@dataclass(frozen=True)
class Asked:
    """An authenticated call: its tenant, the values of the path's placeholders, and the parts that its answer may need."""

    tenant: Tenant
    request: Request
    id: str
    url: str
    now: float
    id_token_seconds: int
    identifiers: Identifiers
    handle: str = ""
    otherwise: Sequence[str] = ()

    def is_otherwise(self, assumption: str) -> bool:
        """Return whether Omneo behaves the other way for this assumption."""
        return assumption in self.otherwise

    @property
    def fields(self) -> Mapping[str, Any]:
        """The JSON object in the body; empty if there is none."""
        try:
            body = self.request.json()
        except UnreadableBodyError:
            return {}
        return body if isinstance(body, dict) else {}
