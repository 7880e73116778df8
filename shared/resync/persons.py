"""Who stays out of a bulk import, lest it writes another person's Klaviyo profile. What decides stands in `rules/persons.py`.

It costs two look-ups for a hundred profiles whose Klaviyo id is not known, and none for the others. What imports carry that are under
way cannot be looked up: that is remembered with them, as hashes.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from shared.profiles.waiting import hashes
from shared.resync.klaviyo_lookup import KlaviyoLookup, KnownProfiles
from shared.resync.rules.persons import Apart, is_anothers, why_apart
from shared.tenants.tenants import Tenant

_SHORT = 12  # digits of a hash: those of a whole import have to fit into one document

Resource = Mapping[str, Any]


def apart(
    rows: Sequence[Resource],
    ids: KnownProfiles,
    taken: Mapping[str, str],
    *,
    lookup: KlaviyoLookup,
    tenant: Tenant,
) -> dict[str, Apart]:
    """Return, by their Omneo ids, who stays out of the import of these rows, and why.

    `ids` are the Klaviyo profiles whose ids among the rows were looked up, `taken` the Omneo ids in imports under way, by the hashes of
    their addresses.

    Raises:
        ServiceError: what Klaviyo answered.
    """
    without_id = [row for row in rows if not row.get("id")]
    owners = lookup.owners(
        [value_of(row, "email") for row in without_id], [value_of(row, "phone_number") for row in without_id]
    )
    counts = Counter(address for row in rows for address in hashes_of(row, tenant).values())
    found: dict[str, Apart] = {}
    for row in rows:
        omneo_id = value_of(row, "external_id")
        if id := row.get("id"):
            held = ids.of("id", str(id))
            why = Apart.ID if held is not None and is_anothers(held, omneo_id) else None
        else:
            email, phone = value_of(row, "email"), value_of(row, "phone_number")
            why = why_apart(
                omneo_id,
                email,
                email_owner=owners.of("email", email),
                phone_owner=owners.of("phone_number", phone),
            ) or _shared(omneo_id, hashes_of(row, tenant), counts, taken)
        if why is not None:
            found[omneo_id] = why
    return found


def _shared(
    omneo_id: str, addresses: Mapping[str, str], counts: Mapping[str, int], taken: Mapping[str, str]
) -> Apart | None:
    for name, why in (("email", Apart.SHARED_EMAIL), ("phone_number", Apart.SHARED_PHONE)):
        address = addresses.get(name, "")
        if address and (counts[address] > 1 or taken.get(address, omneo_id) != omneo_id):
            return why
    return None


def value_of(row: Resource, name: str) -> str:
    """Return an identifier of a profile as it is sent, "" if it has none."""
    return str(row["attributes"].get(name) or "")


def hashes_of(row: Resource, tenant: Tenant) -> dict[str, str]:
    """Return the hashes of the addresses of a profile as it is sent, by name."""
    addresses = {name: value_of(row, name) for name in ("email", "phone_number")}
    return {name: digits[:_SHORT] for name, digits in hashes(tenant, addresses).items()}
