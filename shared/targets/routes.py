"""The targets that Omneo's reactions call: a table from the last part of the path to the function that accepts the call.

Each target gets an authenticated call and queues it. With `dryRun` in the URL, it only shows what would be sent. A target's code is
imported when its first call comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from shared import logs
from shared.errors import InvalidPayloadError, QueueUnavailableError, StoreUnavailableError, UnknownPathError
from shared.services import Services
from shared.targets.unheard import Acceptance, Moments, UnheardCalls, in_common
from shared.tenants.tenants import Tenant
from shared.values import read_id
from shared.values.booleans import read_boolean
from shared.web.parameters import parameters

# After so many seconds Omneo may have given the call up, and calls again.
HEARD_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True)
class TargetCall:
    """A call of a target: the tenant, the JSON of the body, the URL's parameters, and the caller's trace."""

    tenant: Tenant
    body: object
    query: Mapping[str, str]
    traceparent: str


Query = Mapping[str, str]
Json = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """The two functions of a target: `accept` queues the call and returns the job's id, `preview` shows what would be sent.

    `parameters` are the URL's parameters that the target knows besides `dryRun`; both functions get them by name.
    """

    parameters: tuple[str, ...]
    accept: Callable[[TargetCall, Query, Services], str]
    preview: Callable[[TargetCall, Query, Services], Json]

    def answer(self, call: TargetCall, services: Services) -> tuple[int, Json]:
        """Return 202 once the queue has the call, and 200 for a dry run. A target answers 200 only to a dry run.

        Raises:
            InvalidPayloadError, PayloadTooLargeError: the caller can fix it.
            OwnServiceError, WaitError: the caller should call again.
        """
        query = parameters(call.query, (*self.parameters, _DRY_RUN))
        if _flag(query, _DRY_RUN):
            return 200, {"status": "dry_run", **self.preview(call, query, services)}
        return 202, {"status": "queued", "id": self.accept(call, query, services)}


def is_dry_run(query: Query) -> bool:
    """Return whether a call is a dry run, even if something else in it is wrong."""
    return any(
        read_boolean(query[name]) is True for name in query if name.strip().casefold() == _DRY_RUN.casefold()
    )


def target_named(name: str) -> Target:
    """Return the target of this name.

    Raises:
        UnknownPathError: there is no such target.
    """
    if name not in TARGETS:
        raise UnknownPathError("There is no such target.")
    logs.note(target=name)
    return TARGETS[name]


def _metric(call: TargetCall, query: Query, services: Services) -> str:
    from shared.metrics.arrival import to_be_queued
    from shared.metrics.metrics import accept_metric

    def accept(acceptance: Acceptance) -> None:
        accept_metric(
            call.tenant,
            call.body,
            metric_name=query.get("metric", ""),
            with_token=_flag(query, "withToken"),
            queue=services.queue,
            now=acceptance.at,
            new_id=lambda: acceptance.id,
            traceparent=call.traceparent,
            to_be_queued=lambda job: to_be_queued(job, call.tenant, services, is_repeat=acceptance.is_repeat),
        )

    return _once("metric", call, accept, services)


def _metric_preview(call: TargetCall, query: Query, services: Services) -> Json:
    from shared.targets.preview import preview_metric

    return preview_metric(
        call.tenant,
        call.body,
        services,
        metric_name=query.get("metric", ""),
        with_token=_flag(query, "withToken"),
    )


def _upsert_profile_data(call: TargetCall, query: Query, services: Services) -> str:
    from shared.profiles.calls import accept_upsert

    del query  # it takes none
    return accept_upsert(
        call.tenant, call.body, queue=services.queue, clock=services.clock, traceparent=call.traceparent
    ).id


def _upsert_preview(call: TargetCall, query: Query, services: Services) -> Json:
    from shared.targets.preview import preview_sync

    del query
    return preview_sync(call.tenant, call.body, services)


def _data_source_record(call: TargetCall, query: Query, services: Services) -> str:
    from shared.records.records import accept_records

    del query

    def accept(acceptance: Acceptance) -> None:
        accept_records(
            call.tenant,
            call.body,
            id=acceptance.id,
            at=acceptance.at,
            is_stored=acceptance.is_stored,
            services=services,
            traceparent=call.traceparent,
        )

    return _once("data-source-record", call, accept, services)


def _records_preview(call: TargetCall, query: Query, services: Services) -> Json:
    from shared.targets.preview import preview_records

    del query
    return preview_records(call.body, services)


def _once(target: str, call: TargetCall, accept: Callable[[Acceptance], None], services: Services) -> str:
    """Accept a call under a new id, or under the id of an equal call whose caller may not have got our answer."""
    unheard, name, began = UnheardCalls.of(services), call.tenant.name, services.clock()
    equal = in_common(target, call.query, call.body)
    acceptance = unheard.find(name, equal) or Acceptance(services.new_id(), Moments.of(services).next())
    stored = replace(acceptance, is_stored=True)
    try:
        accept(acceptance)
    except StoreUnavailableError:
        unheard.note(name, equal, acceptance)  # the store may hold a part of it nevertheless
        raise
    except QueueUnavailableError:
        unheard.note(name, equal, stored)  # the queue may have taken it nevertheless
        raise
    if services.clock() - began > HEARD_WITHIN:
        unheard.note(name, equal, stored)
    elif acceptance.is_repeat:
        unheard.heard(name, equal)
    return acceptance.id


def _flag(query: Query, name: str) -> bool:
    """Return a yes-or-no parameter; absent means no. A name without a value is refused, because nobody can tell what it means."""
    if name in query and read_id(query[name]) == "":  # no value, or a template's text for none
        raise InvalidPayloadError(f"{name} in the URL must be true or false; it has no value.")
    found = read_boolean(query.get(name, ""))
    if found is None:
        raise InvalidPayloadError(f"{name} in the URL must be true or false.")
    return found


_DRY_RUN = "dryRun"
TARGETS: Mapping[str, Target] = {
    "metric": Target(("withToken", "metric"), _metric, _metric_preview),
    "upsert-profile-data": Target((), _upsert_profile_data, _upsert_preview),
    "data-source-record": Target((), _data_source_record, _records_preview),
}
