"""What a rehearsal makes in Klaviyo and Omneo, and how each kind of thing is found by its name and removed. No check lives here."""

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
OMNEO_WEBHOOKS = "omneo webhooks"
REWARD = "reward"
KNOWN_REWARD = (
    "reward by its id"  # noted as well once it is made: whether its key comes back is one of the questions
)


def _remove_person(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> None:
    found = klaviyo.find_profile("email", made.name)
    if found is not None:
        klaviyo.request_deletion(found.id)


def _remove_known_person(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> None:
    klaviyo.request_deletion(made.name)


def _remove_list(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> None:
    for id in klaviyo.lists_named(made.name):
        klaviyo.delete_list(id)


def _remove_data_source(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> None:
    # Two may have one title, of which the list tells one: whether that can be is one of the questions.
    while (id := klaviyo.data_sources().get(made.name)) is not None:
        klaviyo.delete_data_source(id)


def _remove_klaviyo_webhook(klaviyo: RehearsedKlaviyo, _: RehearsedOmneo, made: Made) -> None:
    for webhook in klaviyo.webhooks():
        if webhook.name == made.name:
            klaviyo.delete_webhook(webhook.id)


def _remove_omneo_profile(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> None:
    found = omneo.find_profile_by_email(made.name)
    if found is not None and found.lives:
        omneo.delete_profile(found.id)


def _remove_omneo_webhooks(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> None:
    for webhook in omneo.webhooks(made.name):
        if webhook.url.rpartition("/")[2].startswith(MARK):
            omneo.delete_webhook(webhook.id)


def _remove_reward(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> None:
    for reward in omneo.rewards_of_profile(made.owner):
        if is_known_by(made.name, external_id=reward.external_id, meta=reward.meta):
            omneo.delete_reward(reward.id)


def _remove_known_reward(_: RehearsedKlaviyo, omneo: RehearsedOmneo, made: Made) -> None:
    omneo.delete_reward(made.name)


_REMOVE: Mapping[str, Callable[[RehearsedKlaviyo, RehearsedOmneo, Made], None]] = {
    PERSON: _remove_person,
    KNOWN_PERSON: _remove_known_person,
    LIST: _remove_list,
    DATA_SOURCE: _remove_data_source,
    KLAVIYO_WEBHOOK: _remove_klaviyo_webhook,
    OMNEO_PROFILE: _remove_omneo_profile,
    OMNEO_WEBHOOKS: _remove_omneo_webhooks,
    REWARD: _remove_reward,
    KNOWN_REWARD: _remove_known_reward,
}


def remove(made: Made, klaviyo: RehearsedKlaviyo, omneo: RehearsedOmneo) -> None:
    """Remove what was made, if it is there. Repeating this is harmless.

    Raises:
        ServiceError: it cannot be removed now.
    """
    try:
        _REMOVE[made.kind](klaviyo, omneo, made)
    except NotFoundError:
        return  # gone between the two calls
