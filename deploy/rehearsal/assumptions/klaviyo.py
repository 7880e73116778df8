"""The assumptions about Klaviyo. How it is tried stands in `checks/`."""

from deploy.rehearsal.assumption import Assumption, CannotBeTried, Place, Service, Trial
from deploy.rehearsal.checks import connection, consent, events, profiles, records
from shared.consent import heal
from shared.consent.rules import decisions, memory
from shared.consent.rules.delivery import read_event
from shared.http import answers
from shared.http.forbidden import lacks_a_scope
from shared.installation.leaving import leave_former_accounts
from shared.installation.provision import provision
from shared.installation.steps import begin
from shared.klaviyo.client import Webhook
from shared.klaviyo.consent_jobs import ConsentCalls
from shared.klaviyo.data_sources import made_data_source
from shared.klaviyo.oauth import KlaviyoOAuth
from shared.metrics.metrics import send_metric
from shared.metrics.packing import pack_events
from shared.metrics.rules import event
from shared.metrics.rules.event_profile import settled_profile
from shared.profiles.klaviyo_import import import_profile
from shared.profiles.rules.owners import decide
from shared.records.data_sources import DataSource
from shared.records.rules.record import blamed
from shared.records.sending import Sending
from shared.resync.rules.packing import without_clearing
from shared.rewards import rewards


def _of(name: str, sentence: str, place: Place, if_wrong: str, tried: Trial | CannotBeTried) -> Assumption:
    return Assumption(name, Service.KLAVIYO, sentence, place, if_wrong, tried)


KLAVIYO: tuple[Assumption, ...] = (
    _of(
        "target-body-is-an-event",
        "the body of a target is Klaviyo's event with or without `data`; Klaviyo's and Omneo's pages disagree",
        Place(event.read_metric),
        "a target that a customer uses today is 400",
        CannotBeTried(
            "only a reaction calls a target",
            "Send the template of a target that a customer uses with `dryRun=1`",
        ),
    ),
    _of(
        "events-far-back-and-ahead",
        "Klaviyo takes events up to a year ahead and after 1990, as its specification says",
        Place(event, "EARLIEST"),
        "events are accepted and die, or are refused at the door for nothing",
        Trial(events.far_back_and_ahead),
    ),
    _of(
        "event-meta-beside-attributes",
        "revision 2026-10-15 wants a profile's `meta` beside its attributes; older bodies have it among them, and the code moves it",
        Place(settled_profile),
        "lists in properties of profiles are not appended to",
        Trial(events.meta_beside_attributes),
    ),
    _of(
        "one-event-a-unique-id",
        "Klaviyo keeps one event for each profile, metric and `unique_id`, however often it is sent",
        Place(send_metric),
        "a retry is a second event, and a Flow mails twice",
        Trial(events.one_event_a_unique_id),
    ),
    _of(
        "bulk-refuses-a-known-event",
        "an event that a profile has already, by metric and `unique_id`, refuses a whole bulk job with a 400, and no event of it is recorded; a single "
        "call drops it",
        Place(pack_events),
        "a job that is sent again makes second events, or loses those beside a known one",
        Trial(events.bulk_refuses_a_known_event),
    ),
    _of(
        "throttled-bulk-job-has-no-effect",
        "a bulk job of events that is throttled has had no effect",
        Place(pack_events),
        "events of such a job are recorded twice, or refuse the job when it is sent again",
        CannotBeTried(
            "it would go beyond Klaviyo's limits",
            "Send eleven bulk jobs in a second with an account's own key, and look at the events after them",
        ),
    ),
    _of(
        "dead-grant-is-named",
        "a refresh token that is dead gets 400 with `invalid_grant` or `invalid_grant_type`",
        Place(KlaviyoOAuth.refresh),
        "a tenant whose app was removed is never shown as disconnected",
        Trial(connection.dead_grant_is_named, writes=False),
    ),
    _of(
        "install-url-names-nobody",
        "Klaviyo's installation URL names no tenant, and its callback no account",
        Place(begin),
        "nothing: a name that came would be one question less for the merchant",
        CannotBeTried(
            "a merchant begins an install",
            "Install once from the marketplace, and look at the query of both addresses",
        ),
    ),
    _of(
        "uninstall-ends-the-webhook",
        "an app that is removed in Klaviyo takes its webhook along, or the webhook goes on delivering, which is then counted and not applied",
        Place(leave_former_accounts),
        "nothing that is seen: the webhook stays in the account",
        CannotBeTried(
            "it would end the connection that is tried",
            "Remove the app from a test account, install it again, and look whether the list of webhooks shows two",
        ),
    ),
    _of(
        "event-names-its-profile",
        "a consent event names its profile by id alone, and its time as `timestamp` or `datetime`; a subscribe may say its `custom_method_detail`",
        Place(read_event),
        "consent events cannot be read, and stand on the desk",
        Trial(consent.event_names_its_profile),
    ),
    _of(
        "bounce-says-its-kind",
        "a bounce may say its type, under a name like `Bounce Type`",
        Place(decisions, "TABLE"),
        "each bounce costs a look at the profile, and a soft one may be taken for hard",
        Trial(consent.bounce_says_its_kind, writes=False),
    ),
    _of(
        "profile-bears-the-mark",
        "`custom_source` is shown on the profile as `custom_method_detail` of its email consent",
        Place(ConsentCalls.subscribe),
        "our own opt-ins are told from a person's by time alone",
        Trial(consent.profile_bears_mark),
    ),
    _of(
        "event-is-near-its-consent",
        "Klaviyo writes a consent and its event within a minute, so the mark on a profile's consent belongs to each event that is not older than that",
        Place(decisions, "MARKER"),
        "a person's own act is taken for ours, or ours for theirs",
        Trial(consent.event_is_near_its_consent),
    ),
    _of(
        "unsubscribe-bears-no-mark",
        "the event of an unsubscribe bears no mark of ours, so none is asked for; our own is known by its time",
        Place(memory.Call),
        "nothing: a mark would only tell more",
        Trial(consent.unsubscribe_bears_no_mark),
    ),
    _of(
        "twin-topics-have-one-second",
        "the two topics of one SMS act have the same second",
        Place(decisions, "TWINS"),
        "one act counts twice, and leaves two interactions",
        Trial(consent.twins_have_one_second, writes=False),
    ),
    _of(
        "metrics-are-named-by-topics",
        'a metric\'s name is its topic in words ("Bounced Email"), under the integration Klaviyo',
        Place(heal.heal),
        "`heal` reads nothing back of that topic",
        Trial(consent.metrics_are_named_by_topics, writes=False),
    ),
    _of(
        "consent-lands-within-three-minutes",
        "Klaviyo carries a consent job out within three minutes",
        Place(memory, "LANDING"),
        "a look comes too early, and asks for a consent twice",
        Trial(consent.lands_within_three_minutes),
    ),
    _of(
        "consent-is-stamped-when-it-lands",
        "Klaviyo gives a consent the time at which its job is carried out",
        Place(memory, "UNDER_WAY"),
        "an opt-out of the same minutes is taken for older or newer than it is",
        Trial(consent.stamped_when_it_lands),
    ),
    _of(
        "deleted-webhook-is-silent",
        "a deleted or renamed webhook delivers nothing more",
        Place(provision),
        "deliveries come twice, each counts once",
        CannotBeTried(
            "its deliveries come to the extension",
            "Delete the webhook by hand, install again, unsubscribe a test profile, and look at `traffic` for one delivery",
        ),
    ),
    _of(
        "webhook-names-are-free",
        "names of webhooks are free and need not be unique",
        Place(provision),
        "an install stops where another tenant of the account has a webhook of the name",
        Trial(connection.webhook_names_are_free),
    ),
    _of(
        "webhook-list-hides",
        "the list of webhooks shows a webhook by its name, and never its secret",
        Place(Webhook.read),
        "an install makes a second webhook, or a secret is shown to whoever may list",
        Trial(connection.webhook_list_hides),
    ),
    _of(
        "create-refuses-known-identifiers",
        "a create refuses every identifier that a profile has, with 409; a create-or-update without an id is never sent, so nobody is found by a phone number",
        Place(import_profile),
        "a sync makes a second profile of one person",
        Trial(profiles.create_refuses_known_identifiers),
    ),
    _of(
        "unknown-id-is-404",
        "a create-or-update answers 404 for an id that Klaviyo does not know",
        Place(import_profile),
        "a sync makes a profile under an old id, or waits for a day",
        Trial(profiles.unknown_id_is_404),
    ),
    _of(
        "identifier-of-another-is-409",
        "a create-or-update answers 409 with `duplicate_profile_id` for an identifier of another profile",
        Place(import_profile),
        "an identifier moves to another person's profile, or a sync dies",
        Trial(profiles.identifier_of_another_is_409),
    ),
    _of(
        "null-clears",
        "null in a create-or-update clears the field",
        Place(import_profile),
        "what was removed in Omneo stays in Klaviyo",
        Trial(profiles.null_clears),
    ),
    _of(
        "bulk-null-clears-nothing",
        "an import in bulk does not clear what is null",
        Place(without_clearing),
        "nothing: a profile with a null is synced alone in any case",
        Trial(profiles.bulk_null_clears_nothing),
    ),
    _of(
        "merge-moves-what-is-missing",
        "a merge moves the identifiers that the kept profile lacks, unites suppressions, and keeps the newer consent",
        Place(decide),
        "a merge loses an identifier, or an opt-out",
        Trial(profiles.merge_moves),
    ),
    _of(
        "record-of-deleted-source-is-refused",
        "Klaviyo refuses records for a deleted data source with 404, or with 400 that names the relationship",
        Place(DataSource),
        "records are lost until somebody looks into Klaviyo",
        Trial(records.record_of_deleted_source_is_refused),
    ),
    _of(
        "taken-title-is-refused",
        "a data source whose title is taken is refused with 400 or 409",
        Place(made_data_source),
        "an install makes a data source twice",
        Trial(records.taken_title_is_refused),
    ),
    _of(
        "record-jobs-keep-their-order",
        "Klaviyo applies record jobs in the order in which it accepted them, and the records of a bulk job in the order of its list",
        Place(Sending),
        "an object keeps older values",
        CannotBeTried(
            "no call reads an object back without an object type, which a person makes",
            "Map the data source to an object type, send two records of one object, and look at the object",
        ),
    ),
    _of(
        "refusal-names-the-record",
        "Klaviyo takes a bulk job of records whole or not at all, and a refusal names the record by its index",
        Place(blamed),
        "a bad record sends all records of its job one by one",
        Trial(records.refusal_names_the_record),
    ),
    _of(
        "forbidden-is-json",
        "a 403 that is not JSON comes from Klaviyo's edge and passes; a 403 in JSON is a missing scope",
        Place(lacks_a_scope),
        "a call without its scope waits for a day",
        CannotBeTried(
            "the token has every scope",
            "Install the app in a test account with one scope less, and look at `doctor`",
        ),
    ),
    _of(
        "answers-carry-limits",
        "each answer that is not throttled carries `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`",
        Place(answers.retry_after),
        "nothing: the extension waits as `Retry-After` says",
        Trial(connection.answers_carry_limits, writes=False),
    ),
    _of(
        "answers-carry-request-id",
        "each answer carries `X-Klaviyo-Req-Id`",
        Place(answers.Problem),
        "the desk cannot say what Klaviyo's support asks for",
        Trial(connection.answers_carry_request_id, writes=False),
    ),
    _of(
        "webhook-action-waits-nine-seconds",
        "Klaviyo waits at least nine seconds for the answer to a webhook action",
        Place(rewards, "ANSWER_WITHIN"),
        "a slow reward is skipped, and never tried again",
        CannotBeTried(
            "only a Flow calls it",
            "Let a Flow call an address that answers after nine seconds, and look at its log",
        ),
    ),
)
