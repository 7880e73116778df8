"""`python -m deploy.gcp.preflight GCLOUD-VERSION VARIABLE...`: the faults of an operator's machine and variables, one
line each. It calls no service. The scripts check the project itself.
"""

import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

LEAST_GCLOUD = 500  # has --no-invoker-iam-check, --base-image and --function of `run deploy`
# Of gcloud, for alert policies and notification channels; they are dated, and those of the least gcloud are of this day.
_COMPONENTS = ("alpha", "beta")
_LEAST_COMPONENT = "2024.11.01"
_PARTS = "bundle|database|balancer|watching"
_SHOWN = 10
_FORMS = {
    "PROJECT": (
        r"[a-z][a-z0-9-]{4,28}[a-z0-9]",
        "must be a project's id, such as my-project (not its name or number)",
    ),
    "REGION": (r"[a-z]+-[a-z]+\d+", "must be a region, such as europe-west1"),
    "DOMAIN": (
        r"(?=.{4,253}$)(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,63}",
        "must be a host name in lower case, such as klaviyo.example.com (xn--... for other letters than a to z), without https://, "
        "without a path and without a dot at its end",
    ),
    "WATCH_MINUTES": (r"\d{1,3}", "must be a number of minutes; 0 gives an upgrade all calls at once"),
    "COST_CEILING": (r"[1-9]\d{0,8}", "must be a number of dollars a month, such as 5000"),
    "ALERT_EMAIL": (r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+", "must be one email address"),
    "ONLY": (
        rf"(?:{_PARTS})(?: (?:{_PARTS}))*",
        "must name one or several of: bundle database balancer watching",
    ),
    "FORMAT": (r"json", "must be json"),
}


def of_gcloud(version: Mapping[str, Any]) -> Iterator[str]:
    """Yield the faults of the installed gcloud, from the output of `gcloud version --format=json`."""
    present = str(version.get("Google Cloud SDK", "0"))
    major = present.partition(".")[0]
    if major.isdigit() and int(major) < LEAST_GCLOUD:
        yield f"gcloud {present} is too old: {LEAST_GCLOUD} or newer is needed (gcloud components update)"
    if missing := [name for name in _COMPONENTS if name not in version]:
        yield f"gcloud lacks a component: gcloud components install {' '.join(missing)}"
    if old := [name for name in _COMPONENTS if str(version.get(name, _LEAST_COMPONENT)) < _LEAST_COMPONENT]:
        yield f"gcloud's {' and '.join(old)} is older than {_LEAST_COMPONENT}: gcloud components update"


def of_variables(names: Iterable[str], given: Mapping[str, str]) -> Iterator[str]:
    """Yield which of the variables are not of the form that they must have. Those that are not set are another's to name."""
    for name in names:
        form, words = _FORMS[name]
        if given.get(name) and not re.fullmatch(form, given[name], re.ASCII):
            yield f"{name} {words}"


class Finding(NamedTuple):
    """A thing that the project lacks. `kind` is `problem`, which ends the run, or `warning`."""

    kind: str
    words: str


def of_billing(told: Mapping[str, Any], project: str) -> Iterator[Finding]:
    """Yield a problem if billing is off, according to Cloud Billing's answer about the project."""
    if not told.get("billingEnabled"):
        yield Finding(
            "problem",
            f"billing is off: gcloud billing projects link {project} --billing-account=..., or in the console",
        )


def of_permissions(wanted: Iterable[str], held: Iterable[str]) -> Iterator[Finding]:
    """Yield the permissions of the deployer's role that the deploying account lacks. DNS records can be set by hand."""
    missing = sorted(set(wanted) - set(held))
    dns = [name for name in missing if name.startswith("dns.")]
    others = [name for name in missing if name not in dns]
    if others:
        yield Finding(
            "problem",
            f"you lack {len(others)} permissions of the role in deploy/gcp/deployer.yaml: {', '.join(others[:_SHOWN])}"
            + (", ..." if len(others) > _SHOWN else ""),
        )
    if dns:
        yield Finding("warning", "you may not change Cloud DNS: set the DNS records yourself")


def of_region(region: str, locations: Mapping[str, Iterable[str]]) -> Iterator[Finding]:
    """Yield which services the region does not have; `locations` are those of each."""
    if without := sorted(service for service, known in locations.items() if region not in known):
        yield Finding("problem", f"{region} has no {', '.join(without)}: choose another REGION")


def main() -> None:
    """Print everything that is wrong."""
    version = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    for problem in (*of_gcloud(version), *of_variables(sys.argv[2:], os.environ)):
        sys.stdout.write(f"{problem}\n")


if __name__ == "__main__":
    main()
