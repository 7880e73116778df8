"""The things that a rehearsal makes in Klaviyo and Omneo, and how each kind is found by its name and removed. No check lives here."""

from collections.abc import Callable, Mapping

from deploy.rehearsal.clients import RehearsedKlaviyo, RehearsedOmneo
from deploy.rehearsal.journal import Made
from shared.errors import NotFoundError
from shared.rewards.rules.reward import is_known_by

MARK = "omneo-rehearsal"  # every name begins with it

PERSON = "klaviyo profile"
KNOWN_PERSON = "klaviyo profile by its id"  # noted as well once it is made
LIST = "klaviyo list"
DATA_SOURCE = "data source"
KLAVIYO_WEBHOOK = "klaviyo webhook"
OMNEO_PROFILE = "omneo profile"
KNOWN_OMNEO_PROFILE = "omneo profile by its id"  # noted as well once it is made
OMNEO_WEBHOOKS = "omneo webhooks"
REWARD = "reward"
KNOWN_REWARD = (
    "reward by its id"  # noted as well once it is made: whether its key comes back is one of the questions
)


# Each returns whether the thing existed. A thing that is known by its id is gone if the id is not found.


def _remove_person(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> bool:
    found = klaviyo.find_profile("email", made.name)
    if found is not None:
        klaviyo.request_deletion(found.id)
    return found is not None


def _remove_known_person(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> bool:
    klaviyo.request_deletion(made.name)
    return True


def _remove_list(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> bool:
    found = klaviyo.lists_named(made.name)
    for id in found:
        klaviyo.delete_list(id)
    return bool(found)


def _remove_data_source(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> bool:
    was_there = False
    # Two may have one title, of which the list tells one: whether that can be is one of the questions.
    while (id := klaviyo.data_sources().get(made.name)) is not None:
        klaviyo.delete_data_source(id)
        was_there = True
    return was_there


def _remove_klaviyo_webhook(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> bool:
    found = [webhook for webhook in klaviyo.webhooks() if webhook.name == made.name]
    for webhook in found:
        klaviyo.delete_webhook(webhook.id)
    return bool(found)


def _remove_omneo_profile(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> bool:
    found = omneo.find_profile_by_email(made.name)
    if found is not None and found.lives:
        omneo.delete_profile(found.id)
    return found is not None


def _remove_known_omneo_profile(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> bool:
    found = omneo.profile(made.name)
    if found is not None and found.lives:
        omneo.delete_profile(found.id)
    return True


def _remove_omneo_webhooks(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> bool:
    found = [
        webhook for webhook in omneo.webhooks(made.name) if webhook.url.rpartition("/")[2].startswith(MARK)
    ]
    for webhook in found:
        omneo.delete_webhook(webhook.id)
    return bool(found)


def _remove_reward(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> bool:
    found = [
        reward
        for reward in omneo.rewards_of_profile(made.owner)
        if is_known_by(made.name, external_id=reward.external_id, meta=reward.meta)
    ]
    for reward in found:
        omneo.delete_reward(reward.id)
    return bool(found)


def _remove_known_reward(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> bool:
    omneo.delete_reward(made.name)
    return True


_REMOVE: Mapping[str, Callable[[RehearsedKlaviyo, RehearsedOmneo, Made], bool]] = {
    PERSON: _remove_person,
    KNOWN_PERSON: _remove_known_person,
    LIST: _remove_list,
    DATA_SOURCE: _remove_data_source,
    KLAVIYO_WEBHOOK: _remove_klaviyo_webhook,
    OMNEO_PROFILE: _remove_omneo_profile,
    KNOWN_OMNEO_PROFILE: _remove_known_omneo_profile,
    OMNEO_WEBHOOKS: _remove_omneo_webhooks,
    REWARD: _remove_reward,
    KNOWN_REWARD: _remove_known_reward,
}


def remove(made: Made, klaviyo: RehearsedKlaviyo, omneo: RehearsedOmneo) -> bool:
    """Remove a thing that was made, if it exists. Return whether it existed, or is known to be gone. A repeat is
    harmless.

    Raises:
        ServiceError: it cannot be removed now.
    """
    try:
        return _REMOVE[made.kind](klaviyo, omneo, made)
    except NotFoundError:
        return True  # gone, maybe between the two calls
