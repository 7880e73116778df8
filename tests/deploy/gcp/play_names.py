"""Plays what a public name needs: Certificate Manager, Cloud DNS, and the DNS that everybody sees.

https://cloud.google.com/certificate-manager/docs/reference/certificate-manager/rest
https://cloud.google.com/dns/docs/reference/rest/v1
https://developers.google.com/speed/public-dns/docs/doh/json
"""

import re

from tests.deploy.gcp.cloud import Cloud, RefusedError, Request, Thing, plays
from tests.deploy.gcp.message_classes import output_only

_ROOT = "/v1/projects/{project}/locations/global"
_NAME = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
_CLASSES = {
    "dnsAuthorizations": "DnsAuthorization",
    "certificates": "Certificate",
    "certificateMaps": "CertificateMap",
    "certificateMapEntries": "CertificateMapEntry",
}
_ZONES = "/dns/v1/projects/{project}/managedZones"


def _sent(request: Request, kind: str) -> Thing:
    """Return what the body sets: a field that is output only is read past."""
    ignored = output_only("certificatemanager/v1", _CLASSES[kind])
    return {key: value for key, value in request.json.items() if key not in ignored}


def _operation(cloud: Cloud, name: str, answer: Thing | None = None) -> Thing:
    full = f"projects/{cloud.project}/locations/global/operations/operation-{cloud.tick()}"
    cloud.things[f"operation/{full.rpartition('/')[2]}"] = {
        "name": full,
        "done": True,
        "metadata": {"target": name},
        "response": answer or {},
    }
    return cloud.things[f"operation/{full.rpartition('/')[2]}"]


@plays("certificatemanager", "GET", f"{_ROOT}/operations/{{id}}")
def operation(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    return cloud.get(f"operation/{id}")


def _create(cloud: Cloud, request: Request, kind: str, under: str, parameter: str) -> tuple[str, Thing]:
    id = request.query[parameter]
    if not _NAME.fullmatch(id):
        raise RefusedError(400, f"invalid id {id}")
    thing = _sent(request, kind)
    name = f"projects/{cloud.project}/locations/global/{under}/{id}"
    return name, {**thing, "name": name}


def _named(cloud: Cloud, name: str) -> None:
    if f"names/{name}" not in cloud.things:
        raise RefusedError(404, f"Resource '{name}' was not found")


def _listed(cloud: Cloud, kind: str, below: str = "") -> Thing:
    prefix = f"names/projects/{cloud.project}/locations/global/{below}{kind}"
    return {kind: cloud.under(prefix)}


@plays("certificatemanager", "GET", f"{_ROOT}/dnsAuthorizations")
def authorizations(cloud: Cloud, request: Request, project: str) -> Thing:
    return _listed(cloud, "dnsAuthorizations")


@plays("certificatemanager", "POST", f"{_ROOT}/dnsAuthorizations")
def create_authorization(cloud: Cloud, request: Request, project: str) -> Thing:
    name, thing = _create(cloud, request, "dnsAuthorizations", "dnsAuthorizations", "dnsAuthorizationId")
    if thing["domain"].startswith("*."):
        raise RefusedError(400, "An authorization is for a domain and its wildcard; name the domain.")
    thing["dnsResourceRecord"] = {
        "name": f"_acme-challenge.{thing['domain']}.",
        "type": "CNAME",
        "data": f"{cloud.tick():08d}.7.authorize.certificatemanager.goog.",
    }
    return _operation(cloud, name, cloud.create(f"names/{name}", thing))


@plays("certificatemanager", "GET", f"{_ROOT}/certificates")
def certificates(cloud: Cloud, request: Request, project: str) -> Thing:
    return _listed(cloud, "certificates")


@plays("certificatemanager", "POST", f"{_ROOT}/certificates")
def create_certificate(cloud: Cloud, request: Request, project: str) -> Thing:
    name, thing = _create(cloud, request, "certificates", "certificates", "certificateId")
    for needed in thing["managed"]["dnsAuthorizations"]:
        _named(cloud, needed)
    thing["managed"]["state"] = "PROVISIONING"
    return _operation(cloud, name, cloud.create(f"names/{name}", thing))


@plays("certificatemanager", "GET", f"{_ROOT}/certificateMaps")
def maps(cloud: Cloud, request: Request, project: str) -> Thing:
    return _listed(cloud, "certificateMaps")


@plays("certificatemanager", "POST", f"{_ROOT}/certificateMaps")
def create_map(cloud: Cloud, request: Request, project: str) -> Thing:
    name, thing = _create(cloud, request, "certificateMaps", "certificateMaps", "certificateMapId")
    return _operation(cloud, name, cloud.create(f"names/{name}", thing))


@plays("certificatemanager", "GET", f"{_ROOT}/certificateMaps/{{id}}")
def certificate_map(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    return cloud.get(f"names/projects/{cloud.project}/locations/global/certificateMaps/{id}")


@plays("certificatemanager", "GET", f"{_ROOT}/certificateMaps/{{map}}/certificateMapEntries")
def entries(cloud: Cloud, request: Request, project: str, map: str) -> Thing:
    _named(cloud, f"projects/{cloud.project}/locations/global/certificateMaps/{map}")
    return _listed(cloud, "certificateMapEntries", f"certificateMaps/{map}/")


@plays("certificatemanager", "POST", f"{_ROOT}/certificateMaps/{{map}}/certificateMapEntries")
def create_entry(cloud: Cloud, request: Request, project: str, map: str) -> Thing:
    under = f"certificateMaps/{map}/certificateMapEntries"
    _named(cloud, f"projects/{cloud.project}/locations/global/certificateMaps/{map}")
    name, thing = _create(cloud, request, "certificateMapEntries", under, "certificateMapEntryId")
    for needed in thing["certificates"]:
        _named(cloud, needed)
    others = _listed(cloud, "certificateMapEntries", f"certificateMaps/{map}/")["certificateMapEntries"]
    if any(other["hostname"] == thing["hostname"] for other in others):
        raise RefusedError(409, f"{thing['hostname']} is in the map already")
    return _operation(cloud, name, cloud.create(f"names/{name}", thing))


@plays("certificatemanager", "GET", f"{_ROOT}/dnsAuthorizations/{{id}}")
def authorization(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    return cloud.get(f"names/projects/{cloud.project}/locations/global/dnsAuthorizations/{id}")


@plays("certificatemanager", "GET", f"{_ROOT}/certificates/{{id}}")
def certificate(cloud: Cloud, request: Request, project: str, id: str) -> Thing:
    return cloud.get(f"names/projects/{cloud.project}/locations/global/certificates/{id}")


@plays("certificatemanager", "GET", f"{_ROOT}/certificateMaps/{{map}}/certificateMapEntries/{{id}}")
def entry(cloud: Cloud, request: Request, project: str, map: str, id: str) -> Thing:
    under = f"certificateMaps/{map}/certificateMapEntries/{id}"
    return cloud.get(f"names/projects/{cloud.project}/locations/global/{under}")


@plays("certificatemanager", "DELETE", f"{_ROOT}/{{name+}}")
def delete(cloud: Cloud, request: Request, project: str, name: str) -> Thing:
    """Remove what nothing uses: entries use certificates, those their authorizations, a map its entries and a proxy the map."""
    full = f"projects/{cloud.project}/locations/global/{name}"
    _named(cloud, full)
    for key, thing in cloud.things.items():
        uses = [*thing.get("certificates", []), *thing.get("managed", {}).get("dnsAuthorizations", [])]
        is_below = key.startswith(f"names/{full}/")
        is_served = key.startswith("compute/targetHttpsProxies/") and thing.get(
            "certificateMap", ""
        ).endswith(f"/{full}")
        if (key.startswith("names/") and (full in uses or is_below)) or is_served:
            raise RefusedError(400, f"Resource '{full}' is used by '{key}'", "FAILED_PRECONDITION")
    cloud.delete(f"names/{full}")
    return _operation(cloud, full)


@plays("dns", "GET", _ZONES)
def zones(cloud: Cloud, request: Request, project: str) -> Thing:
    return {"managedZones": cloud.under("zone")}


@plays("dns", "GET", f"{_ZONES}/{{zone}}/rrsets")
def record_sets(cloud: Cloud, request: Request, project: str, zone: str) -> Thing:
    cloud.get(f"zone/{zone}")
    return {"rrsets": cloud.under(f"zone/{zone}")}


@plays("dns", "GET", f"{_ZONES}/{{zone}}/rrsets/{{name}}/{{type}}")
def record_set(cloud: Cloud, request: Request, project: str, zone: str, name: str, type: str) -> Thing:
    return cloud.get(f"zone/{zone}/{name}|{type}")


@plays("dns", "POST", f"{_ZONES}/{{zone}}/rrsets")
def create_record_set(cloud: Cloud, request: Request, project: str, zone: str) -> Thing:
    """Keep a record: of a name in the zone, not twice, and no CNAME beside another (RFC 1034, 3.6.2)."""
    wanted = request.json
    held = cloud.get(f"zone/{zone}")
    if not f".{wanted['name']}".endswith(f".{held['dnsName']}"):
        raise RefusedError(400, f"Invalid value for 'entity.rrset.name': '{wanted['name']}'")
    here = [row["type"] for row in cloud.under(f"zone/{zone}") if row["name"] == wanted["name"]]
    if here and "CNAME" in {wanted["type"], *here}:
        raise RefusedError(400, "a CNAME cannot stand beside another record")
    return cloud.create(f"zone/{zone}/{wanted['name']}|{wanted['type']}", wanted)


@plays("dns", "DELETE", f"{_ZONES}/{{zone}}/rrsets/{{name}}/{{type}}")
def delete_record_set(cloud: Cloud, request: Request, project: str, zone: str, name: str, type: str) -> Thing:
    cloud.delete(f"zone/{zone}/{name}|{type}")
    return {}


@plays("resolver", "GET", "/resolve")
def resolve(cloud: Cloud, request: Request) -> Thing:
    """Return what the public DNS has for a name: `resolves` says which addresses."""
    rows = [
        {"name": f"{request.query['name']}.", "type": 1, "data": data}
        for data in cloud.resolves.get(request.query["name"], ())
    ]
    return {"Status": 0 if rows else 3, **({"Answer": rows} if rows else {})}
