"""Tries what is assumed of Klaviyo's profiles: who is found, what is refused, what null does, what a merge moves."""

from deploy.rehearsal.assumption import Answer, fails, holds, judged, untried
from deploy.rehearsal.checks.consent import SUBSCRIBED_WITHIN, subscribe_and_wait
from deploy.rehearsal.stage import Person, Stage
from shared.errors import NotFoundError, RefusedError

_NOBODYS_ID = "01HZZZZZZZZZZZZZZZZZZZZZZZ"  # of the form of Klaviyo's ids
_FICTIVE_NUMBER = "+61491570006"  # one of those that Australia keeps for fiction
_IMPORTED_WITHIN = 300.0
_SETTLED_WITHIN = 30.0


def unknown_id_is_404(stage: Stage) -> Answer:
    """Create or update a profile under an id that nobody has."""
    attributes = {"email": stage.email("unknown-id")}
    try:
        stage.klaviyo.import_profile({"type": "profile", "id": _NOBODYS_ID, "attributes": attributes})
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
    """Show what becomes of the email of one profile and the `external_id` of another, without an id. The extension never sends that."""
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
            stage.klaviyo.create_profile({"type": "profile", "attributes": attributes})
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
    for title in ("Rehearsal", None):
        stage.klaviyo.import_profile({"type": "profile", "id": person.id, "attributes": {"title": title}})
    found = stage.until(lambda: True if _title(stage, person) is None else None, within=_SETTLED_WITHIN)
    return judged(found is not None, "the field keeps its value")


def bulk_null_clears_nothing(stage: Stage) -> Answer:
    """Import a title of null in bulk."""
    person = stage.person("own")
    stage.klaviyo.import_profile({"type": "profile", "id": person.id, "attributes": {"title": "Rehearsal"}})
    row = {"type": "profile", "id": person.id, "attributes": {"email": person.email, "title": None}}
    job = stage.klaviyo.import_profiles([row])

    def ended() -> str | None:
        now = stage.klaviyo.import_job(job)
        return now.status if now.is_over else None

    found = stage.until(ended, within=_IMPORTED_WITHIN)
    if found is None:
        return untried("the import was not over within five minutes")
    stage.saw("the import was completed", found[0] == "complete")
    stage.saw("seconds until the import was over", found[1].seconds)
    return judged(_title(stage, person) is not None, "an import in bulk clears what is null")


def merge_moves(stage: Stage) -> Answer:
    """Merge a subscribed profile with an `external_id` into one without either."""
    source = stage.person("merged")
    email = stage.email("kept")
    kept = stage.known(stage.klaviyo.create_profile({"type": "profile", "attributes": {"email": email}}))
    if subscribe_and_wait(stage, source) is None:
        return untried("the profile to be merged was not subscribed in time")
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
    marketing = stage.klaviyo.profile_row(kept.id)["attributes"]["subscriptions"]["email"]["marketing"]
    return judged(marketing["consent"] == "SUBSCRIBED", "the kept profile did not get the newer consent")


def _title(stage: Stage, person: Person) -> object:
    return stage.klaviyo.profile_row(person.id)["attributes"].get("title")
