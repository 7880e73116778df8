"""The overview of a deployment: revisions and calls, queues, alerts, the name in front, and the resources
that cost money while nobody calls. Pure: it reads lists from gcloud, and calls nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from deploy import staging
from deploy.gcp.revisions import Running, read_services
from deploy.staging import Function

Listed = Iterable[Mapping[str, Any]]


def of_functions(services: Listed, functions: Mapping[str, Function]) -> Iterator[str]:
    """Yield a line for each function: the revision that takes calls, and its faults."""
    running = read_services(services)
    for function in functions.values():
        name = function.name.replace("_", "-")
        yield f"{name:<18} {_revision(running.get(name))}"


def _revision(running: Running | None) -> str:
    if running is None:
        return "not there"
    if running.serving:
        said = f"calls go to {running.serving}"
    elif running.before:
        said = f"calls are shared by {running.before} and another: an upgrade goes on, or broke off"
    else:
        said = "calls go nowhere"
    if not running.is_ready:
        return f"{said}; the newest revision is not ready"
    if running.newest != running.serving:
        return f"{said}; {running.newest} waits"
    return f"{said}; before it: {running.previous or 'none'}"


def of_queues(queues: Listed) -> Iterator[str]:
    """Yield how many queues there are, and each that does not run."""
    listed = list(queues)
    tenants = [queue for queue in listed if queue["name"].endswith(("-inbound", "-outbound"))]
    yield f"{len(tenants)} of tenants, of 1,000 that a region has"
    for queue in listed:
        if queue.get("state") != "RUNNING":
            yield f"{queue['name'].rpartition('/')[2]} is {queue.get('state', 'UNKNOWN')}"


def of_alerts(alerts: Listed) -> Iterator[str]:
    """Yield how many alerts there are, and those that reach nobody."""
    ours = [alert for alert in alerts if "fingerprint" in alert.get("userLabels", {})]
    silent = [alert for alert in ours if not alert.get("notificationChannels")]
    yield f"{len(ours)} alerts, {len(ours) - len(silent)} of them are sent to somebody"
    for alert in ours:
        if alert.get("enabled") is False:
            yield f"{alert['displayName']} is switched off"


def of_front(certificates: Listed, backends: Listed, functions: Mapping[str, Function]) -> Iterator[str]:
    """Yield the state of each certificate, and each limit that is not attached."""
    for certificate in certificates:
        managed = certificate.get("managed", {})
        yield f"certificate of {', '.join(managed.get('domains', []))}: {managed.get('state', 'UNKNOWN')}"
        for attempt in managed.get("authorizationAttemptInfo", []):
            if attempt.get("state") == "FAILED":
                yield f"warning: {attempt.get('domain')} is not authorized: {attempt.get('failureReason')}"
    listed = list(backends)
    there = {backend["name"] for backend in listed}
    attached = {backend["name"] for backend in listed if backend.get("securityPolicy")}
    for function in functions.values():
        name = function.name.replace("_", "-")
        if function.calls_per_minute and name in there and name not in attached:
            yield f"warning: {function.name} has no limit by address attached"


def of_costs(
    services: Listed, functions: Mapping[str, Function], backends: Listed, databases: Listed
) -> Iterator[str]:
    """Yield the resources that cost money even while nobody calls."""
    running = read_services(services)
    warm = [f.name for f in functions.values() if f.min_instances and f.name.replace("_", "-") in running]
    yield f"warm instances: {', '.join(warm) or 'none'}"
    policies = {backend["securityPolicy"] for backend in backends if backend.get("securityPolicy")}
    yield f"policies of Cloud Armor: {len(policies)}"
    for database in databases:
        recovery = database.get("pointInTimeRecoveryEnablement", "") == "POINT_IN_TIME_RECOVERY_ENABLED"
        yield f"point-in-time recovery: {'on' if recovery else 'off'}"


def overview_lines(work: Path) -> Iterator[tuple[str, Iterable[str]]]:
    """Yield each heading of the overview with its lines. Reads the JSON lists of gcloud."""

    def listed(name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads((work / f"{name}.json").read_text() or "[]")
        return found

    functions, backends = staging.load_functions(), listed("backends")
    yield "functions", of_functions(listed("services"), functions)
    yield "queues", of_queues(listed("queues"))
    yield "alerts", of_alerts(listed("alerts"))
    yield "front", of_front(listed("certificates"), backends, functions)
    costing = of_costs(listed("services"), functions, backends, listed("databases"))
    yield "what costs money while nobody calls", costing
