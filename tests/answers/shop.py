"""A sandbox with something of everything in it, and the product's clients of it, each call of which is heard."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from pydantic import SecretStr

from deploy.local.sandbox import Sandbox
from deploy.rehearsal.answers import RecordedAnswer
from deploy.rehearsal.exchanges import Exchange, ListeningClient
from shared.http.client import HttpClient
from shared.http.connections import Connections
from shared.klaviyo.client import FixedToken, KlaviyoClient
from shared.klaviyo.client import read_problem as read_klaviyos
from shared.klaviyo.oauth import KlaviyoApp, KlaviyoOAuth
from shared.klaviyo.oauth import read_problem as read_oauths
from shared.klaviyo.resources import SCOPES
from shared.omneo.client import OmneoClient, base_url
from shared.omneo.client import read_problem as read_omneos
from tests.support.wire import service_reached_directly
from tests.support.world import ACCOUNT, EMAIL, OMNEO_TOKEN, TENANT

REVISION = "2026-10-15"
NOW = 1_795_255_200.0  # 2026-11-21 10:00 in UTC
LIST = "List01"
HOOK = "https://extension.example.org/acme/api/v1/webhooks/omneo"
TOPIC = "event:klaviyo.bounced_email"
SECRET = SecretStr("canary-webhook-secret")
VERIFIER = "canary" * 8


@dataclass(frozen=True)
class Things:
    """What calls are about: ids in Klaviyo and Omneo, and what they are found by."""

    profile: str = "01K"
    email: str = EMAIL
    list: str = LIST
    webhook: str = "01W"
    source: str = "01S"
    metric: str = "M"
    job: str = "01J"
    code: str = "canary-code"
    refresh_token: str = "canary-refresh"
    omneo_profile: str = "0191f7e2-5f7a-7c4e-9d5b-1b2c3d4e5f60"
    omneo_email: str = EMAIL
    identity: str = "01K"
    definition: int = 6
    definition_handle: str = "ten-dollars"
    omneo_webhook: int = 1

    @classmethod
    def of(cls, answer: RecordedAnswer) -> "Things":
        """Return what a call must be about that gets this answer: Omneo's of one thing and of a list are believed only if they fit."""
        data = answer.body.get("data") if isinstance(answer.body, dict) else None
        row = data[0] if isinstance(data, list) and data else data
        if not isinstance(row, dict) or answer.service != "Omneo":
            return cls()
        return cls(
            omneo_profile=str(row.get("id", cls.omneo_profile)),
            omneo_email=str(row.get("email", EMAIL)),
            definition_handle=str(row.get("handle", cls.definition_handle)),
        )


@dataclass
class Shop:
    """The sandbox and its clients; `heard` is every call that was made of it."""

    sandbox: Sandbox
    things: Things = Things()
    token: str = ""
    heard: list[Exchange] = field(default_factory=list)
    _connections: Connections = field(default_factory=Connections)

    @property
    def klaviyo(self) -> KlaviyoClient:
        """A client of the Klaviyo account."""
        return self.with_token(self.token)

    def with_token(self, token: str, revision: str = REVISION) -> KlaviyoClient:
        """Return a client of Klaviyo with another token, or of another revision."""
        http = self._http("Klaviyo", self.sandbox.klaviyo.url, read_klaviyos)
        return KlaviyoClient(http, FixedToken(SecretStr(token)), revision)

    def oauth(self, secret: str = "") -> KlaviyoOAuth:
        """Return a client of Klaviyo's token endpoint."""
        server = self.sandbox.klaviyo.oauth
        app = KlaviyoApp(server.client_id, SecretStr(secret or server.client_secret))
        return KlaviyoOAuth(self._http("Klaviyo", self.sandbox.klaviyo.url, read_oauths), app)

    def omneo(self, token: str = OMNEO_TOKEN) -> OmneoClient:
        """Return a client of the tenant's Omneo."""
        url = base_url(self.sandbox.omneo.url_template, TENANT)
        return OmneoClient(self._http("Omneo", url, read_omneos), SecretStr(token))

    def _http(self, service: str, url: str, read_problem: Any) -> ListeningClient:
        client = ListeningClient(service, url, read_problem, self._connections)
        client.hear = self.heard.append
        return client

    def stock(self) -> "Shop":
        """Put something of everything in, and a token that may do everything."""
        klaviyo, omneo = self.sandbox.klaviyo, self.sandbox.omneo
        tokens = klaviyo.install(ACCOUNT, scopes=" ".join(SCOPES))
        self.token = tokens.access_token
        klaviyo.marketing_list(ACCOUNT, id=LIST, name="Newsletter")
        source = klaviyo.data_source(ACCOUNT, "Omneo Rewards")
        webhook = klaviyo.webhook(
            ACCOUNT, "Omneo acme", endpoint_url=HOOK, secret_key=SECRET.get_secret_value(), topics=[TOPIC]
        )
        profile = klaviyo.profile(
            ACCOUNT, email=EMAIL, phone_number="+61412345678", external_id="omneo-1", first_name="Canary"
        )
        klaviyo.subscribe(ACCOUNT, profile.id, channel="email", list_id=LIST)
        omneo.tenant(TENANT, token=OMNEO_TOKEN)
        identity = {"handle": "klaviyo", "identifier": profile.id}
        person = omneo.profile(TENANT, email=EMAIL, first_name="Canary", identities=[identity])
        definition = omneo.reward_definition(TENANT, handle="ten-dollars")
        hook = omneo.webhook(TENANT, trigger="profile.created", url=HOOK, namespace="klaviyo")
        job = self.klaviyo.import_profiles(
            [{"type": "profile", "id": "01NOBODY", "attributes": {"email": EMAIL}}]
        )
        self.things = Things(
            profile=profile.id,
            webhook=webhook.id,
            source=source.id,
            metric=next(row.id for row in self.klaviyo.metrics() if row.name == "Subscribed to List"),
            job=job,
            code=klaviyo.oauth.issue_code(ACCOUNT, _asked(klaviyo.oauth.client_id)),
            refresh_token=tokens.refresh_token,
            omneo_profile=person["id"],
            identity=profile.id,
            definition=definition["id"],
            omneo_webhook=hook["id"],
        )
        self.sandbox.advance(60)
        klaviyo.run_jobs()
        self.heard.clear()
        return self


def clients_of(url: str) -> dict[type, Any]:
    """Return a client of each kind whose service stands at an address."""

    def http(service: str, read_problem: Any) -> HttpClient:
        return HttpClient(service, url, read_problem, Connections())

    app = KlaviyoApp("canary-client", SecretStr("canary-client-secret"))
    return {
        KlaviyoClient: KlaviyoClient(
            http("Klaviyo", read_klaviyos), FixedToken(SecretStr("canary-token")), REVISION
        ),
        KlaviyoOAuth: KlaviyoOAuth(http("Klaviyo", read_oauths), app),
        OmneoClient: OmneoClient(http("Omneo", read_omneos), SecretStr("canary-token")),
    }


def _asked(client_id: str) -> dict[str, str]:
    from base64 import urlsafe_b64encode
    from hashlib import sha256

    challenge = urlsafe_b64encode(sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
    return {
        "scope": " ".join(SCOPES),
        "client_id": client_id,
        "redirect_uri": HOOK,
        "code_challenge": challenge,
    }


@contextmanager
def a_shop() -> Iterator[Shop]:
    """Run a stocked sandbox at a time that stands still."""
    with (
        Sandbox(clock=lambda: NOW, seed=1, token_prefix="canary-token") as sandbox,
        ExitStack() as known,
    ):
        for listener in sandbox._listeners:
            known.enter_context(service_reached_directly(listener))
        yield Shop(sandbox).stock()
