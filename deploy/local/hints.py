"""The hints of `make run`: each hint is one line to copy, below a line that describes it."""

import json
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Place:
    """The values in the commands of the hints: addresses, ids and keys of the demo that runs, and the program that reads JSON (`jq`)."""

    url: str
    klaviyo: str
    omneo: str
    queue: str
    tenant: str
    account: str
    email: str
    omneo_profile: str
    klaviyo_profile: str
    installation_key: str
    webhook_secret: str
    env_file: Path
    repository: Path
    python: Path
    port: int
    reader: str


@dataclass(frozen=True)
class Hint:
    """The effect of a command, and the command in one line."""

    label: str
    command: str


def hints(place: Place) -> list[Hint]:
    """Return the hints in the order a newcomer would try them."""
    return [*_metrics(place), *_rewards_and_consent(place), *_looking(place)]


def second_terminal(repository: Path, env_file: Path, python: Path) -> str:
    """Return one line that works on the same tenants from another terminal, wherever that stands.

    The variables hold for that line alone.
    """
    return (
        f"(cd {shlex.quote(str(repository))} && set -a && . {shlex.quote(str(env_file))} && set +a"
        f" && {shlex.quote(str(python))} -m deploy.tenants list)"
    )


def _metrics(place: Place) -> Iterator[Hint]:
    metric = f"{place.url}/{place.tenant}/api/v1/targets/klaviyo/metric?metric=Points%20Earned"
    secret = f"x-omneo-secret: {place.webhook_secret}"
    body = {"profile": {"email": place.email}, "points": 120}
    fail = f"{place.klaviyo}/_sandbox/fail"
    yield Hint("Send a metric", _curl(place, metric, secret, body=body))
    yield Hint("Send a metric with an ID token", _curl(place, f"{metric}&withToken=true", secret, body=body))
    yield Hint(
        "What arrived in Klaviyo", _curl(place, f"{place.klaviyo}/_sandbox/events?account={place.account}")
    )
    yield Hint(
        "Break Klaviyo: its next 3 calls fail. Send a metric again: the job waits, and arrives",
        _curl(place, fail, body={"next": 3, "status": 500}),
    )
    yield Hint("Mend Klaviyo: no call fails any more", _curl(place, fail, body={"next": 0}))


def _rewards_and_consent(place: Place) -> Iterator[Hint]:
    rewards = f"{place.url}/{place.tenant}/api/v1/webhooks/klaviyo/rewards"
    flow = {
        "id": f"birthday-2027-{place.klaviyo_profile}",
        "person_id": place.klaviyo_profile,
        "email": place.email,
        "data": {"reward_definition_id": 1, "amount": "20"},
    }
    act = {"account": place.account, "profile": place.klaviyo_profile}
    yield Hint(
        "Issue a reward, as a flow in Klaviyo does. Again: it is the same reward",
        _curl(place, rewards, f"x-omneo-secret: {place.webhook_secret}", body=flow),
    )
    yield Hint("Unsubscribe Jane in Klaviyo", _curl(place, f"{place.klaviyo}/_sandbox/unsubscribe", body=act))
    yield Hint("Subscribe Jane again", _curl(place, f"{place.klaviyo}/_sandbox/subscribe", body=act))
    yield Hint(
        "Jane's consent in Omneo, up to 12 seconds later",
        _curl(place, f"{place.omneo}/_sandbox/profiles?tenant={place.tenant}"),
    )


def _looking(place: Place) -> Iterator[Hint]:
    base = f"{place.url}/{place.tenant}/api/v1"
    key = f"Authorization: Bearer {place.installation_key}"
    sync, secret = f"{base}/targets/klaviyo/upsert-profile-data", f"x-omneo-secret: {place.webhook_secret}"
    kept = place.env_file.parents[1]
    data = "" if kept == place.repository / ".local" else f" DATA_DIR={shlex.quote(str(kept))}"
    make = f"make -C {shlex.quote(str(place.repository))}"
    yield Hint("Sync Jane", _curl(place, sync, secret, body={"profile_id": place.omneo_profile}))
    yield Hint(
        "What a sync of Jane would do, and why",
        _curl(place, f"{base}/profiles/{place.omneo_profile}/explain", key),
    )
    yield Hint(
        "Send the whole base to Klaviyo; the status shows the run",
        _curl(place, f"{base}/resync", key, body={}),
    )
    yield Hint("How the tenant is", _curl(place, f"{base}/status", key))
    yield Hint("The queues", _curl(place, f"{place.queue}/queues"))
    yield Hint("The operator's commands", second_terminal(place.repository, place.env_file, place.python))
    yield Hint("What every function writes", f"{make} logs TENANT={place.tenant} PORT={place.port}{data}")
    yield Hint("After Ctrl-C: forget this tenant and its data", f"{make} fresh PORT={place.port}{data}")


def _curl(place: Place, url: str, *headers: str, body: object = None) -> str:
    words = ["curl", "-sS", url]
    for header in headers:
        words += ["-H", header]
    if body is not None:
        words += ["-H", "Content-Type: application/json", "-d", json.dumps(body)]
    return f"{' '.join(shlex.quote(word) for word in words)} | {place.reader}"
