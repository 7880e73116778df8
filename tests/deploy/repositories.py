"""Small repositories with functions that only say hello, in the layout of the real one."""

from pathlib import Path

import yaml

_FUNCTION = """
import os
import functions_framework
from shared.greeting import GREETING

@functions_framework.http
def {name}(request):
    return {{"greeting": GREETING, "path": request.environ["RAW_URI"], "environment": dict(os.environ)}}
"""

_QUEUE = """
import json, sys, time
port = sys.argv[sys.argv.index("--port") + 1]
print(json.dumps({"grpc": "127.0.0.1:" + port, "http": "127.0.0.1:1"}))
time.sleep(60)
"""


def a_row(**changes: object) -> dict[str, object]:
    row: dict[str, object] = {
        "public": True,
        "memory": "512Mi",
        "cpu": 1,
        "concurrency": 4,
        "timeout": 60,
        "min_instances": 0,
        "env": ["STORE"],
        "secrets": [],
    }
    return row | changes


def a_repository(root: Path) -> Path:
    """Lay a repository with one public function, `hello`, and one worker, `backstage_worker`."""
    rows = {
        "hello": a_row(
            entry_point="hello", env=["STORE", "BACKSTAGE_WORKER_URL"], secrets=["ENCRYPTION_KEYS"]
        ),
        "backstage_worker": a_row(entry_point="backstage_worker", public=False),
    }
    files = {
        "deploy/gcp/functions.yaml": yaml.safe_dump(rows, sort_keys=False),
        "deploy/gcp/routes.yaml": yaml.safe_dump([{"path": "/{tenant=*}/hello/**", "function": "hello"}]),
        "deploy/gcp/schedules.yaml": yaml.safe_dump({"greet": {"every": 5, "function": "backstage_worker"}}),
        "deploy/local/tasks/__init__.py": "",
        "deploy/local/tasks/__main__.py": _QUEUE,
        "functions/hello/main.py": _FUNCTION.format(name="hello"),
        "functions/backstage_worker/main.py": _FUNCTION.format(name="backstage_worker"),
        "deploy/locks/functions.txt": "functions-framework==3.10.2 --hash=sha256:00\n",
        "requirements.txt": "functions-framework==3.10.2\n",
        "shared/__init__.py": "",
        "shared/greeting.py": 'GREETING = "hello"\n',
        "shared/installation/pages/install.html": "<p>hello</p>\n",
    }
    for name, text in files.items():
        write(root / name, text)
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
