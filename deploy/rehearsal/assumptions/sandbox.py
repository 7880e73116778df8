"""The assumptions that only the sandbox makes. The public pages leave several ways open; the sandbox chooses one, and
the extension works with all of them.

The rows serve readers of the sandbox's modules, and the guide. The rehearsal does not try them, and must not import
them: they import the sandbox.
"""

from deploy.local.sandbox.klaviyo import (
    accounts,
    acts,
    codes,
    documents,
    endpoints,
    errors,
    event_jobs,
    events,
    filters,
    flow_templates,
    flows,
    import_bodies,
    import_jobs,
    importing,
    lists,
    metrics,
    oauth,
    parcels,
    profiles,
    subscription_bodies,
    subscription_jobs,
    subscriptions,
    suppression_jobs,
    webhooks,
)
from deploy.local.sandbox.klaviyo.authorization import authorize
from deploy.local.sandbox.klaviyo.data_sources import DataSource
from deploy.local.sandbox.klaviyo.deletion_jobs import request_deletion
from deploy.local.sandbox.klaviyo.delivery import Courier
from deploy.local.sandbox.klaviyo.list_endpoints import add_profiles_to_list
from deploy.local.sandbox.klaviyo.service import Klaviyo
from deploy.local.sandbox.omneo import answers, comms, directory, listing, reactions
from deploy.local.sandbox.omneo import webhooks as omneo_webhooks
from deploy.local.sandbox.omneo.delivery import Postman
from deploy.local.sandbox.omneo.endpoints import search_id
from deploy.local.sandbox.omneo.events import ProfileEvents
from deploy.local.sandbox.omneo.identities import update_identity
from deploy.local.sandbox.omneo.rewards import Rewards
from deploy.local.sandbox.omneo.service import Omneo
from deploy.local.sandbox.omneo.twig import Twig
from deploy.local.sandbox.stage.windows import Windows
from deploy.rehearsal.assumption import Assumption, CannotBeTried, Place, Service

_EITHER_WAY = CannotBeTried("the extension works either way")
_NEVER = CannotBeTried("the extension never does that")
_PEOPLE = CannotBeTried("people do it, not the API")


def _klaviyo(
    name: str, sentence: str, place: Place, if_wrong: str, why: CannotBeTried = _EITHER_WAY
) -> Assumption:
    return Assumption(name, Service.KLAVIYO, sentence, place, if_wrong, why)


def _omneo(
    name: str, sentence: str, place: Place, if_wrong: str, why: CannotBeTried = _EITHER_WAY
) -> Assumption:
    return Assumption(name, Service.OMNEO, sentence, place, if_wrong, why)


_TEXTS = "tests see other words than a person does"
_REFUSED = "tests miss a refusal, or see one too many"
_TIMING = "tests see things sooner or later than they come"

SANDBOX: tuple[Assumption, ...] = (
    _klaviyo(
        "order-of-identifiers",
        "identifiers are tried in the order email, phone number, external id, anonymous id, `_kx`, after the id; an identifier of another profile "
        "stays there, and one that was replaced finds nobody",
        Place(accounts.Account.find),
        "tests of events find another profile",
    ),
    _klaviyo(
        "emails-have-no-case",
        "emails are compared without regard to case",
        Place(accounts.Account.owner),
        "tests miss two profiles of one address",
    ),
    _klaviyo(
        "writes-move-updated",
        "every write through the API moves a profile's `updated`, an event's too, and a change of consent does not; null in an event's profile leaves "
        "an identifier alone; `patch_properties` runs last, and `patch_identifiers` has no effect",
        Place(accounts.Account.apply_profile),
        "tests see another profile after an event",
    ),
    _klaviyo(
        "apps-own-metrics",
        "an app's metric has another id than Klaviyo's of the same name, belongs to an integration \"Custom\", and exists from its first event on; "
        "every topic that is offered has its metric from the start",
        Place(metrics.get_metrics),
        "tests of `heal` see other metrics",
    ),
    _klaviyo(
        "order-of-events",
        "events come newest first unless `sort` says otherwise, of one second the last recorded first; a malformed id is one that does not look like Klaviyo's",
        Place(metrics.get_events),
        "tests of `heal` read in another order",
    ),
    _klaviyo(
        "merge-is-told-once",
        '"Merged Profile" is recorded for the profile that is kept, without properties; events that no webhook was sent yet still name the other',
        Place(accounts.Account.redirect),
        "tests of merges see other events",
    ),
    _klaviyo(
        "sizes-are-of-1024",
        "KB and MB are multiples of 1024, counted over JSON in UTF-8 without spaces; what is too large is 400",
        Place(events, "LARGEST_REQUEST"),
        "a call near a limit is refused that tests let pass",
    ),
    _klaviyo(
        "words-of-errors",
        "the texts of a 401 without a credential, of 405, 409, 415 and 5xx, and the codes of 405, 409, 415 and 5xx",
        Place(errors.error),
        _TEXTS,
    ),
    _klaviyo(
        "unknown-attributes-are-400",
        "an attribute that the reference does not list is 400, and null counts as absent",
        Place(documents.problems),
        _REFUSED,
    ),
    _klaviyo(
        "cursors-are-positions",
        "a cursor holds a position in the list, so what is removed meanwhile shifts it",
        Place(documents.page),
        "tests miss a row that a page passes over",
    ),
    _klaviyo(
        "consent-events",
        "a consent event is recorded when the consent changes and its topic is offered, email's before the list's; its properties are empty but for "
        "`List`, `Bounce Type` and `custom_method_detail`; there is none for transactional SMS or push",
        Place(acts.record),
        "tests of consent see events that do not come, or miss some that do",
        _PEOPLE,
    ),
    _klaviyo(
        "double-opt-in-waits",
        "until a double opt-in is confirmed the profile is neither subscribed nor on the list, and an unsubscribe does not end what waits",
        Place(acts.subscribe),
        "tests of double opt-in see another consent",
        _PEOPLE,
    ),
    _klaviyo(
        "list-unsubscribe-is-of-the-list",
        "who unsubscribes from a list leaves it and has the list suppression UNSUBSCRIBE, and the consent stays; only email knows that",
        Place(acts.unsubscribe),
        "tests of lists see another consent",
        _PEOPLE,
    ),
    _klaviyo(
        "suppression-keeps-consent",
        "a hard bounce, a spam complaint and a manual suppression suppress and leave the consent as it is; unsubscribing adds the suppression UNSUBSCRIBE; "
        "a reason is listed once, with its first time",
        Place(subscriptions.Subscriptions),
        "tests of suppressions see another consent",
        _PEOPLE,
    ),
    _klaviyo(
        "order-of-refusals",
        "an unknown path is 404 and a wrong method 405 before the credential, a missing scope is 403 before limits and body, and a refused body counts "
        "against the limits; `application/json` is not taken; any date is a revision",
        Place(Klaviyo),
        _REFUSED,
    ),
    _klaviyo(
        "filters-are-exact",
        "strings in filters stand in single or double quotes, with a backslash before a quote; all but emails is compared exactly",
        Place(filters.parse),
        "tests find other profiles",
    ),
    _klaviyo(
        "bad-rows-of-an-import",
        "an invalid email and a missing identifier are a row's own error; whatever else is wrong with a row refuses the whole import",
        Place(import_bodies.row_problems),
        "a resync sends rows apart that tests do not",
    ),
    _klaviyo(
        "import-jobs-end-at-once",
        "an import has its effect at its end; `failed_count` are the rows that were not written; a job can be read after it has expired; a cancelled one "
        "has no effect",
        Place(import_jobs.ImportJob),
        _TIMING,
    ),
    _klaviyo(
        "flow-actions-are-tried-17-times",
        "the waits between tries double, and the 17th comes after 24 hours; without an answer in 10 seconds the recipient is skipped; the body is rendered "
        "once; attributes win over properties of their name",
        Place(flows.Flows),
        "tests of Flows see tries at other times",
        CannotBeTried("only a Flow calls it"),
    ),
    _klaviyo(
        "templates-are-djangos",
        "a variable that is not there prints nothing, null prints None, true and false print True and False, and nothing is escaped unless the flow says so",
        Place(flow_templates.render),
        "a Flow renders a body that tests do not know",
        CannotBeTried("only a Flow renders it"),
    ),
    _klaviyo(
        "suppression-jobs-skip",
        "an address that nobody has, and a profile that is as it should be, count as skipped; a job of the one kind is not found under the other",
        Place(suppression_jobs.suppress),
        "tests count otherwise",
    ),
    _klaviyo(
        "webhooks-deliver-at-once",
        "the first new try comes after a minute and the wait doubles; a webhook is in error from its first failure until a success; what happened before it "
        "was made or enabled is not for it; it delivers from the moment it is made",
        Place(parcels.Parcels),
        _TIMING,
    ),
    _klaviyo(
        "deliveries-are-signed-anew",
        "a new try carries the same events under a new timestamp and signature; `meta.timestamp` is when the request was sent",
        Place(Courier),
        "tests of deliveries see other times",
    ),
    _klaviyo(
        "lists-stay-as-made",
        "`updated` of a list stays the time of its making",
        Place(lists.MarketingList),
        "nothing: nobody reads it",
    ),
    _klaviyo(
        "list-members",
        "an unknown profile among those to be added to a list is 404 and nobody is added; members come in the order of joining",
        Place(add_profiles_to_list),
        _REFUSED,
        _NEVER,
    ),
    _klaviyo(
        "subscription-bodies",
        "every unknown field of a subscribe or unsubscribe job is 400; an identifier of the channel is asked for beside an id; a row names a channel",
        Place(subscription_bodies.creation_problems),
        _REFUSED,
    ),
    _klaviyo(
        "subscription-jobs-pass-over",
        "a row with an unknown id, and one that finds nobody, is passed over; an unsubscribe finds a profile by the channel's identifier alone; `method` is API; "
        "an older consent is taken all the same",
        Place(subscription_jobs.create_subscription_job),
        "tests see a consent that Klaviyo does not give",
    ),
    _klaviyo(
        "unsupported-countries",
        "a number of an unsupported country is refused wherever profiles are written or subscribed, and not in an event",
        Place(importing.unsupported_phones),
        "an event dies of a number that tests let pass",
    ),
    _klaviyo(
        "profile-bodies",
        "a `location` with another key is 400; `properties` are not looked into; `anonymous_id` is shown and not written, `_kx` the other way round",
        Place(profiles.import_problems),
        _REFUSED,
    ),
    _klaviyo(
        "profile-queries",
        "`include` and `sort` are refused where profiles are listed; no filter knows `_kx`; a merge of an unknown profile is 404, one with itself 400",
        Place(profiles.wants_subscriptions),
        _REFUSED,
        _NEVER,
    ),
    _klaviyo(
        "authorize-page",
        "the codes that go back are those of RFC 6749; a missing `state` is `invalid_request`; who sees the page may install in every account",
        Place(authorize),
        _TEXTS,
        CannotBeTried("a merchant sees the page"),
    ),
    _klaviyo(
        "webhook-bodies",
        "`http` is refused but for loopback; null in an update is ignored; a webhook has at least one topic; `updated_at` is shown from the first update on",
        Place(webhooks.creation_problems),
        _REFUSED,
    ),
    _klaviyo(
        "token-endpoint",
        "`invalid_client` is 401 and other refusals 400; the eleventh refresh of a minute is the API's 429; a revocation of either token is 200 with nothing in it",
        Place(oauth.OAuth),
        _REFUSED,
    ),
    _klaviyo(
        "authorization-codes",
        "a malformed parameter is `invalid_request` and anything else `invalid_grant`; a refused exchange does not use the code up; a second one does not end the "
        "first one's tokens",
        Place(codes.Codes),
        _REFUSED,
    ),
    _klaviyo(
        "event-bodies",
        'more than 5 MB is 400, not 413; "after 1990" takes in 1990 itself; an empty identifier is none; nesting is counted below `properties`',
        Place(events.problems),
        _REFUSED,
    ),
    _klaviyo(
        "bulk-events-are-recorded-at-once",
        "a refused job of events names every event that is wrong; an id that no profile has is 404 for the whole job; the events are recorded at once",
        Place(event_jobs.create_event_job),
        _TIMING,
    ),
    _klaviyo(
        "endpoints-are-strict",
        "a trailing slash makes no difference; lists come oldest first; an unlisted query parameter is 400; the eleventh webhook is 400; sparse fieldsets are "
        "not known here",
        Place(endpoints, "ENDPOINTS"),
        _REFUSED,
    ),
    _klaviyo(
        "titles-are-exact",
        "titles of data sources are compared exactly",
        Place(DataSource.clashes),
        "an install makes two data sources whose titles differ in case",
    ),
    _klaviyo(
        "deletion-by-one-identifier",
        "an empty identifier is none; the id of a profile that was merged deletes the one it became part of",
        Place(request_deletion),
        "a deletion means nobody, or the kept profile",
    ),
    _klaviyo(
        "windows-begin-with-the-clock",
        "windows of limits begin at whole seconds and minutes; a call that is refused is not counted",
        Place(Windows),
        _TIMING,
    ),
    _omneo(
        "tokens-of-omneo",
        "an unknown tenant is 404; an ID token lives 15 minutes, an API token a year",
        Place(Omneo),
        _TIMING,
    ),
    _omneo(
        "omneos-orders-and-filters",
        "profiles are sorted by created_at, updated_at and id, else in the order of their making; a time that is none is 422; filters all have to hold",
        Place(listing.query),
        "a resync reads in another order",
    ),
    _omneo(
        "one-order-of-one-second",
        "of profiles with the same time the one made first comes first, and last where the order is turned round",
        Place(directory.Profiles),
        "a resync passes over profiles of one second",
    ),
    _omneo(
        "newest-identity-of-a-handle",
        "PUT, GET and DELETE by a handle mean the newest identity of that handle, and are 404 where there is none; a change of identities moves `updated_at`",
        Place(update_identity),
        "a sync replaces another identity",
    ),
    _omneo(
        "reactions-and-targets",
        "ids count up; the argument of `target.send` that names the target may have any name; a template that cannot be parsed is refused",
        Place(reactions.targets),
        "tests of targets let templates pass that Omneo does not",
        _NEVER,
    ),
    _omneo(
        "templates-are-twigs",
        "Omneo renders the template of a target as Twig does; nothing is escaped, a variable that is missing is null, and times are UTC unless the "
        "template says otherwise",
        Place(Twig),
        "a target renders a body that tests do not know",
        CannotBeTried(
            "only a reaction renders it",
            "Render the template of a target that a customer uses with `dryRun=1`, and compare it with what the sandbox makes of it",
        ),
    ),
    _omneo(
        "words-of-omneo",
        "the bodies of 404, 405, 409, 429, 5xx and 501",
        Place(answers.error),
        _TEXTS,
    ),
    _omneo(
        "webhooks-of-omneo",
        "a webhook that does not say is active, in the queue `default`, and not repeated; any text is a trigger; the clash of trigger and url is an error of `url`",
        Place(omneo_webhooks.webhooks),
        _REFUSED,
    ),
    _omneo(
        "comms-fields",
        "a comms field that the page does not name is refused, as is a flag that is neither true, false nor null; a stamp is taken in two forms and kept in UTC",
        Place(comms.comms_errors),
        _REFUSED,
    ),
    _omneo(
        "interaction-fields",
        "`interacted_at` is now if it is left out; `identifier` names the profile as `{id, handle}` or as its id",
        Place(comms.new_interaction),
        _REFUSED,
        _NEVER,
    ),
    _omneo(
        "targets-are-given-ten-seconds",
        "a target is given 10 seconds; nothing is retried unless the tenant says so; targets carry no `X-Omneo-Event`; redirects are not followed",
        Place(Postman),
        _TIMING,
        CannotBeTried("only a reaction calls a target"),
    ),
    _omneo(
        "own-changes-are-not-told",
        "what the API changes is told to no webhook, or by a switch to each; the context of `profile.deleted` is the profile as it was",
        Place(ProfileEvents),
        "a sync causes a webhook, and that another sync",
        CannotBeTried(
            "its webhooks call the extension",
            "Change a test profile by the API, and look at `traffic` for a call of Omneo's webhooks",
        ),
    ),
    _omneo(
        "unknown-is-404-at-omneo",
        "an unknown profile or identity is 404, also at `search-id`; a new profile with an email that another has is 422 on `email`",
        Place(search_id),
        _REFUSED,
    ),
    _omneo(
        "rewards-as-shown",
        "numbers are shown as numbers; an empty `meta` is shown as `[]`; values are above zero; a reward expires after it is issued; an unknown field is ignored",
        Place(Rewards),
        _REFUSED,
    ),
)
