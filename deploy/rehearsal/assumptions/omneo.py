"""The assumptions about Omneo. How it is tried stands in `checks/`."""

from deploy.rehearsal.assumption import Assumption, CannotBeTried, Place, Service, Trial
from deploy.rehearsal.checks import omneo, rewards
from shared.admin import omneo as doctor
from shared.http.strangers import is_strangers
from shared.installation.provision import provision
from shared.metrics.metrics import send_metric
from shared.metrics.rules.event import klaviyo_profile_id, with_id_token
from shared.omneo.client import OmneoClient
from shared.omneo.verdicts import read_problem
from shared.profiles import deleted
from shared.profiles.planning import planned
from shared.resync.omneo_list import OmneoList
from shared.rewards.making import make_or_find, omneos_time
from shared.rewards.rules.expiry import expiry_of
from shared.rewards.rules.reward import omneo_reward
from shared.web.authentication import signing_secret

_BIN = "Point a reaction at an address that shows what it is sent"


def _of(name: str, sentence: str, place: Place, if_wrong: str, tried: Trial | CannotBeTried) -> Assumption:
    return Assumption(name, Service.OMNEO, sentence, place, if_wrong, tried)


OMNEO: tuple[Assumption, ...] = (
    _of(
        "targets-are-signed",
        "Omneo signs targets as it signs webhooks, with the same secret; a target needs no header of its own",
        Place(signing_secret),
        "calls of targets are 401 until their header `x-omneo-secret` is set",
        CannotBeTried(
            "Omneo calls a target when a reaction runs, and the answer comes to another address",
            f"{_BIN}, and look for `X-Omneo-Hmac-SHA256` and `x-omneo-secret` among the headers",
        ),
    ),
    _of(
        "lost-answer-repeats-a-target",
        "a target whose answer was lost may be called again with an equal body, and nothing in it says so",
        Place(send_metric),
        "a repeat that differs in a byte becomes a second event",
        CannotBeTried(
            "only a reaction calls a target, and the extension always answers",
            f"{_BIN} and lets the first call time out, and compare the bodies and headers of all calls",
        ),
    ),
    _of(
        "context-ids",
        "in an Omneo context, `profile.id` is Omneo's id if it is a UUID, and Klaviyo's id otherwise",
        Place(klaviyo_profile_id),
        "events land on no profile, or on a new one",
        CannotBeTried(
            "only a reaction renders a context",
            "Render one incentive target with `dryRun=1`, and look at whom it means",
        ),
    ),
    _of(
        "token-by-identity",
        "an ID token is asked for by the Klaviyo id and `id_handle`, and is the token of the profile that holds the identity",
        Place(OmneoClient.mint_id_token_by_identity),
        "events that ask for a token die, or carry the token of somebody else",
        Trial(omneo.identity_mints_token, writes=False),
    ),
    _of(
        "token-exp-in-unix-seconds",
        "`exp` of an ID token is in Unix seconds",
        Place(with_id_token),
        "`IDTokenExpiry` means another time, and links in emails end early or late",
        Trial(omneo.token_expires_in_unix_seconds, writes=False),
    ),
    _of(
        "token-in-standard-base64",
        "the page that reads `IDToken` takes base64 in the standard alphabet",
        Place(with_id_token),
        "some links in emails lead to nobody",
        CannotBeTried(
            "the page is the retailer's", "Open the link of one event with a token, and see who is logged in"
        ),
    ),
    _of(
        "unknown-identity-mints-nothing",
        "Omneo refuses an unknown identity with 404 or 422; it does not answer with an anonymous token",
        Place(OmneoClient.mint_id_token),
        "an email carries a token of nobody",
        Trial(omneo.unknown_identity_mints_nothing, writes=False),
    ),
    _of(
        "profiles-by-time-made",
        "`GET /profiles` takes `sort=created_at` and `filter[created_at][gte]`; of profiles made in one second it keeps one order",
        Place(OmneoList),
        "a resync skips profiles, or never ends; a run that has read too few says so",
        Trial(omneo.lists_by_time_made, writes=False),
    ),
    _of(
        "email-filter-ignores-case",
        "`filter[email]` finds a profile whatever the case of its email",
        Place(OmneoClient.find_profile_by_email),
        "rewards are 404 and tokens are missing for who writes an address in another case",
        Trial(omneo.email_filter_ignores_case, writes=False),
    ),
    _of(
        "missing-profile-is-named",
        "Omneo's own 404 names what is not there, as Laravel's `No query results for model [...]` does, or \"Profile not found\". A bare "
        '`{"message": "Not Found"}` may be a gateway\'s: of a profile it is believed only once Omneo is heard on the same path for a profile that '
        "it lists; elsewhere the call waits, and after a day it is on the desk",
        Place(read_problem),
        "deletions wait for a second look, or stand on the desk",
        Trial(omneo.missing_profile_is_named, writes=False),
    ),
    _of(
        "empty-list-is-200",
        "a list of Omneo's that is empty is 200 with `[]` in `data`; a 404, null or an object in its place says nothing",
        Place(OmneoClient.rewards_of_profile),
        "calls wait where nobody is to be found",
        Trial(omneo.empty_list_is_200, writes=False),
    ),
    _of(
        "refusal-names-fields",
        "a refusal that is Omneo's own holds `errors` by field, or a message that no gateway says; a success without `data` is not "
        "Omneo's, one without a body only after a DELETE",
        Place(is_strangers),
        "a refusal waits for a day before it is on the desk",
        Trial(omneo.refusal_names_fields),
    ),
    _of(
        "equal-interactions-are-two",
        "an interaction may have the action `reach`; Omneo keeps two equal interactions",
        Place(OmneoClient.create_interaction),
        "interactions of consent events are refused, or two events of one second become one",
        Trial(omneo.equal_interactions_are_two),
    ),
    _of(
        "webhooks-by-namespace",
        "Omneo lists webhooks by `filter[namespace]` with `links.next`, and one that is made disabled stays so",
        Place(OmneoClient.webhooks),
        "an install makes webhooks twice, or touches those of others",
        Trial(omneo.webhooks_are_listed_by_namespace),
    ),
    _of(
        "token-says-when-it-expires",
        "`GET /auth/verify` answers with `data.expires_at`",
        Place(doctor, "TOKEN_WARNING"),
        "the doctor does not warn before Omneo's token ends",
        Trial(omneo.token_says_when_it_expires, writes=False),
    ),
    _of(
        "profile-shows-identities",
        "Omneo shows `identities` with a profile",
        Place(planned),
        "every sync looks the profile up in Klaviyo again",
        Trial(omneo.profile_shows_identities, writes=False),
    ),
    _of(
        "taken-identity-is-422",
        "Omneo refuses with 422 an identity that another profile holds",
        Place(OmneoClient.create_identity),
        "two Omneo profiles share a Klaviyo profile, and each sync overwrites the other's",
        Trial(omneo.taken_identity_is_refused),
    ),
    _of(
        "deleted-profile-is-gone",
        "a deleted Omneo profile is 404 or has `profile_type` deleted, ten seconds later at most",
        Place(deleted, "OMNEO_LAGS"),
        "a deletion in Omneo leaves the Klaviyo profile as it is",
        Trial(omneo.deleted_profile_is_gone),
    ),
    _of(
        "restored-profile-tells-nothing",
        "`profile.deleted` is sent for a deletion alone, and a profile that is restored is told as updated or created",
        Place(deleted.delete_profile),
        "a restored profile is suppressed in Klaviyo until its next change",
        CannotBeTried(
            "no public call restores a profile",
            "Delete and restore a test profile in CX Manager, and look at its jobs with `traffic` and `explain`",
        ),
    ),
    _of(
        "token-permissions",
        "the permissions of a token have the names of Omneo's SDK, and the ones that the guide names are enough",
        Place(provision),
        "an install stops at the step that lacks a permission",
        CannotBeTried(
            "a person makes the token",
            "Make a token with those permissions alone, and run `doctor` and a rehearsal with it",
        ),
    ),
    _of(
        "reward-meta-comes-back",
        "`meta` of a reward comes back as it was given, in the list of a profile's rewards too, soon after the reward was made",
        Place(omneo_reward),
        "a reward whose answer was lost is made a second time",
        Trial(rewards.meta_comes_back),
    ),
    _of(
        "reward-is-listed-in-time",
        "a reward whose call Omneo answered with 500 or 503 is in the list at once; after any other missing answer, within 90 seconds",
        Place(omneos_time),
        "a reward whose answer was lost is made a second time",
        CannotBeTried("Omneo fails when it does, not when it is asked to", "Ask Omneo for its own time-outs"),
    ),
    _of(
        "repeated-external-id",
        "a repeated `external_id` gets 409, or 422 that names it, or makes a second reward; the code handles each",
        Place(make_or_find),
        "a Flow that repeats its call gets an error in place of its reward",
        Trial(rewards.repeated_external_id),
    ),
    _of(
        "periods-of-definitions",
        "a definition's `period` counts in its `period_type`; with a type that begins with `absolute_`, the date of `absolute_expiry` holds as it is written",
        Place(expiry_of),
        "rewards expire at another time, or Flows have to name `expires_at`",
        Trial(rewards.periods_are_known, writes=False),
    ),
)
