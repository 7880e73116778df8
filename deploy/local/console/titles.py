"""The kind of a story, and its beginning in words: from the path of a call, from its log line, or from the kind of a job
whose call is unknown.

Pure.
"""

import re

_TENANT = re.compile(r"/([^/]+)/api/v1/(.*)")
_INSTALL = {
    ("GET", "/klaviyo/install"): "The install's page is opened",
    ("POST", "/klaviyo/install"): "An install begins",
    ("GET", "/klaviyo/callback"): "Klaviyo leads back to the install",
    ("GET", "/klaviyo/confirm"): "The install asks for a confirmation",
    ("POST", "/klaviyo/confirm"): "An install is confirmed",
}
_ASKED = (
    (re.compile("resync"), "A resync is asked for"),
    (re.compile("dead-jobs/.*replay"), "Dead jobs are replayed"),
    (re.compile("install-link"), "A link for an install is made"),
)
_JOBS = {
    "provision": "The set-up after an install",
    "compare-consent": "Consent is compared on both sides",
    "flush-inbox": "Consents go to Omneo",
    "resync": "A resync",
    "notify": "An operator is told",
    "replay-dead-jobs": "Dead jobs are replayed",
    "heal": "The set-up is looked after",
}
_KIND_OF_FUNCTION = {
    "omneo_webhooks": "profile", "system_webhooks": "consent", "rewards_webhook": "reward", "install": "install",
    "admin": "admin",
}  # fmt: skip
_KIND_OF_TARGET = {"metric": "event", "upsert-profile-data": "profile", "record": "records"}
_KIND_OF_JOB = {
    "send-metric": "event", "sync-profile": "profile", "delete-profile": "profile", "send-records": "records",
    "pack-records": "records", "spread-events": "consent", "flush-inbox": "consent", "provision": "install",
    "compare-consent": "consent", "pull-opt-out": "consent",
}  # fmt: skip


def about(method: str, path: str, body: bytes) -> tuple[str, str, str]:
    """Return the tenant, the kind and the title of a call of a function, by its path."""
    found = _TENANT.fullmatch(path)
    if found is None:
        installs = path.startswith("/klaviyo/")
        return "", "install" if installs else "admin", _INSTALL.get((method, path), f"{method} {path}")
    tenant, rest = found[1], found[2]
    for start, kind, title in (
        ("targets/klaviyo/metric", "event", "An event for Klaviyo"),
        ("targets/klaviyo/upsert-profile-data", "profile", "A profile to sync"),
        ("targets/klaviyo/", "records", "Records for a data source"),
        ("webhooks/omneo", "profile", "A profile has changed in Omneo"),
        ("webhooks/klaviyo/system", "consent", _consent_title(body)),
        ("webhooks/klaviyo/rewards", "reward", "A flow asks for a reward"),
    ):
        if rest.startswith(start):
            return tenant, kind, title
    said = next((title for asked, title in _ASKED if method == "POST" and asked.fullmatch(rest)), "")
    return tenant, "admin", said or f"{method} {rest}"


def _consent_title(body: bytes) -> str:
    topics = re.findall(rb'"topic":\s*"event:klaviyo\.([a-z_]+)"', body)
    names = sorted({topic.decode().replace("_", " ") for topic in topics})
    return f"{', '.join(names[:3]).capitalize()} in Klaviyo" if names else "A system webhook of Klaviyo"


def of_job(kind: str) -> str:
    """Return the title of a story that begins with a job."""
    return _JOBS.get(kind, f"The job {kind}")


def kind_of_call(function: str, target: str) -> str:
    """Return the kind of a story whose call has only been logged, by the names of its function and its target."""
    return _KIND_OF_FUNCTION.get(function) or _KIND_OF_TARGET.get(target, "")


def kind_of_job(kind: str) -> str:
    """Return the kind of a story that a job of this kind is part of."""
    return _KIND_OF_JOB.get(kind, "schedule")
