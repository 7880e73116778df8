"""Tries the assumptions about Klaviyo's profiles: searches, refusals, null values and merges."""

from collections.abc import Mapping
from typing import Any

from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.checks.consent import SUBSCRIBED_WITHIN, subscribe_and_wait
from deploy.rehearsal.stage import Person, Stage
from shared.errors import NotFoundError, RefusedError
from shared.klaviyo.bulk import ImportJob

_NOBODYS_ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"  # of the form of Klaviyo's ids
_FICTIVE_NUMBER = "+61491570006"  # one of those that Australia keeps for fiction
_IMPORTED_WITHIN = 300.0
_SETTLED_WITHIN = 30.0
_NOT_TITLED = "the profile did not show its title within three minutes"


def unknown_id_is_404(stage: Stage) -> Answer:
    """Create or update a profile under an id that nobody has."""
    attributes = {"email": stage.email("unknown-id")}
    try:
        resource = {"type": "profile", "id": _NOBODYS_ID, "attributes": attributes}
        stage.known(stage.klaviyo.import_profile(resource))
    except NotFoundError:
        return holds()
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        return fails("the refusal has another status than 404")
    return fails("a profile was made or found in its place")


def identifier_of_another_is_409(stage: Stage) -> Answer:
    """Give one profile the `external_id` of another."""
    own, other = stage.person("own"), stage.person("other")
    resource = {"type": "profile", "id": own.id, "attributes": {"external_id": other.external_id}}
    try:
        stage.klaviyo.import_profile(resource)
    except RefusedError as error:
        stage.saw("status", error.status or 0)
        stage.saw("the refusal names the other profile", error.duplicate_of == other.id)
        stage.saw("the refusal names the profile itself", error.duplicate_of == own.id)
        _without_an_id(stage, own, other)
        is_so = error.status == 409 and bool(error.duplicate_of)
        return judged(is_so, "the refusal is no 409 that names a profile as `duplicate_profile_id`")
    return fails("an identifier that another profile has was taken")


def _without_an_id(stage: Stage, own: Person, other: Person) -> None:
    """Send the email of one profile and the `external_id` of another, without an id, and show the result.

    The extension never sends that.
    """
    attributes = {"email": own.email, "external_id": other.external_id}
    try:
        found = stage.klaviyo.import_profile({"type": "profile", "attributes": attributes})
    except RefusedError as error:
        stage.saw("status without an id", error.status or 0)
    else:
        stage.saw("without an id, the email's profile is found", found.id == own.id)
        stage.saw("without an id, the other profile is found", found.id == other.id)


def create_refuses_known_identifiers(stage: Stage) -> Answer:
    """Create profiles with an email, an `external_id` and a phone number that a profile has."""
    own = stage.person("own")
    known = {"email": own.email, "external_id": own.external_id}
    if _has_phone(stage, own):
        known["phone_number"] = _FICTIVE_NUMBER
    for name, value in known.items():
        attributes = {"email": stage.email("clash"), name: value}
        try:
            stage.known(stage.klaviyo.create_profile({"type": "profile", "attributes": attributes}))
        except RefusedError as error:
            stage.saw(f"status for {name}", error.status or 0)
            if error.status != 409:
                return fails(f"a create with a known `{name}` is refused, and not with 409")
        else:
            return fails(f"a create with a known `{name}` makes a second profile")
    return holds()


def _has_phone(stage: Stage, own: Person) -> bool:
    try:
        stage.klaviyo.import_profile(
            {"type": "profile", "id": own.id, "attributes": {"phone_number": _FICTIVE_NUMBER}}
        )
    except RefusedError as error:
        stage.saw("status for a phone number of the profile's own", error.status or 0)
        return False
    return True


def null_clears(stage: Stage) -> Answer:
    """Clear the title of a profile by null."""
    person = stage.person("own")
    if not _is_titled(stage, person):
        return untried(_NOT_TITLED)
    stage.klaviyo.import_profile({"type": "profile", "id": person.id, "attributes": {"title": None}})
    found = stage.until(lambda: True if _title(stage, person) is None else None, within=_SETTLED_WITHIN)
    return judged(found is not None, "the field keeps its value")


def bulk_null_clears_nothing(stage: Stage) -> Answer:
    """Import a title of null in bulk."""
    person = stage.person("own")
    if not _is_titled(stage, person):
        return untried(_NOT_TITLED)
    row = {"type": "profile", "id": person.id, "attributes": {"email": person.email, "title": None}}
    job = stage.klaviyo.import_profiles([row])

    def ended() -> ImportJob | None:
        now = stage.klaviyo.import_job(job)
        return now if now.is_over else None

    found = stage.until(ended, within=_IMPORTED_WITHIN)
    if found is None:
        return untried("the import was not over within five minutes")
    over, waited = found
    stage.saw("the import was completed", over.status == "complete")
    stage.saw("seconds until the import was over", waited.seconds)
    stage.saw("profiles that it did not write", over.failed)
    if over.status != "complete" or over.failed:
        return untried("the import did not write the profile")
    return judged(_title(stage, person) is not None, "an import in bulk clears what is null")


def merge_moves(stage: Stage) -> Answer:
    """Merge a subscribed and suppressed profile with an `external_id` into one that is nothing of it."""
    source = stage.person("merged")
    email = stage.email("kept")
    kept = stage.known(stage.klaviyo.create_profile({"type": "profile", "attributes": {"email": email}}))
    if subscribe_and_wait(stage, source) is None:
        return untried("the profile to be merged was not subscribed in time")
    stage.klaviyo.suppress(source.email)
    if stage.until(lambda: _is_suppressed(stage, source.id) or None, within=SUBSCRIBED_WITHIN) is None:
        return untried("the profile to be merged was not suppressed in time")
    stage.klaviyo.merge_profiles(source.id, kept.id)

    def merged() -> bool | None:
        row = stage.klaviyo.profile_row(kept.id)
        return row["attributes"].get("external_id") == source.external_id or None

    found = stage.until(merged, within=SUBSCRIBED_WITHIN)
    if found is None:
        return fails("the kept profile did not get the `external_id` of the other within five minutes")
    stage.saw("seconds until it was merged", found[1].seconds)
    through = stage.klaviyo.profile(source.id)
    stage.saw("the old id still finds the kept profile", through is not None and through.id == kept.id)
    if _marketing(stage, kept.id)["consent"] != "SUBSCRIBED":
        return fails("the kept profile did not get the newer consent")
    return judged(_is_suppressed(stage, kept.id), "the kept profile did not get the suppression")


def _marketing(stage: Stage, id: str) -> Mapping[str, Any]:
    marketing: Mapping[str, Any] = stage.klaviyo.profile_row(id)["attributes"]["subscriptions"]["email"][
        "marketing"
    ]
    return marketing


def _is_suppressed(stage: Stage, id: str) -> bool:
    return bool(_marketing(stage, id).get("suppression"))


def _is_titled(stage: Stage, person: Person) -> bool:
    """Give the profile a title, and return whether it was seen: a null that comes before it is shown would seem to clear it."""
    stage.klaviyo.import_profile({"type": "profile", "id": person.id, "attributes": {"title": "Rehearsal"}})
    return stage.until(lambda: _title(stage, person) or None) is not None


def _title(stage: Stage, person: Person) -> object:
    return stage.klaviyo.profile_row(person.id)["attributes"].get("title")
