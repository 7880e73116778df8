"""The cost for a worker to load the clients of Klaviyo and Omneo: our own clients against Klaviyo's official one."""

import json
import subprocess
import sys
from collections.abc import Iterator

from deploy.staging import REPOSITORY
from tests.bench.measures import Aim, Finding, Note, Ratio, Spread
from tests.bench.servers import BenchmarkError

_ROUNDS = 5

_OURS = """
from shared.http.connections import Connections
from shared.http.client import HttpClient
import shared.klaviyo.client as klaviyo, shared.klaviyo.oauth as oauth, shared.klaviyo.tokens
import shared.omneo.client as omneo
from pydantic import SecretStr
connections = Connections()
connections.session()
http = HttpClient("Klaviyo", "http://127.0.0.1:9", klaviyo.read_problem, connections)
klaviyo.KlaviyoClient(http, None, "2026-10-15")
oauth.KlaviyoOAuth(http, oauth.KlaviyoApp("id", SecretStr("secret")))
omneo.OmneoClient(http, SecretStr("token"))
"""
_OFFICIAL = """
from klaviyo_api import KlaviyoAPI
api = KlaviyoAPI("pk")
api.Events, api.Profiles, api.Accounts, api.Lists, api.Webhooks, api.Custom_Objects, api.Data_Privacy
"""
_MEASURED = """
import sys, time
began = time.perf_counter()
{work}
seconds = time.perf_counter() - began
import json
resident = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
print(json.dumps([seconds, int(resident.split()[1]) / 1024]))
"""


def worker_imports() -> Iterator[Finding]:
    """Import and construct, each in a fresh process: time and memory."""
    measured: dict[str, list[tuple[float, float]]] = {_OURS: [], _OFFICIAL: []}
    for round_ in range(_ROUNDS + 1):  # the first writes .pyc files and warms the disk's cache
        for work, rows in measured.items():
            row = _measure(work)
            if round_:
                rows.append(row)
    ours, official = measured[_OURS], measured[_OFFICIAL]
    yield Note(
        "ours: Klaviyo, its OAuth and tokens, Omneo, HTTP; klaviyo-api: the seven API groups that are touched"
    )
    yield Ratio(
        "import and construct, over klaviyo-api",
        Spread.of([seconds for seconds, _ in ours], "s"),
        Spread.of([seconds for seconds, _ in official], "s"),
        Aim("<=", 0.25),
    )
    yield Ratio(
        "memory of the whole process (RSS)",
        Spread.of([mebibytes for _, mebibytes in ours], "MiB"),
        Spread.of([mebibytes for _, mebibytes in official], "MiB"),
    )


def _measure(work: str) -> tuple[float, float]:
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED.replace("{work}", work)],
        cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    if done.returncode:
        raise BenchmarkError(f"a client cannot be imported:\n{done.stderr[-2000:]}")
    seconds, mebibytes = json.loads(done.stdout)
    return float(seconds), float(mebibytes)
