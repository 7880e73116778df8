"""An operator at the dead-letter desk, through the same calls as CX Manager."""

from dataclasses import dataclass
from typing import Any

from shared.admin.routes import ROUTES, Asked
from tests.support.world import TENANT, World

Json = dict[str, Any]
FORBIDDEN = {"errors": [{"code": "permission_denied", "detail": "Missing scope: events:write"}]}
INVALID = {"errors": [{"code": "invalid", "detail": "canary-jane is no such thing"}]}


@dataclass(frozen=True)
class Desk:
    """Asks the desk of one tenant."""

    world: World
    name: str = TENANT

    def call(self, method: str, path: str, *, body: object = None, id: str = "", **query: str) -> Json:
        """Make a call, and return its answer."""
        handler = ROUTES[(method, f"/dead-jobs{path}")]
        status, told = handler(
            self.world.read(self.name), self.world.services, Asked({"id": id}, lambda: body, query)
        )
        assert status == (200 if method == "GET" else 202)
        return told

    def page(self, **query: str) -> Json:
        """Return a page."""
        return self.call("GET", "", **query)

    def rows(self, **query: str) -> list[Json]:
        """Return the dead jobs of a page."""
        found: list[Json] = self.page(**query)["dead_jobs"]
        return found

    def show(self, id: str, **query: str) -> Json:
        """Return one."""
        return self.call("GET", "/{id}", id=id, **query)

    def replay(self, id: str) -> Json:
        """Replay one."""
        return self.call("POST", "/{id}/replay", id=id)

    def replay_all(self, **order: object) -> Json:
        """Begin a run."""
        return self.call("POST", "/replay", body=order)

    def run(self, id: str) -> Json:
        """Return how a run stands."""
        return self.call("GET", "/replays/{id}", id=id)
