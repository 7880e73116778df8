"""The names of things on Google Cloud. One environment is one project, so no name carries another's."""

import hashlib
from dataclasses import dataclass

from deploy.staging import Function

MADE_BY = "omneo-klaviyo-extension"  # the label of resources that cannot carry a fingerprint
TASKS = "tasks-caller"
SCHEDULE = "schedule-caller"
BUILDS = "deployment"
OURS = {
    "public-functions": "Functions that Omneo and Klaviyo call",
    "install-admin": "install and admin, which also make, pause and purge queues",
    "workers": "Workers, which also pause and resume queues",
    TASKS: "Shown to workers by Cloud Tasks",
    SCHEDULE: "Shown to workers by Cloud Scheduler",
    BUILDS: "Builds the functions",
}


@dataclass(frozen=True)
class Place:
    """The place of an environment: its project with its number, its region, its public host name."""

    project: str
    number: str
    region: str
    domain: str

    def email(self, account: str) -> str:
        """Return the address of one of our service accounts."""
        return f"{account}@{self.project}.iam.gserviceaccount.com"

    def url(self, function: str) -> str:
        """Return the root of a function's own URL.

        It is known before the function exists (Cloud Run, "Deterministic URL"), so that functions can be told of one another.
        """
        return f"https://{service(function)}-{self.number}.{self.region}.run.app"


def service(function: str) -> str:
    """Return the Cloud Run service of a function, which may have no underscore in its name."""
    return function.replace("_", "-")


def secret(variable: str) -> str:
    """Return the secret that a variable comes from."""
    return variable.lower().replace("_", "-")


def account(function: Function) -> str:
    """Return the service account that a function runs as."""
    if not function.public:
        return "workers"
    return "install-admin" if function.makes_queues else "public-functions"


def fingerprint(*parts: bytes | str) -> str:
    """Return a label's worth of hash, by which a later run knows whether something has changed."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:20]
