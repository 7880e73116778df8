"""The one host name in front: URL maps, backend services and per-address limits, made from routes.yaml and functions.yaml.

Each file carries a fingerprint of itself as its description, by which the next run knows whether it has changed.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from deploy.gcp import naming
from deploy.gcp.naming import Place
from deploy.staging import Function, Route

Described = dict[str, Any]

_NOT_FOUND = {"faultInjectionPolicy": {"abort": {"httpStatus": 404, "percentage": 100}}}


def url_map(routes: Sequence[Route], place: Place, old_hosts: Sequence[str] = ()) -> Described:
    """Return the URL map: each public path to its function, the first match first.

    The load balancer itself answers 404 for each path that no row matches, /tasks/* included. A URL map must
    name a default service; that service knows no such path either. `old_hosts` are names that still serve
    while a new one is prepared.
    """
    nobody = _link(place, "backendServices", naming.service(routes[0].function))
    rules = [
        {
            "priority": number,
            "matchRules": [{"pathTemplateMatch": route.path}],
            "service": _link(place, "backendServices", naming.service(route.function)),
        }
        for number, route in enumerate(routes, start=1)
    ]
    matcher = {
        "name": "functions",
        "defaultService": nobody,
        "defaultRouteAction": _NOT_FOUND,
        "routeRules": rules,
    }
    return _described(
        {
            "name": "extension",
            "defaultService": nobody,
            "defaultRouteAction": _NOT_FOUND,
            "hostRules": [{"hosts": [place.domain, *old_hosts], "pathMatcher": "functions"}],
            "pathMatchers": [matcher],
        }
    )


def redirect_map() -> Described:
    """Return the URL map of port 80, which sends everybody to https."""
    return _described(
        {
            "name": "extension-redirect",
            "defaultUrlRedirect": {"httpsRedirect": True, "redirectResponseCode": "PERMANENT_REDIRECT"},
        }
    )


def backend_service(function: Function, place: Place) -> Described:
    """Return the backend service of a public function.

    The limit for each address is not part of it, because an import ignores the security policy
    (BackendService, "securityPolicy": output only), so a separate step attaches the policy.
    """
    name = naming.service(function.name)
    group = f"projects/{place.project}/regions/{place.region}/networkEndpointGroups/{name}"
    return _described(
        {
            "name": name,
            "loadBalancingScheme": "EXTERNAL_MANAGED",
            "protocol": "HTTPS",
            "backends": [{"group": group}],
            "logConfig": {
                "enable": True,
                "sampleRate": 1.0,
            },  # only the load balancer logs the calls that reach no function
        }
    )


def policy_name(limit: int) -> str:
    """Return the name of the policy with this limit."""
    return f"per-address-{limit}"


def security_policy(limit: int) -> Described:
    """Return the policy that lets one address make `limit` calls a minute and answers 429 to the rest."""
    everywhere = {"versionedExpr": "SRC_IPS_V1", "config": {"srcIpRanges": ["*"]}}
    limited = {
        "priority": 1000,
        "action": "throttle",
        "match": everywhere,
        "rateLimitOptions": {
            "conformAction": "allow",
            "exceedAction": "deny(429)",
            "enforceOnKey": "IP",
            "rateLimitThreshold": {"count": limit, "intervalSec": 60},
        },
    }
    rest = {"priority": 2147483647, "action": "allow", "match": everywhere}
    return _described({"type": "CLOUD_ARMOR", "rules": [limited, rest]})


def limits(functions: Mapping[str, Function]) -> list[int]:
    """Return every limit that some function has; each is one policy, which is paid for by the month."""
    return sorted({function.calls_per_minute for function in functions.values() if function.calls_per_minute})


def _link(place: Place, kind: str, name: str) -> str:
    return f"https://www.googleapis.com/compute/v1/projects/{place.project}/global/{kind}/{name}"


def _described(thing: Described) -> Described:
    return {**thing, "description": naming.fingerprint(json.dumps(thing, sort_keys=True))}
