"""The causes of dead jobs, and what a person does about each. Pure.

A cause in `HELD` lies outside the jobs: it holds all jobs that die of it, and they go on together once it is mended.
"""

from enum import StrEnum

RECORDS = "send-records"  # the kind of job that never goes on by itself: an old record must not arrive behind a newer one


class Cause(StrEnum):
    """The cause of a job's death."""

    MASTER_LIST = "master-list"
    SCOPE = "scope"
    PLAN = "plan"
    NOT_INSTALLED = "not-installed"
    OMNEO_TOKEN = "omneo-token"  # noqa: S105 - a word, no token
    OMNEO_PERMISSION = "omneo-permission"
    DATA_SOURCE = "data-source"
    IDENTIFIER = "identifier"
    NO_ANSWER = "no-answer"
    REFUSED = "refused"
    UNREAD = "unread"
    OTHER = "other"


HELD = frozenset(
    {
        Cause.MASTER_LIST,
        Cause.SCOPE,
        Cause.PLAN,
        Cause.NOT_INSTALLED,
        Cause.OMNEO_TOKEN,
        Cause.OMNEO_PERMISSION,
    }
)
MENDED_BY_INSTALL = frozenset({Cause.SCOPE, Cause.NOT_INSTALLED, Cause.PLAN})

_AT_ONCE = "Its jobs then go on by themselves."
_WITHIN_AN_HOUR = (
    "One of its jobs is tried every hour, and once that succeeds the others go on by themselves. "
    "To have them go on at once: {replay}"
)
_ADVICE = {
    Cause.MASTER_LIST: "Set master_list_id to a list that the connected Klaviyo account has, or to null. "
    + _AT_ONCE,
    Cause.SCOPE: "Install the app again from Klaviyo's marketplace and grant every permission. " + _AT_ONCE,
    Cause.PLAN: "Change the plan or the setting in Klaviyo that its answer names. " + _WITHIN_AN_HOUR,
    Cause.NOT_INSTALLED: "Install the app from Klaviyo's marketplace. " + _AT_ONCE,
    Cause.OMNEO_TOKEN: "Make a token in CX Manager, then: python -m deploy.tenants set {tenant} omneo_token. "
    + _WITHIN_AN_HOUR,
    Cause.OMNEO_PERMISSION: "Give our Omneo token the permission that is missing, in CX Manager. "
    + _WITHIN_AN_HOUR,
    Cause.DATA_SOURCE: "Look at the data source in Klaviyo, and install the app again. Then: {replay}",
    Cause.IDENTIFIER: "If both profiles are one person, merge them in Klaviyo; else correct one of them. Then: {replay}",
    Cause.NO_ANSWER: "Wait until the service answers again. Then: {replay}",
    Cause.REFUSED: "Correct what the reason names, where it comes from. Then: {replay}",
    Cause.UNREAD: "Report it, and wait for a release that can read it. Then: {replay}",
    Cause.OTHER: "Mend what the reason names. Then: {replay}",
}
_BEHIND = "Before that, see that no newer record of the same object was sent: a replayed one takes effect as if it were the newest."


def advice(cause: Cause, *, tenant: str, kind: str = "", id: str = "") -> str:
    """Return what to do about a dead job, in a sentence or two; without `id`, what to do about all jobs of the cause.

    >>> advice(Cause.OTHER, tenant="acme", id="1f")
    'Mend what the reason names. Then: python -m deploy.tenants dead replay acme 1f'
    """
    replay = f"python -m deploy.tenants dead replay {tenant} {id or f'--cause {cause}'}"
    if kind == RECORDS:
        mend = (
            _ADVICE[cause]
            .removesuffix(_AT_ONCE)
            .partition("One of its jobs")[0]
            .partition("Then: ")[0]
            .strip()
        )
        return f"{mend} {_BEHIND} Then: {replay}"
    return _ADVICE[cause].format(tenant=tenant, replay=replay)


def goes_on_by_itself(cause: Cause, kind: str) -> bool:
    """Return whether the job needs no replay once its cause is mended."""
    return cause in HELD and kind != RECORDS
