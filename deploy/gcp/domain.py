"""The load balancer and the names that lead to it: read from Google and written for the scripts."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from deploy.gcp import front
from deploy.gcp.google import Google
from deploy.gcp.naming import Place
from deploy.gcp.tables import rows_in, words_in, write_rows


def write_front(work: Path, place: Place, apis: Iterable[str]) -> None:
    """Read the load balancer, and write it; if the domain has changed, write the old names that still serve
    too.

    `old-hosts` serve beside the domain; while the functions are called under one of them, `serving-host`
    names them too. `moving` gives the reason; `begun` exists if an earlier run began to move.
    """
    google = Google()
    found = front.read(google, place.project, apis, datetime.now(UTC))
    write_rows(
        work / "addresses", [["extension", found.address, found.made_by or "-"]] if found.address else []
    )
    write_rows(work / "certificates", ([name, *row] for name, row in found.classic.items()))
    write_rows(work / "attached", ([name] for name in found.attached))
    write_rows(
        work / "authorizations", ([name, row.data, row.record] for name, row in found.authorizations.items())
    )
    write_rows(work / "managed", ([name, state or "-"] for name, state in found.certificates.items()))
    write_rows(work / "entries", ([name, host] for name, host in found.entries.items()))
    write_rows(work / "certificate-maps", ([name] for name in found.maps))
    attached = "map" if found.maps_attached else "classic"
    write_rows(work / "https-proxies", [["extension", attached, found.tls or "-"]] if found.proxy else [])
    if place.domain:
        _write_move(work, place, found, google)


def _write_move(work: Path, place: Place, found: front.Front, google: Google) -> None:
    old = found.old_hosts(place.domain)
    is_active = found.certificates.get(front.certificate_name(place.domain)) == "ACTIVE"
    leads_here = bool(old) and is_active and found.address in google.addresses_of(place.domain)
    called = [host for host in old if leads_here and _was_called(google, place, host)]
    if not old or (leads_here and not called):
        why, kept = "", []
    elif not is_active:
        why, kept = f"until the certificate of {place.domain} is active", old
    elif not leads_here:
        why, kept = f"until {place.domain} leads to {found.address} in the DNS", old
    else:
        why, kept = "as long as it is called: within the last day it was", called
    write_rows(work / "old-hosts", ([host] for host in kept))
    gone = [name for name, host in found.entries.items() if host in old and host not in kept]
    write_rows(work / "gone-names", ([name] for name in gone))
    proofs = {row.record: row.data for name, row in found.authorizations.items() if name in gone}
    write_rows(
        work / "gone-records", map(_place_of, _leading(google, work, place, "", proofs) if proofs else [])
    )
    write_rows(work / "moving", [[why]] if why else [])
    write_rows(work / "serving-host", ([host] for host in kept if not leads_here))
    if found.has_begun(place.domain):
        (work / "begun").touch()


def _was_called(google: Google, place: Place, host: str) -> bool:
    """Whether the load balancer's log holds a call of the last day, under this name, that we did not refuse."""
    since = datetime.now(UTC) - timedelta(days=1)
    wanted = (
        'resource.type="http_load_balancer" AND httpRequest.status<400'
        f' AND httpRequest.requestUrl:"https://{host}/" AND timestamp>="{since:%Y-%m-%dT%H:%M:%SZ}"'
    )
    body = {"resourceNames": [f"projects/{place.project}"], "filter": wanted, "pageSize": 1}
    return bool(google.post("logging", "v2/entries:list", body).get("entries"))


def write_record(work: Path, place: Place) -> None:
    """Write into `record` whether to make the DNS record in `wanted-record`. Asks Cloud DNS if it is on."""
    google = Google()
    zones = _zones(google, work, place)
    rows = []
    for name, type, data in rows_in(work / "wanted-record"):
        zone = front.zone_of(name, zones)
        present = _in_zone(google, place, zone) if zone else []
        row = front.record(name, type, data, zone, present)
        rows.append([*row[:4], row.zone or "-"])
    write_rows(work / "record", rows)


def write_pointing_here(work: Path, place: Place) -> None:
    """Write, in `pointing-here`, the records of all zones that lead to our address or prove a domain to our certificates.

    Those of names that no deployment has made stand in `leading-nowhere`: they stay, and lead nowhere once the address is gone.
    """
    google = Google()
    address = next((row[1] for row in rows_in(work / "addresses") if row[0] == "extension"), "")
    proofs = {record: data for _, data, record in rows_in(work / "authorizations")}
    found = list(_leading(google, work, place, address, proofs))
    write_rows(work / "pointing-here", (_place_of(row) for row in found if row.action == "there"))
    write_rows(work / "leading-nowhere", (_place_of(row) for row in found if row.action == "theirs"))


def _leading(
    google: Google, work: Path, place: Place, address: str, proofs: Mapping[str, str]
) -> Iterator[front.Record]:
    """Yield the records that lead to the address, or prove a domain as `front.pointing_here` has it."""
    for zone in _zones(google, work, place):
        present = _in_zone(google, place, zone["name"])
        yield from front.pointing_here(address, proofs, zone["name"], present)


def _place_of(record: front.Record) -> list[str]:
    """Return the name, the type and the zone of a record."""
    return [record.name, record.type, record.zone]


def _zones(google: Google, work: Path, place: Place) -> list[dict[str, Any]]:
    if "dns.googleapis.com" not in words_in(work / "apis-on"):
        return []
    return list(google.pages("dns", f"projects/{place.project}/managedZones", "managedZones"))


def _in_zone(google: Google, place: Place, zone: str) -> list[dict[str, Any]]:
    return list(google.pages("dns", f"projects/{place.project}/managedZones/{zone}/rrsets", "rrsets"))
