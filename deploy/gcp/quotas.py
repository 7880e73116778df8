"""Whether the project's quotas are enough for the load balancer. In some new projects they are too small.

A project may have no security policies at all, and five backend services, where the public functions need one each.
Without policies everything else works; without backend services no call reaches a function.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from deploy.gcp import balancer, naming
from deploy.staging import Function

POLICIES = "SECURITY_POLICIES"


class Shortage(NamedTuple):
    """A quota that is too small. `kind` is `problem`, which ends the run, or `warning`."""

    kind: str
    quota: str
    words: str


def shortages(
    quotas: Iterable[Mapping[str, Any]],
    functions: Mapping[str, Function],
    *,
    backends: Iterable[str],
    policies: Iterable[str],
) -> Iterator[Shortage]:
    """Yield each quota that is too small for the missing resources. `quotas` is the list of `gcloud compute
    project-info describe`; `backends` and `policies` are those that exist.
    """
    wanted = {
        "BACKEND_SERVICES": {naming.service(f.name) for f in functions.values() if f.public} - set(backends),
        POLICIES: {balancer.policy_name(limit) for limit in balancer.limits(functions)} - set(policies),
    }
    for quota in quotas:
        name = str(quota.get("metric"))
        more = len(wanted.get(name, ()))
        left = int(float(quota.get("limit", 0))) - int(float(quota.get("usage", 0)))
        if more > left:
            yield _shortage(name, more, left)


def _shortage(name: str, more: int, left: int) -> Shortage:
    said = f"quota {name}: {more} more are needed, {max(left, 0)} are left; ask for them on the console's quota page"
    if name == POLICIES:
        return Shortage("warning", name, f"{said}. Until then, no address is limited in how often it calls")
    return Shortage("problem", name, said)
