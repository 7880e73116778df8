"""Both sides of a consent, as an operator may see them: flags, words and dates, and nothing else. Pure."""

from collections.abc import Mapping
from typing import Any

from shared.consent.rules.held import Subject
from shared.consent_events import Channel, Consent
from shared.explain.rules import masking
from shared.profiles.rules.omneo_paths import at_path

Json = Any


def omneo_consent(comms: Mapping[str, Json], channel: Channel) -> dict[str, Json]:
    """Return Omneo's consent of a channel."""
    flags = {name: masking.flag(comms.get(f"{channel}_{name}")) for name in ("promo", "optout", "bounced")}
    return {**flags, "updated_at": masking.date(comms.get(f"{channel}_consent_updated_at"))}


def klaviyo_consent(subject: Subject, consent: Consent) -> dict[str, Json]:
    """Return Klaviyo's side of a consent, on the profile that has the address. `klaviyo_id` is None for a new one."""
    kind = "transactional" if consent is Consent.SMS_TRANSACTIONAL else "marketing"
    held = at_path(subject.subscriptions or {}, f"{consent.channel}.{kind}")
    said: Mapping[str, Json] = held if isinstance(held, Mapping) else {}
    rows = said.get("suppression")
    return {
        "klaviyo_id": subject.klaviyo_id or None,
        "consent": masking.word(said.get("consent")),
        "consented_at": masking.date(said.get("consent_timestamp")),
        "updated_at": masking.date(said.get("last_updated")),
        "suppressions": [
            {"reason": masking.word(row.get("reason")), "at": masking.date(row.get("timestamp"))}
            for row in (rows if isinstance(rows, list) else ())
            if isinstance(row, Mapping)
        ],
    }
