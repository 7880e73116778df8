"""The assumptions about browsers and Google Cloud. No account with Klaviyo or Omneo settles it."""

from deploy.gcp import naming
from deploy.gcp.balancer import url_map
from deploy.gcp.revisions import smoke_path
from deploy.gcp.watching import log_metric
from deploy.rehearsal.assumption import Assumption, CannotBeTried, Place, Service
from deploy.staging import stage
from shared.installation.pages import policy
from shared.records.outbox import Outbox

_DEPLOYMENT = "only a deployment shows it"


def _of_google(name: str, sentence: str, place: Place, if_wrong: str, settled: CannotBeTried) -> Assumption:
    return Assumption(name, Service.GOOGLE, sentence, place, if_wrong, settled)


BROWSERS: tuple[Assumption, ...] = (
    Assumption(
        "forms-carry-origin",
        Service.BROWSERS,
        "a browser sends `Origin` with every form that it posts, ours included",
        Place(policy, "COOKIE"),
        "a merchant with such a browser cannot begin an install",
        CannotBeTried(
            "only a browser shows it", "Begin an install with the oldest browser that a merchant uses"
        ),
    ),
)

GOOGLE: tuple[Assumption, ...] = (
    _of_google(
        "launcher-reads-threads",
        "`THREADS` reaches the launcher, and a function finds `shared/` beside its `main.py`",
        Place(stage),
        "functions do not start, or answer one call at a time",
        CannotBeTried(_DEPLOYMENT, "Make the first call"),
    ),
    _of_google(
        "deterministic-url-is-an-audience",
        "a function's deterministic URL is accepted as the audience of an identity token",
        Place(naming.Place.url),
        "every task is 403, and nothing is delivered",
        CannotBeTried(_DEPLOYMENT, "Send the first event, and look whether its task is done"),
    ),
    _of_google(
        "url-map-hides-tasks",
        "the URL map answers 404 for `/tasks/inbound` before any backend sees the call",
        Place(url_map),
        "workers can be called from outside, where IAM refuses them with 403",
        CannotBeTried(_DEPLOYMENT, "Ask with `curl https://DOMAIN/tasks/inbound`"),
    ),
    _of_google(
        "request-log-names-the-revision",
        "the request log names the revision that a tag led to",
        Place(smoke_path),
        "an upgrade cannot tell whether the new revision answers",
        CannotBeTried(_DEPLOYMENT, "Upgrade once"),
    ),
    _of_google(
        "extractors-read-numbers",
        "Cloud Logging's extractors read numbers from `jsonPayload` into distributions",
        Place(log_metric),
        "charts of waits and delays stay empty",
        CannotBeTried(_DEPLOYMENT, "Look at the dashboard after an hour"),
    ),
    _of_google(
        "clocks-of-instances",
        "the clocks of two instances (Google's) differ by less than the time between an answer and the next call; where they differ by more, two "
        "records of one object that were accepted so close together by two instances reach Klaviyo in the other order, and the older values stay "
        "until the next record of that object",
        Place(Outbox),
        "an object in Klaviyo keeps older values",
        CannotBeTried(_DEPLOYMENT, "Compare the time that each instance logs for one call"),
    ),
)
