"""Plays the parts of Compute Engine that a load balancer is made of."""

import re
from collections.abc import Iterator

from tests.deploy.gcp.cloud import Cloud, RefusedError, Request, Thing, plays
from tests.deploy.gcp.message_classes import output_only

_GLOBAL = "/compute/v1/projects/{project}/global"
_REGIONAL = "/compute/v1/projects/{project}/regions/{region}"
_ROOT = "https://compute.recorder.test/compute/v1"
# What names what: a thing can be neither made before nor removed after what it names.
_NAMES = re.compile(r'projects/[^/\'"]+/(?:global|regions/[^/\'"]+)/(\w+)/([a-z0-9-]+)')
_CLASSES = {
    "addresses": "Address",
    "backendServices": "BackendService",
    "forwardingRules": "ForwardingRule",
    "networkEndpointGroups": "NetworkEndpointGroup",
    "securityPolicies": "SecurityPolicy",
    "sslCertificates": "SslCertificate",
    "sslPolicies": "SslPolicy",
    "targetHttpProxies": "TargetHttpProxy",
    "targetHttpsProxies": "TargetHttpsProxy",
    "urlMaps": "UrlMap",
}
_QUOTA_OF = {
    "backendServices": "BACKEND_SERVICES",
    "securityPolicies": "SECURITY_POLICIES",
    "urlMaps": "URL_MAPS",
}


@plays("compute", "GET", "/compute/v1/projects/{project}")
def project(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"name": project, "quotas": list(_quotas(cloud))}


def _quotas(cloud: Cloud) -> Iterator[Thing]:
    for kind, metric in _QUOTA_OF.items():
        usage = len(cloud.under(f"compute/{kind}"))
        yield {"metric": metric, "limit": float(cloud.quotas[metric]), "usage": float(usage)}


def _check_quota(cloud: Cloud, kind: str) -> None:
    metric = _QUOTA_OF.get(kind, "")
    limit = cloud.quotas.get(metric)
    if limit is not None and len(cloud.under(f"compute/{kind}")) >= limit:
        raise RefusedError(403, f"Quota '{metric}' exceeded.  Limit: {limit:.1f} globally.")


def _sent(request: Request, kind: str) -> Thing:
    """Return what the body sets: a field that is output only is read past."""
    ignored = output_only("compute/v1", _CLASSES[kind]) - {"fingerprint"}
    return {key: value for key, value in request.json.items() if key not in ignored}


def _operation(cloud: Cloud, request: Request, kind: str, name: str, scope: str) -> Thing:
    id = f"operation-{cloud.tick()}"
    return {
        "kind": "compute#operation",
        "name": id,
        "status": "DONE",
        "selfLink": f"{_ROOT}/projects/{cloud.project}/{scope}/operations/{id}",
        "targetLink": f"{_ROOT}/projects/{cloud.project}/{scope}/{kind}/{name}",
        "operationType": "delete" if request.method == "DELETE" else "insert",
        **({"region": f"{_ROOT}/projects/{cloud.project}/{scope}"} if scope != "global" else {}),
    }


def _check_map(cloud: Cloud, proxy: Thing) -> None:
    """Refuse a map that is not there; where there is one, the proxy reads past its own certificates (Certificate Manager, maps)."""
    link = proxy.get("certificateMap", "")
    name = link.rpartition("certificatemanager.googleapis.com/v1/")[2]
    name = name.rpartition("certificatemanager.googleapis.com/")[2]
    name = name[name.find("projects/") :]
    if link and f"names/{name}" not in cloud.things:
        raise RefusedError(400, f"The resource '{link}' was not found")
    if not link and not proxy.get("sslCertificates"):
        raise RefusedError(400, "At least one SSL certificate must be given.")


def _named(thing: Thing) -> set[str]:
    text = str({key: value for key, value in thing.items() if key not in {"selfLink", "region"}})
    return {f"compute/{kind}/{name}" for kind, name in _NAMES.findall(text)}


def _insert(cloud: Cloud, request: Request, kind: str, scope: str) -> Thing:
    thing = _sent(request, kind)
    name = thing["name"]
    _check_quota(cloud, kind)
    for needed in _named(thing):
        if needed not in cloud.things:
            raise RefusedError(400, f"The resource '{needed}' was not found")
    extra = {"IPAddress": "203.0.113.7", "address": "203.0.113.7"} if kind == "addresses" else {}
    link = f"{_ROOT}/projects/{cloud.project}/{scope}/{kind}/{name}"
    kept: Thing = {**thing, **extra, "id": str(cloud.tick()), "selfLink": link, "fingerprint": "c2FtZQ=="}
    if kind == "targetHttpsProxies":
        _check_map(cloud, kept)
    if kind == "securityPolicies":
        kept.setdefault("rules", [{"priority": 2147483647, "action": "allow"}])
    cloud.create(f"compute/{kind}/{name}", kept)
    return _operation(cloud, request, kind, name, scope)


@plays("compute", "GET", f"{_GLOBAL}/{{kind}}")
def things(cloud: Cloud, request: Request, project: str, kind: str) -> Thing:
    return {"items": [thing for thing in cloud.under(f"compute/{kind}") if "region" not in thing]}


@plays("compute", "GET", "/compute/v1/projects/{project}/aggregated/{kind}")
def everywhere(cloud: Cloud, request: Request, project: str, kind: str) -> Thing:
    return {"items": {"global": {kind: cloud.under(f"compute/{kind}")}}}


@plays("compute", "GET", f"{_REGIONAL}/{{kind}}")
def regional_things(cloud: Cloud, request: Request, project: str, region: str, kind: str) -> Thing:
    return {"items": cloud.under(f"compute/{kind}")}


@plays("compute", "GET", f"{_GLOBAL}/{{kind}}/{{name}}")
def thing(cloud: Cloud, request: Request, project: str, kind: str, name: str) -> Thing:
    return _found(cloud, kind, name)


def _found(cloud: Cloud, kind: str, name: str) -> Thing:
    if kind == "operations":
        return {"kind": "compute#operation", "name": name, "status": "DONE"}
    return cloud.get(f"compute/{kind}/{name}")


@plays("compute", "GET", f"{_REGIONAL}/{{kind}}/{{name}}")
def regional_thing(cloud: Cloud, request: Request, project: str, region: str, kind: str, name: str) -> Thing:
    return _found(cloud, kind, name)


@plays("compute", "POST", f"{_GLOBAL}/operations/{{name}}/wait")
def wait(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    return {"kind": "compute#operation", "name": name, "status": "DONE"}


@plays("compute", "POST", f"{_REGIONAL}/operations/{{name}}/wait")
def regional_wait(cloud: Cloud, request: Request, project: str, region: str, name: str) -> Thing:
    return {"kind": "compute#operation", "name": name, "status": "DONE"}


@plays("compute", "POST", f"{_GLOBAL}/{{kind}}")
def insert(cloud: Cloud, request: Request, project: str, kind: str) -> Thing:
    return _insert(cloud, request, kind, "global")


@plays("compute", "POST", f"{_REGIONAL}/{{kind}}")
def regional_insert(cloud: Cloud, request: Request, project: str, region: str, kind: str) -> Thing:
    return _insert(cloud, request, kind, f"regions/{region}")


@plays("compute", "PATCH", f"{_GLOBAL}/{{kind}}/{{name}}")
def patch(cloud: Cloud, request: Request, project: str, kind: str, name: str) -> Thing:
    found = cloud.get(f"compute/{kind}/{name}")
    sent = _sent(request, kind)
    if kind == "targetHttpsProxies":
        _check_map(cloud, {**found, **sent})
    found |= sent
    return _operation(cloud, request, kind, name, "global")


@plays("compute", "POST", f"{_GLOBAL}/backendServices/{{name}}/setSecurityPolicy")
def set_security_policy(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    found = cloud.get(f"compute/backendServices/{name}")
    policy = request.json.get("securityPolicy", "")
    for needed in _named({"policy": policy}):
        cloud.get(needed)
    found["securityPolicy"] = policy
    if not policy:
        del found["securityPolicy"]
    return _operation(cloud, request, "backendServices", name, "global")


@plays("compute", "DELETE", f"{_GLOBAL}/{{kind}}/{{name}}")
def delete(cloud: Cloud, request: Request, project: str, kind: str, name: str) -> Thing:
    _delete(cloud, kind, name)
    return _operation(cloud, request, kind, name, "global")


@plays("compute", "DELETE", f"{_REGIONAL}/{{kind}}/{{name}}")
def regional_delete(cloud: Cloud, request: Request, project: str, region: str, kind: str, name: str) -> Thing:
    _delete(cloud, kind, name)
    return _operation(cloud, request, kind, name, f"regions/{region}")


def _delete(cloud: Cloud, kind: str, name: str) -> None:
    full = f"compute/{kind}/{name}"
    for key, thing in cloud.things.items():
        if key.startswith("compute/") and full in _named(thing):
            raise RefusedError(400, f"The resource '{full}' is already being used by '{key}'")
    cloud.delete(full)


@plays("compute", "POST", f"{_GLOBAL}/targetHttpsProxies/{{name}}/{{verb}}")
@plays("compute", "POST", "/compute/v1/projects/{project}/targetHttpsProxies/{name}/{verb}")
def change_proxy(cloud: Cloud, request: Request, project: str, name: str, verb: str) -> Thing:
    found = cloud.get(f"compute/targetHttpsProxies/{name}")
    found |= request.json
    return _operation(cloud, request, "targetHttpsProxies", name, "global")


@plays("compute", "POST", f"{_GLOBAL}/urlMaps/{{name}}/validate")
def validate(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    return {"result": {"loadSucceeded": True, "testPassed": True}}
