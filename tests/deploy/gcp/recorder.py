"""A server on loopback that the real gcloud takes for Google: an HTTP proxy, so that no call of any host leaves the machine.

gcloud is told to find each service at `http://SERVICE.recorder.test/` and to go through this proxy for everything. A call to
another host arrives here too, as CONNECT, and is refused like any that the played cloud does not know. What the cloud
answers stands in cloud.py and the modules named play_*.py.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from deploy.gcp.plan import APIS
from tests.deploy.gcp.cloud import Cloud, Request

# Compute is overridden with the path of its version, and the last two gcloud asks by itself.
_SERVICES = ({*APIS} - {"compute"}) | {"cloudbilling", "serviceusage"}


@contextmanager
def recording(cloud: Cloud) -> Iterator[str]:
    """Play `cloud` as long as the block lasts; give the proxy's URL."""

    class Handler(_Handler):
        pass

    Handler.cloud = cloud
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(60)


def gcloud_environment(proxy: str, configuration: Path) -> dict[str, str]:
    """Return the variables under which gcloud knows no account, no network and no services but the played ones."""
    return {
        "CLOUDSDK_CONFIG": str(configuration),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "CLOUDSDK_AUTH_ACCESS_TOKEN": "canary-token-that-opens-nothing",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_SURVEY_DISABLE_PROMPTS": "1",
        **{
            f"CLOUDSDK_API_ENDPOINT_OVERRIDES_{name.upper()}": f"http://{name}.recorder.test/"
            for name in _SERVICES
        },
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_DNS": "http://dns.recorder.test/dns/v1/",
        "RESOLVER": "http://resolver.recorder.test/",
        "CLOUDSDK_API_ENDPOINT_OVERRIDES_COMPUTE": "http://compute.recorder.test/compute/v1/",
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
        "no_proxy": "",
        "NO_PROXY": "",
    }


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = 65536  # headers and body in one packet: apart they cost 40 ms a call
    cloud: Cloud

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = urlsplit(self.path)
        host = re.fullmatch(r"(?:([a-z]+-[a-z]+\d+)-)?(\w+)\.recorder\.test", parts.hostname or "")
        service = host[2] if host else parts.hostname or ""
        if service == "clock":  # a script sleeps, and time passes
            self.cloud.seconds += int(float(parts.path.strip("/")))
            self._send(200, {}, {})
            return
        request = Request(
            service=service,
            method=self.command,
            path=unquote(parts.path) or self.path,
            query=dict(parse_qsl(parts.query)),
            body=body,
            region=(host[1] or "") if host else "",
        )
        status, headers, answer = self.cloud.answer(request)
        self._send(status, headers, answer)

    def _send(self, status: int, headers: dict[str, str], answer: object) -> None:
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._answer
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: the cloud keeps the record."""
