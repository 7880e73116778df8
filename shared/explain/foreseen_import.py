"""Klaviyo as an import would find it, looked at and not touched: what `explain` hands to the import in place of Klaviyo's client.

It reads alone, and answers a create-or-update as Klaviyo is taken to answer: 404 for an id that it does not know, 409 for an identifier
of another profile. What Klaviyo thinks of a value (a phone number's country, say) nobody learns without sending it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from shared.errors import NotFoundError, RefusedError
from shared.klaviyo.client import KlaviyoClient
from shared.klaviyo.profiles import KlaviyoProfile

# Omneo's page "Profile sync" has the order in which a profile is meant; it does not name the phone number.
_MEANT_BY = ("external_id", "email", "phone_number")
# In which order Klaviyo looks is not known. Whichever it is, the import comes to the same profile; it may only take a call more.
_LOOKED_BY = ("email", "phone_number", "external_id")


class ForeseenRefusalError(RefusedError):
    """Klaviyo would refuse what would be sent."""


@dataclass
class ForeseenKlaviyo:
    """A Klaviyo that is never written to. Each profile is read once. `resource` is what was handed over last."""

    klaviyo: KlaviyoClient
    resource: Mapping[str, Any] = field(default_factory=dict)
    _read: dict[tuple[str, str], KlaviyoProfile | None] = field(default_factory=dict)

    def import_profile(self, resource: Mapping[str, Any]) -> KlaviyoProfile:
        """Return the profile that would be written, one without an id for a new one.

        Raises:
            NotFoundError, ForeseenRefusalError: what Klaviyo would answer.
            ServiceError: what it has answered to a look.
        """
        self.resource = resource
        id, attributes = str(resource.get("id") or ""), resource["attributes"]
        owners = [owner for name in _LOOKED_BY if (owner := self.owner(name, attributes))]
        found = self.profile(id) if id else next(iter(owners), None)
        if id and found is None:
            raise NotFoundError("Klaviyo does not know the id", service="Klaviyo", status=404)
        for owner in owners:
            if found is None or owner.id != found.id:
                refusal = ForeseenRefusalError(
                    "Klaviyo would answer 409", service="Klaviyo", status=409, code="duplicate_profile"
                )
                refusal.duplicate_of = owner.id
                raise refusal
        return found or KlaviyoProfile(id="")

    def match(self, id: str, attributes: Mapping[str, Any]) -> tuple[str, KlaviyoProfile | None]:
        """Return the profile that is meant and by what it was found: "stored_identity", an identifier, or "none"."""
        if id and (found := self.profile(id)):
            return "stored_identity", found
        for name in _MEANT_BY:
            if found := self.owner(name, attributes):
                return name, found
        return "none", None

    def owner(self, identifier: str, attributes: Mapping[str, Any]) -> KlaviyoProfile | None:
        """Return whose the identifier is, None if nobody's."""
        value = str(attributes.get(identifier) or "")
        return self._once(identifier, value, lambda: self._find(identifier, value)) if value else None

    def profile(self, id: str) -> KlaviyoProfile | None:
        """Return the profile, None if there is none."""
        return self._once("id", id, lambda: self.klaviyo.profile(id))

    def find_profile_by_external_id(self, external_id: str) -> KlaviyoProfile | None:
        """Return the profile, None if there is none."""
        return self.owner("external_id", {"external_id": external_id})

    def _find(self, identifier: str, value: str) -> KlaviyoProfile | None:
        try:
            return self.klaviyo.find_profile(identifier, value)
        except RefusedError as error:
            if error.status != 400:
                raise
            return None  # what Klaviyo does not take for an address, nobody has

    def _once(
        self, name: str, value: str, read: Callable[[], KlaviyoProfile | None]
    ) -> KlaviyoProfile | None:
        if (name, value) not in self._read:
            self._read[name, value] = read()
        return self._read[name, value]
