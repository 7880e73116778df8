"""The public name: the load balancer, whether DOMAIN has changed, and the DNS records to make.

Certificates come from Certificate Manager by DNS authorization: they exist before a name leads here, and one
certificate map serves several names. A load balancer of an earlier version has a classic certificate on its
proxy; it still serves until the new one is active.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from deploy.gcp import naming
from deploy.gcp.google import Google

MAP = "extension"
TTL = 300
PROOF = "_acme-challenge."  # in front of a domain: the name of the record that proves it is ours
_GLOBAL = "v1/projects/{}/locations/global"
_OF_A_NAME = {"A", "AAAA", "CNAME"}  # where there is another one of these, the name is somebody else's

Listed = Mapping[str, Any]


class Authorization(NamedTuple):
    """The proof that a domain is ours: a CNAME record, which must stay for the renewals."""

    domain: str
    record: str
    data: str


class Record(NamedTuple):
    """A DNS record and its verdict: `make`, `there`, `theirs`, or `nowhere` if no zone of the project holds it."""

    action: str
    name: str
    type: str
    data: str
    zone: str


@dataclass(frozen=True)
class Front:
    """The parts of the load balancer, by name; from Certificate Manager only our own. `made_by` is the description of the address, `tls` the proxy's policy."""

    address: str = ""
    made_by: str = ""
    proxy: bool = False
    tls: str = ""
    maps_attached: bool = False
    attached: tuple[str, ...] = ()
    classic: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    authorizations: Mapping[str, Authorization] = field(default_factory=dict)
    certificates: Mapping[str, str] = field(default_factory=dict)
    entries: Mapping[str, str] = field(default_factory=dict)
    maps: tuple[str, ...] = ()

    def old_hosts(self, domain: str) -> list[str]:
        """Return the names that are served now, without `domain`."""
        hosts = set(self.entries.values()) if self.maps_attached else self._classic_hosts()
        return sorted(hosts - {domain})

    def has_begun(self, domain: str) -> bool:
        """Whether an earlier run has begun to prepare the domain, or the domain is in use already."""
        return domain in self.entries.values() or domain in self._classic_hosts()

    def _classic_hosts(self) -> set[str]:
        return {self.classic[name][1] for name in self.attached if name in self.classic}


def certificate_name(domain: str) -> str:
    """Return the name of the certificate, its authorization and its entry in the map.

    It contains the domain, which none can change.
    """
    return f"extension-{naming.fingerprint(domain)[:8]}"


def read(google: Google, project: str, apis: Iterable[str], now: datetime) -> Front:
    """Return the parts of the load balancer. Parts whose API is off are missing.

    Raises:
        RefusedError: Google refused.
    """
    on = set(apis)
    compute: dict[str, list[dict[str, Any]]] = {
        "addresses": [],
        "sslCertificates": [],
        "targetHttpsProxies": [],
    }
    if "compute.googleapis.com" in on:
        compute = {
            kind: list(google.pages("compute", f"projects/{project}/global/{kind}", "items"))
            for kind in compute
        }
    managed: dict[str, list[dict[str, Any]]] = {
        "dnsAuthorizations": [],
        "certificates": [],
        "certificateMaps": [],
    }
    entries: list[dict[str, Any]] = []
    if "certificatemanager.googleapis.com" in on:
        root = _GLOBAL.format(project)
        managed = {
            kind: list(_marked(google.pages("certificatemanager", f"{root}/{kind}", kind)))
            for kind in managed
        }
        if any(_last(found["name"]) == MAP for found in managed["certificateMaps"]):
            path = f"{root}/certificateMaps/{MAP}/certificateMapEntries"
            entries = list(google.pages("certificatemanager", path, "certificateMapEntries"))
    return described(compute, managed, entries, now)


def described(
    compute: Mapping[str, Sequence[Listed]],
    managed: Mapping[str, Sequence[Listed]],
    entries: Sequence[Listed],
    now: datetime,
) -> Front:
    """Return the front that these lists of Google's describe."""
    proxy: Listed = next((row for row in compute["targetHttpsProxies"] if row["name"] == MAP), {})
    records = {
        _last(row["name"]): (row, row.get("dnsResourceRecord", {})) for row in managed["dnsAuthorizations"]
    }
    address: Listed = next((row for row in compute["addresses"] if row["name"] == MAP), {})
    return Front(
        address=address.get("address", ""),
        made_by=address.get("description", ""),
        proxy=bool(proxy),
        tls=_last(proxy.get("sslPolicy", "")),
        maps_attached=_last(proxy.get("certificateMap", "")) == MAP,
        attached=tuple(_last(link) for link in proxy.get("sslCertificates", [])),
        classic={
            row["name"]: (row["managed"].get("status", ""), ",".join(row["managed"].get("domains", [])))
            for row in compute["sslCertificates"]
            if "managed" in row
        },
        authorizations={
            name: Authorization(row["domain"], record.get("name", ""), record.get("data", ""))
            for name, (row, record) in records.items()
        },
        certificates={_last(row["name"]): _state(row, now) for row in managed["certificates"]},
        entries={_last(row["name"]): row.get("hostname", "") for row in entries},
        maps=tuple(_last(row["name"]) for row in managed["certificateMaps"]),
    )


def _state(certificate: Listed, now: datetime) -> str:
    """Return the state in Google's words, and UNRENEWED for one that failed but serves on until it expires.

    FAILED is final (Certificate Manager, ManagedCertificate.state): only another certificate is tried again.
    """
    state = str(certificate.get("managed", {}).get("state", ""))
    expires = certificate.get("expireTime", "")
    if state == "FAILED" and expires > f"{now:%Y-%m-%dT%H:%M:%SZ}":
        return "UNRENEWED"
    return state


def _marked(rows: Iterable[Listed]) -> Iterator[dict[str, Any]]:
    return (dict(row) for row in rows if row.get("labels", {}).get("made_by") == naming.MADE_BY)


def _last(link: str) -> str:
    return link.rpartition("/")[2]


def zone_of(name: str, zones: Iterable[Listed]) -> str:
    """Return the public zone that holds the name, the one nearest to it; "" if there is none."""
    dotted = name.rstrip(".") + "."
    holding = [
        zone
        for zone in zones
        if zone.get("visibility", "public") == "public" and f".{dotted}".endswith(f".{zone['dnsName']}")
    ]
    nearest: Listed = max(holding, key=lambda zone: len(zone["dnsName"]), default={})
    return str(nearest.get("name", ""))


def record(name: str, type: str, data: str, zone: str, present: Iterable[Listed]) -> Record:
    """Return the verdict on a record; `present` are the records of the zone. It never overwrites a record of somebody else."""
    dotted = name.rstrip(".") + "."
    if not zone:
        return Record("nowhere", dotted, type, data, zone)
    rows = list(present)
    here = [row for row in rows if row["name"] == dotted and row["type"] in _OF_A_NAME]
    if any(row["type"] == type and row.get("rrdatas") == [data] for row in here) and len(here) == 1:
        return Record("there", dotted, type, data, zone)
    given_away = any(
        row["type"] == "NS" and f".{dotted}".endswith(f".{row['name']}") and row["name"] != _apex(rows)
        for row in rows
    )
    return Record("theirs" if here or given_away else "make", dotted, type, data, zone)


def _apex(rows: Iterable[Listed]) -> str:
    """Return the zone's own name, which every zone has an SOA record at."""
    return next((str(row["name"]) for row in rows if row["type"] == "SOA"), "")


def pointing_here(
    address: str, proofs: Mapping[str, str], zone: str, present: Iterable[Listed]
) -> Iterator[Record]:
    """Yield the records that lead to our address or prove a domain to our certificates, and to nothing else.

    `proofs` are the data of our authorizations, by the name of each one's record. A record has no label: ours are those that a
    deployment makes for a domain with an authorization of ours. Another name that leads to our address is `theirs`.
    """
    domains = {name.removeprefix(PROOF) for name in proofs}
    for row in present:
        values = row.get("rrdatas", [])
        if len(values) != 1 or not values[0]:
            continue
        if row["type"] == "CNAME" and proofs.get(row["name"]) == values[0]:
            yield Record("there", row["name"], row["type"], values[0], zone)
        elif row["type"] == "A" and values[0] == address:
            whose = "there" if row["name"] in domains else "theirs"
            yield Record(whose, row["name"], row["type"], values[0], zone)
