"""The roles of each account: the least that each service account needs, as IAM policies.

A policy is never replaced as a whole. This module decides only the roles of our own accounts and of everybody
at once (`allUsers`); it keeps the roles of all other members. Where we want no access at all any more, it
keeps everybody's roles too.
"""

from collections.abc import Mapping
from typing import Any

from deploy.gcp import naming
from deploy.gcp.naming import Place
from deploy.staging import Function, Schedule

_EVERYBODY = {"allUsers", "allAuthenticatedUsers"}
_RUNS = ("roles/datastore.user", "roles/cloudtasks.enqueuer")
# Beyond that: workers pause and resume queues; install and admin also count the tasks in them, for `status`.
_MORE = {
    "public-functions": (),
    "workers": ("roles/cloudtasks.queueAdmin",),
    "install-admin": ("roles/cloudtasks.queueAdmin", "roles/cloudtasks.viewer"),
}

Wanted = dict[str, set[str]]


def on_project(functions: Mapping[str, Function], place: Place) -> Wanted:
    """Return which roles our accounts hold in the whole project, by role."""
    wanted: Wanted = {"roles/run.builder": {_member(place, naming.BUILDS)}}
    for function in functions.values():
        account = naming.account(function)
        for role in _RUNS + _MORE[account]:
            wanted.setdefault(role, set()).add(_member(place, account))
    return wanted


def on_tasks_account(functions: Mapping[str, Function], place: Place) -> Wanted:
    """Return the accounts that may make Cloud Tasks show the identity that workers accept."""
    return {
        "roles/iam.serviceAccountUser": {
            _member(place, naming.account(function)) for function in functions.values()
        }
    }


def on_secret(variable: str, functions: Mapping[str, Function], place: Place) -> Wanted:
    """Return the accounts that may read a secret: those of the functions that get it."""
    readers = [function for function in functions.values() if variable in function.secrets]
    return {
        "roles/secretmanager.secretAccessor": {_member(place, naming.account(reader)) for reader in readers}
    }


def on_worker(worker: str, schedules: Mapping[str, Schedule], place: Place) -> Wanted:
    """Return the accounts that may call a worker: Cloud Tasks, and Cloud Scheduler if a job is scheduled."""
    callers = {_member(place, naming.TASKS)}
    if any(schedule.function == worker for schedule in schedules.values()):
        callers.add(_member(place, naming.SCHEDULE))
    return {"roles/run.invoker": callers}


def merged(policy: Mapping[str, Any], wanted: Wanted, place: Place) -> dict[str, Any] | None:
    """Return the policy as it should be, None if it is so already. Conditional bindings are left alone."""
    ours = {_member(place, account) for account in naming.OURS} | (_EVERYBODY if wanted else set())
    plain = {b["role"]: set(b["members"]) for b in policy.get("bindings", []) if "condition" not in b}
    after = {
        role: (plain.get(role, set()) - ours) | wanted.get(role, set())
        for role in sorted(plain.keys() | wanted.keys())
    }
    after = {role: members for role, members in after.items() if members}
    if after == plain:
        return None
    bindings = [{"role": role, "members": sorted(members)} for role, members in after.items()]
    conditional = [b for b in policy.get("bindings", []) if "condition" in b]
    return {**policy, "bindings": bindings + conditional}


def _member(place: Place, account: str) -> str:
    return f"serviceAccount:{place.email(account)}"
