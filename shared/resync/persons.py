"""The profiles of a bulk import that would write another person's Klaviyo profile; they are not sent. `rules/persons.py` decides.

It costs a look-up for a hundred phone numbers, and one for a hundred emails that Omneo has changed since the extension knows the tenant,
of people whose Klaviyo id is not known; none for the others. The address of a profile that has not changed since is nobody else's: every
external_id of an Omneo profile in Klaviyo has been written since by this extension, with the email that the profile then had. The
identifiers in imports that are still under way cannot be looked up, so the imports are noted with hashes of them.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from shared.profiles.waiting import hashes
from shared.resync.klaviyo_lookup import KlaviyoLookup, KnownProfiles
from shared.resync.rules.persons import Claim, is_anothers, is_found_by_number_alone
from shared.tenants.tenants import Tenant

ADDRESSES = ("email", "phone_number")
_SHORT = 12  # digits of a hash: those of a whole import have to fit into one document

Resource = Mapping[str, Any]
Claims = Mapping[str, Claim]  # by the hash of an address


def without_others(
    rows: Sequence[Resource],
    ids: KnownProfiles,
    taken: Claims,
    changed: Collection[str],
    *,
    lookup: KlaviyoLookup,
    tenant: Tenant,
) -> tuple[list[Resource], Counter[str]]:
    """Return the rows of an import without other people's addresses, and a count of the left out values by kind.

    `ids` are the Klaviyo profiles whose ids among the rows were looked up, `taken` is what imports under way carry, `changed` are the Omneo
    ids whose emails have to be looked up.

    Raises:
        ServiceError: Klaviyo refused or did not answer.
    """
    rows = [_without(row, ["id"]) if _has_anothers_id(row, ids) else row for row in rows]
    without_id = [row for row in rows if not row.get("id")]
    owners = lookup.owners(
        [value_of(row, "email") for row in without_id if value_of(row, "external_id") in changed],
        [value_of(row, "phone_number") for row in without_id],
    )
    counts, claims, kept = Counter[str](), dict(taken), []
    for row in rows:
        others = [] if row.get("id") else list(_of_others(row, owners))
        others += [name for name in _claimed(row, claims, tenant) if name not in others]
        counts.update(f"left out of the import: {name} of another profile" for name in others)
        kept.append(_without(row, others))
        claims |= claims_of(kept[-1], tenant)
    return kept, counts


def claims_of(row: Resource, tenant: Tenant) -> dict[str, Claim]:
    """Return the people who bring the addresses of a row to Klaviyo, by the hashes of the addresses."""
    claim = Claim(value_of(row, "external_id"), has_id=bool(row.get("id")))
    return dict.fromkeys(_hashes(row, tenant).values(), claim)


def value_of(row: Resource, name: str) -> str:
    """Return an identifier of a profile as it is sent, "" if it has none."""
    return str(row["attributes"].get(name) or "")


def _has_anothers_id(row: Resource, ids: KnownProfiles) -> bool:
    held = ids.of("id", str(row.get("id") or ""))
    return held is not None and is_anothers(held, value_of(row, "external_id"))


def _of_others(row: Resource, owners: KnownProfiles) -> Iterable[str]:
    """Yield which addresses Klaviyo has of another."""
    omneo_id, email = value_of(row, "external_id"), value_of(row, "email")
    held = owners.of("email", email)
    if held is not None and is_anothers(held, omneo_id):
        yield "email"
    number = owners.of("phone_number", value_of(row, "phone_number"))
    if number is not None and is_found_by_number_alone(number, omneo_id, email):
        yield "phone_number"


def _claimed(row: Resource, claims: Claims, tenant: Tenant) -> Iterable[str]:
    """Yield which addresses another brings to Klaviyo."""
    for name, address in _hashes(row, tenant).items():
        mine = Claim(value_of(row, "external_id"), has_id=bool(row.get("id")))
        if not claims.get(address, mine).allows(mine):
            yield name


def _hashes(row: Resource, tenant: Tenant) -> dict[str, str]:
    addresses = {name: value_of(row, name) for name in ADDRESSES}
    return {name: digits[:_SHORT] for name, digits in hashes(tenant, addresses).items()}


def _without(row: Resource, names: Sequence[str]) -> Resource:
    attributes = {name: value for name, value in row["attributes"].items() if name not in names}
    return {**{name: value for name, value in row.items() if name not in names}, "attributes": attributes}
