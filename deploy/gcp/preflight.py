"""`python -m deploy.gcp.preflight GCLOUD-VERSION VARIABLE...`: what an operator's machine and variables lack, one line each.

Nothing here calls a service. What only the project can tell is asked by the scripts.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

LEAST_GCLOUD = 500  # has --no-invoker-iam-check, --base-image and --function of `run deploy`
_COMPONENTS = ("alpha", "beta")  # of gcloud: alert policies and notification channels
_FORMS = {
    "PROJECT": (
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "must be a project's id, such as my-project (not its name or number)",
    ),
    "REGION": (r"[a-z]+-[a-z]+\d+", "must be a region, such as europe-west1"),
    "DOMAIN": (
        r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
        "must be a host name in lower case, such as klaviyo.example.com, without https:// and without a path",
    ),
}


def of_gcloud(version: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the installed gcloud, from what `gcloud version --format=json` prints."""
    present = str(version.get("Google Cloud SDK", "0"))
    major = present.partition(".")[0]
    if major.isdigit() and int(major) < LEAST_GCLOUD:
        yield f"gcloud {present} is too old: {LEAST_GCLOUD} or newer is needed (gcloud components update)"
    if missing := [name for name in _COMPONENTS if name not in version]:
        yield f"gcloud lacks a component: gcloud components install {' '.join(missing)}"


def of_variables(names: Iterable[str], given: Mapping[str, str]) -> Iterator[str]:
    """Yield which of the variables are not of the form that they must have. Those that are not set are another's to name."""
    for name in names:
        form, words = _FORMS[name]
        if given.get(name) and not re.fullmatch(form, given[name]):
            yield f"{name} {words}"


def main() -> None:
    """Print everything that is wrong."""
    version = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for problem in (*of_gcloud(version), *of_variables(sys.argv[2:], os.environ)):
        sys.stdout.write(f"{problem}\n")


if __name__ == "__main__":
    main()
