"""The targets that Omneo's reactions call: a table from the last part of their path to what accepts the call.

Each takes a call that has been let in and returns the id under which it was queued. A target's handler is imported when its first
call comes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from shared import logs
from shared.errors import InvalidPayloadError, QueueUnavailableError, UnknownPathError
from shared.services import Services
from shared.targets.unheard import Acceptance, Moments, UnheardCalls, in_common
from shared.tenants.tenants import Tenant
from shared.values.booleans import read_boolean

# Omneo may have given the call up by then, and will call again.
HEARD_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True)
class TargetCall:
    """A call of a target: whose it is, its body's JSON, the URL's parameters, and the caller's trace."""

    tenant: Tenant
    body: object
    query: Mapping[str, str]
    traceparent: str


Accept = Callable[[TargetCall, Services], str]


def target_named(name: str) -> Accept:
    """Return what accepts the calls of a target.

    Raises:
        UnknownPathError: there is no such target.
    """
    if name not in _TARGETS:
        raise UnknownPathError("There is no such target.")
    logs.note(target=name)
    return _TARGETS[name]


def _metric(call: TargetCall, services: Services) -> str:
    from shared.metrics.metrics import accept_metric

    query = _parameters(call, "withToken", "metric")

    def accept(acceptance: Acceptance) -> None:
        accept_metric(
            call.tenant,
            call.body,
            metric_name=query["metric"],
            with_token=_flag(query, "withToken"),
            queue=services.queue,
            now=acceptance.at,
            new_id=lambda: acceptance.id,
            traceparent=call.traceparent,
        )

    return _once("metric", call, accept, services)


def _upsert_profile_data(call: TargetCall, services: Services) -> str:
    from shared.profiles.calls import accept_upsert

    _parameters(call)
    return accept_upsert(
        call.tenant, call.body, queue=services.queue, clock=services.clock, traceparent=call.traceparent
    ).id


def _data_source_record(call: TargetCall, services: Services) -> str:
    from shared.records.records import accept_records

    _parameters(call)

    def accept(acceptance: Acceptance) -> None:
        accept_records(
            call.tenant,
            call.body,
            id=acceptance.id,
            at=acceptance.at,
            is_stored=acceptance.is_repeat,
            services=services,
            traceparent=call.traceparent,
        )

    return _once("data-source-record", call, accept, services)


def _once(target: str, call: TargetCall, accept: Callable[[Acceptance], None], services: Services) -> str:
    """Accept a call under an id of its own, or under that of an equal call whose caller may not have heard our answer."""
    unheard, name, began = UnheardCalls.of(services), call.tenant.name, services.clock()
    equal = in_common(target, call.query, call.body)
    acceptance = unheard.find(name, equal) or Acceptance(services.new_id(), Moments.of(services).next())
    try:
        accept(acceptance)
    except QueueUnavailableError:
        unheard.note(name, equal, acceptance)  # the queue may have taken it all the same
        raise
    if services.clock() - began > HEARD_WITHIN:
        unheard.note(name, equal, acceptance)
    elif acceptance.is_repeat:
        unheard.heard(name, equal)
    return acceptance.id


def _parameters(call: TargetCall, *known: str) -> dict[str, str]:
    """Return the URL's parameters by the names of `known`, in whatever case they came; "" for one that did not.

    Raises:
        InvalidPayloadError: one has another name. Ignored, it would leave out what the caller asked for.
    """
    given = {name.strip().casefold(): value for name, value in call.query.items()}
    names = {name.casefold(): name for name in known}
    if given.keys() - names.keys():
        raise InvalidPayloadError(
            f"The URL has a parameter that this target does not know. It knows {', '.join(known) or 'none'}."
        )
    return {name: given.get(key, "") for key, name in names.items()}


def _flag(query: Mapping[str, str], name: str) -> bool:
    """Return a yes-or-no parameter; absent means no."""
    found = read_boolean(query[name])
    if found is None:
        raise InvalidPayloadError(f"{name} in the URL must be true or false.")
    return found


_TARGETS: Mapping[str, Accept] = {
    "metric": _metric,
    "upsert-profile-data": _upsert_profile_data,
    "data-source-record": _data_source_record,
}
