"""A run over a whole base: Klaviyo's calls and the time that its limits take, how full its imports are, and the worker's memory."""

import json
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from deploy.local.sandbox.klaviyo.endpoints import ENDPOINTS, route
from deploy.staging import REPOSITORY
from shared.resync.klaviyo_lookup import CALLS_PER_MINUTE
from shared.resync.rules.packing import MOST_PROFILES
from tests.bench.measures import Aim, Count, Finding, Note, Ratio, Spread
from tests.bench.servers import BenchmarkError
from tests.bench.setting import addresses_of
from tests.bench.stage import control
from tests.support.world import ACCOUNT, OMNEO_TOKEN, SIGNING_SECRET, TENANT

_SMALL, _LARGE = 10_000, 200_000
_SYNCS = 50
_PATIENCE = 1800.0
_READING_ALLOWS = 75_000  # 750 calls a minute, of 100 profiles
_LISTING = "GET api/profiles"
_IMPORT = "POST api/profile-bulk-import-jobs"
_STAMP = "2026-01-02 03:04:05"
# The shares of a base: opted in with a date, opted out, opted in without a date.
_SHARES = ((7, True, _STAMP), (2, False, _STAMP), (1, True, None))


@dataclass(frozen=True)
class _Done:
    """The report of a worker about its run."""

    seconds: float
    moved_seconds: float
    mebibytes: float
    counts: dict[str, int]
    read: int
    calls: list[tuple[str, str]]
    one_by_one: list[tuple[str, str]]
    windows: list[float]


def resync() -> Iterator[Finding]:
    """10,000 and 200,000 profiles from the sandbox's Omneo to an empty Klaviyo; time is that of Klaviyo's limits."""
    yield Note(
        "sandbox and worker are processes of their own; the limits hold on a clock that is moved on; SQLite"
    )
    yield Note("each run is a day-one run: Klaviyo knows nobody, and Omneo holds no Klaviyo id")
    small, large = _run(_SMALL), _run(_LARGE)
    ours, single = _per_minute(large.calls, large.read), _per_minute(small.one_by_one, _SYNCS)
    speed, alone = Spread.of([ours], "profiles/min"), Spread.of([single], "profiles/min")
    yield Ratio("profiles a minute of Klaviyo's time, over one by one", speed, alone, Aim(">=", 80))
    allowed = Spread.of([_READING_ALLOWS], "profiles/min")
    yield Ratio("the same, over what reading consent allows", speed, allowed, Aim(">=", 0.8))
    jobs = _by_endpoint(large.calls)[_IMPORT]
    yield Count(
        "how full an import is, by number",
        large.counts["profiles sent"] / (jobs * MOST_PROFILES),
        Aim(">=", 0.8),
    )
    yield Ratio(
        "the worker's memory (peak RSS), 200,000 profiles over 10,000",
        Spread.of([large.mebibytes], "MiB"),
        Spread.of([small.mebibytes], "MiB"),
        Aim("<=", 1.2),
    )
    calls = ", ".join(f"{count} {name}" for name, count in sorted(_by_endpoint(large.calls).items()))
    yield Note(f"calls for 200,000: {calls}")
    yield Note(
        f"the product keeps to {CALLS_PER_MINUTE} reads a minute, of 750, and that is what its time is reckoned with"
    )
    window = Spread.of(large.windows, "s")
    yield Note(f"from the look at a thousand consents to the call that subscribes them: {window}")
    yield Note(f"by the wall clock of this machine {large.read / large.seconds * 60:,.0f} profiles a minute")


def _run(count: int) -> _Done:
    with tempfile.TemporaryDirectory() as place, addresses_of("deploy.local.sandbox") as sandbox:
        tokens = _seed(sandbox, count)
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.resyncing", place, json.dumps(sandbox), json.dumps(tokens), str(_SYNCS)],
            cwd=REPOSITORY, capture_output=True, text=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"the worker ended with:\n{done.stderr[-2000:]}")
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    found = _Done(**told)
    sent = found.counts.get("profiles imported", 0)
    if found.read != count or sent != count:
        raise BenchmarkError(f"of {count} profiles {found.read} were compared, {sent} imported")
    return found


def _seed(sandbox: dict[str, str], count: int) -> dict[str, str]:
    """Fill both services, and return the tokens of the install by name."""
    klaviyo, omneo = sandbox["klaviyo"], sandbox["omneo"].removesuffix("/{tenant}")
    seeded = control(f"{klaviyo}/_sandbox/seed", installs=[{"account": ACCOUNT}])
    tenants = [{"name": TENANT, "token": OMNEO_TOKEN, "signing_secret": SIGNING_SECRET}]
    control(f"{omneo}/_sandbox/seed", tenants=tenants)
    for kind, (tenths, promo, stamp) in enumerate(_SHARES):
        comms: dict[str, Any] = {"email_promo": promo, "email_consent_updated_at": stamp}
        profile = {
            "email": f"canary-{kind}-{{n}}@example.org", "first_name": "Jane", "last_name": "Doe",
            "tier_handle": "gold", "created_at": _STAMP, "updated_at": _STAMP,
            "attributes": {"comms": {**comms, "sms_promo": False}},
        }  # fmt: skip
        control(f"{omneo}/_sandbox/seed-profiles", tenant=TENANT, count=count * tenths // 10, profile=profile)
    installed = seeded["installs"][0]
    return {name: str(installed[name]) for name in ("access_token", "refresh_token")}


def _by_endpoint(calls: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(f"{method} {_template(path)}" for method, path in calls)


def _template(path: str) -> str:
    found = route(path.strip("/").split("/"))
    if found is None:
        raise BenchmarkError(f"there is no endpoint {path}")
    return found[0]


def _per_minute(calls: Iterable[tuple[str, str]], profiles: int) -> float:
    """Return the profiles a minute that Klaviyo's limits let through: the endpoint that takes longest sets the pace."""
    return profiles / max(count / _allowed(name) for name, count in _by_endpoint(calls).items())


def _allowed(name: str) -> float:
    """Return the calls a minute: Klaviyo's limit, or ours where it is lower."""
    method, template = name.split(" ")
    longest = ENDPOINTS[template][method].windows[-1]
    limit = longest.calls * 60 / longest.seconds
    return min(limit, CALLS_PER_MINUTE) if name == _LISTING else limit
