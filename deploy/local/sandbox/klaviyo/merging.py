"""Two profiles that become one. Klaviyo's page "Merge Profiles": the source is merged into the destination and deleted.

Assumed (merge-moves-what-is-missing, merge-is-told-once):
- The destination keeps its own values, identifiers too; missing values come from the source. Lists and suppressions are
  united, and for each channel the consent that was updated last holds.
- "Merged Profile" is recorded for the destination, without properties, and nothing for the source.
- Events that were not yet sent to a webhook still name the source.
"""

from deploy.local.sandbox.klaviyo.accounts import Account, Profile
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches, record
from deploy.local.sandbox.klaviyo.events import IDENTIFIERS


def merge(
    account: Account, source: Profile, destination: Profile, switches: ConsentSwitches, at: float
) -> None:
    """Merge the source into the destination; the source's id finds it for `merged_seconds` more."""
    for name, value in source.attributes.items():
        if name not in IDENTIFIERS:
            destination.attributes.setdefault(name, value)
    destination.properties = {**source.properties, **destination.properties}
    destination.memberships = {**source.memberships, **destination.memberships}
    destination.updated_at = at
    if "merge-moves-what-is-missing" not in switches.otherwise:
        _merge_subscriptions(source, destination)
    account.redirect(source, destination, until=at + switches.merged_seconds)
    record(account, ["merged_profile"], destination, {}, at)


def _merge_subscriptions(source: Profile, destination: Profile) -> None:
    theirs, own = source.subscriptions, destination.subscriptions
    for row in theirs.suppressions:
        own.suppress(row.reason, row.at, row.list_id)
    for channel, consent in theirs.consents.items():
        if (consent.updated_at or 0.0) > (own.consents[channel].updated_at or 0.0):
            own.consents[channel] = consent
