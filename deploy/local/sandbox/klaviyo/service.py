"""Klaviyo's API as one service: credentials, limits, revisions and routes, and the methods for tests. The endpoints are
in `endpoints.py`: a new one needs one row in `ENDPOINTS` and one function. A path without a row is 404. Klaviyo's pages
"API overview", "Rate limits, status codes, and errors", "API versioning and deprecation policy".

Assumed (order-of-refusals):
an unknown path is 404 and a wrong method 405 before the credential is looked at, a missing scope is 403 before
limits and body; a refused body still counts against the limits; `application/json` is not taken for
`application/vnd.api+json`, and a call without a body needs neither; any date is a revision, since an unknown one falls to a neighbour.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence

from deploy.local.sandbox.klaviyo import errors
from deploy.local.sandbox.klaviyo.acts import ConsentSwitches
from deploy.local.sandbox.klaviyo.asked import Asked, Endpoint
from deploy.local.sandbox.klaviyo.authorization import authorize
from deploy.local.sandbox.klaviyo.bases import Bases
from deploy.local.sandbox.klaviyo.contents import Contents
from deploy.local.sandbox.klaviyo.delivery import Courier
from deploy.local.sandbox.klaviyo.documents import InvalidParameterError
from deploy.local.sandbox.klaviyo.endpoints import ENDPOINTS, route
from deploy.local.sandbox.klaviyo.errors import Problem
from deploy.local.sandbox.klaviyo.events import LARGEST_REQUEST
from deploy.local.sandbox.klaviyo.flows import Flows
from deploy.local.sandbox.klaviyo.headers import (
    has_body,
    limits,
    refuse_headers,
    refuse_parameters,
    revision_of,
)
from deploy.local.sandbox.klaviyo.oauth import SCOPES, OAuth, Tokens
from deploy.local.sandbox.klaviyo.people import People
from deploy.local.sandbox.klaviyo.revised import Revised
from deploy.local.sandbox.stage.clock import Clock
from deploy.local.sandbox.stage.faults import Faults
from deploy.local.sandbox.stage.identifiers import Identifiers
from deploy.local.sandbox.stage.messages import Answer, Request, UnreadableBodyError, json_answer
from deploy.local.sandbox.stage.record import Call, Calls
from deploy.local.sandbox.stage.rounds import Rounds
from deploy.local.sandbox.stage.windows import Windows


class Klaviyo(People, Bases, Contents):
    """A Klaviyo with accounts, installs and all data that they get. Every method may be called from any thread.

    `oauth` has the switches of the install and of tokens, `consent` those of consent events and jobs. `People` are the
    acts of people, `Contents` what the accounts hold; `courier` and `flows` send Klaviyo's own messages. `duplicate_title_status` answers a data source
    whose title is taken: 409 or 400; `unknown_data_source_status` a record for one that is not there: 404 or 400. A
    record with the property `unwanted_property` is refused; "" refuses none. `plan_lacks` names what the accounts' plan
    lacks: "webhooks", "data sources". `retirement_date` is announced with every answer; "" announces none.
    """

    def __init__(self, clock: Clock, identifiers: Identifiers, *, client_id: str, client_secret: str) -> None:
        super().__init__(clock, identifiers)
        self.url = ""
        self.calls = Calls()
        self.faults = Faults()
        self.fail = self.faults.fail
        self.duplicate_title_status = 409
        self.consent = ConsentSwitches()
        self.unknown_data_source_status = 404
        self.unwanted_property = ""
        self.plan_lacks: Sequence[str] = ()
        self.retirement_date = ""
        self.oauth = OAuth(clock, identifiers, client_id, client_secret)
        self._windows = Windows(clock)
        self._revised: list[Revised] = []
        self.courier = Courier(self._account, self._lock, clock)
        self.deliver, self.deliver_due = self.courier.deliver, self.courier.deliver_due
        self.send_raw, self.webhook_deliveries = self.courier.send_raw, self.courier.deliveries
        self.flows = Flows(self._account, self._lock, clock, identifiers)
        self.flow, self.run_flow = self.flows.flow, self.flows.run_flow
        self.flow_due, self.flow_runs = self.flows.flow_due, self.flows.runs
        self._rounds = Rounds(self._deliver_all)
        self._pages: dict[str, dict[str, Callable[[Request], tuple[Answer, str | None]]]] = {
            "/oauth/authorize": {"GET": self._authorize, "POST": self._authorize},
            "/oauth/token": {"POST": self.oauth.token},
            "/oauth/revoke": {"POST": self.oauth.revocation},
        }

    # The methods for tests.

    def install(
        self,
        account: str,
        *,
        scopes: str = SCOPES,
        access_token: str | None = None,
        refresh_token: str | None = None,
    ) -> Tokens:
        """Install the app in `account`, which is made if needed, and return its tokens; made up if not given."""
        self._account(account)
        return self.oauth.install(
            account, scope=scopes, access_token=access_token, refresh_token=refresh_token
        )

    def revoke(self, refresh_token: str) -> None:
        """End a refresh token: the next refresh is `invalid_grant`. KeyError if there is none like it."""
        self.oauth.revoke(refresh_token)

    def expire(self, access_token: str) -> None:
        """End an access token now: its next call is 401. KeyError if there is none like it."""
        self.oauth.expire(access_token)

    def uninstall(self, account: str) -> None:
        """Remove the app as a merchant does: calls are 401 and refreshes `invalid_grant`. The account's data stays."""
        self.oauth.uninstall(account)

    def differ(
        self,
        revision: str,
        operation: str,
        *,
        fields: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        refused: str = "",
    ) -> None:
        """From a revision on, let an operation answer otherwise (see `Revised`): `operation` is a method and a path with `{id}`.

        Raises:
            ValueError: there is no such operation.
        """
        method, _, path = operation.partition(" /")
        if method not in ENDPOINTS.get(path, {}):
            raise ValueError('operation must be a method and a path, as in "GET /api/profiles/{id}"')
        with self._lock:
            self._revised.append(Revised(revision, operation, fields or {}, headers or {}, refused))

    @property
    def auto_deliver(self) -> float | None:
        """Every how many seconds all that is due is sent for all accounts, flows' tries too; None if only when told to."""
        return self._rounds.seconds

    @auto_deliver.setter
    def auto_deliver(self, seconds: float | None) -> None:
        self._rounds.switch(seconds)

    def reset(self) -> None:
        """Forget everything but the app's own credentials and switches."""
        with self._lock:
            self._accounts.clear()
            self._windows.clear()
            self._revised.clear()
            self.flows.clear()
            self.oauth.clear()
            self.calls.clear()
            self.faults.clear()

    def close(self) -> None:
        """Stop sending messages without a call."""
        self.courier.close()
        self._rounds.stop()

    # The methods for the server.

    def answer(self, request: Request, call: Call) -> Answer:
        """Answer like Klaviyo, with an id of the request."""
        answer = self._answered(request, call)
        named = {"X-Klaviyo-Req-Id": str(uuid.uuid4()), **answer.headers}
        if "answers-carry-request-id" in self.consent.otherwise:
            del named["X-Klaviyo-Req-Id"]
        if self.retirement_date:
            named["X-Klaviyo-Api-Retirement-Date"] = self.retirement_date
        return Answer(answer.status, named, answer.body)

    def _answered(self, request: Request, call: Call) -> Answer:
        if request.path in self._pages:
            return self._page(request, call)
        found = route(request.segments)
        if found is None:
            return errors.error(404)
        template, id = found
        methods = ENDPOINTS[template]
        if request.method not in methods:
            return errors.error(405, Allow=", ".join(sorted(methods)))
        return self._call(request, call, template, id)

    def refusal(self, status: int) -> Answer:
        """Return Klaviyo's own error answer for `status`."""
        return errors.throttled(1) if status == 429 else errors.error(status)

    def _deliver_all(self) -> None:
        with self._lock:
            accounts = list(self._accounts)
        for account in accounts:
            self.deliver(account)
            self.flow_due(account)

    def _page(self, request: Request, call: Call) -> Answer:
        methods = self._pages[request.path]
        if request.method not in methods:
            return errors.error(405, Allow=", ".join(methods))
        answer, call.account = methods[request.method](request)
        if answer.status == 400 and "dead-grant-is-named" in self.consent.otherwise:
            return json_answer(401, {"error": "unauthorized"})
        return answer

    def _authorize(self, request: Request) -> tuple[Answer, str | None]:
        if self.oauth.consent_account is not None:
            self._account(self.oauth.consent_account)
        with self._lock:
            accounts = {id: account.details.organization_name for id, account in self._accounts.items()}
        return authorize(self.oauth, request, accounts)

    def _call(self, request: Request, call: Call, template: str, id: str) -> Answer:
        endpoint = ENDPOINTS[template][request.method]
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        install = self.oauth.holder(token) if scheme.lower() == "bearer" else None
        if install is None:
            return errors.unauthenticated(is_credential_given=bool(token))
        call.account = install.account
        if missing := endpoint.scopes - set(install.scope.split()):
            return errors.error(403, Problem(f"Missing scopes: {', '.join(sorted(missing))}"))
        if lacking := self._lacking(request.method, template):
            return lacking
        verdict = self._windows.take((install.account, request.method, template), endpoint.windows)
        if verdict.retry_after is not None:
            return errors.throttled(verdict.retry_after)
        revised = self._revised_for(request, template)
        refusal = next(filter(None, (order.refusal() for order in revised)), None)
        answer = refusal or self._carry_out(request, endpoint, install.account, id)
        if "answers-carry-limits" not in self.consent.otherwise:
            told = limits(endpoint.windows, verdict)
            answer = Answer(answer.status, {**answer.headers, **told}, answer.body)
        for order in revised:
            answer = order.renamed(answer)
        return answer

    def _revised_for(self, request: Request, template: str) -> list[Revised]:
        operation = f"{request.method} /{template}"
        with self._lock:
            return [order for order in self._revised if order.holds(revision_of(request), operation)]

    def _lacking(self, method: str, template: str) -> Answer | None:
        """Return the 403 of an account if its plan lacks the feature of the call."""
        if "webhooks" in self.plan_lacks and template.startswith("api/webhook"):
            return errors.error(403, Problem("You must have Advanced KDP enabled to access this endpoint."))
        if "data sources" in self.plan_lacks and (method, template) == ("POST", "api/data-sources"):
            detail = Problem("Entitlement to create object type not found.")
            return errors.error(403, detail, code="forbidden", title="Forbidden.")
        return None

    def _carry_out(self, request: Request, endpoint: Endpoint, account: str, id: str) -> Answer:
        if refusal := refuse_headers(request) or refuse_parameters(request, endpoint):
            return refusal
        try:
            if len(request.content()) > LARGEST_REQUEST:
                return errors.error(400, Problem("A request is at most 5 MB.", "/data"))
            document = request.json() if has_body(request) else None
        except UnreadableBodyError as error:
            return errors.error(400, Problem(str(error), "/"))
        with self._lock:
            asked = Asked(
                account=self._current(account),
                document=document,
                parameters=request.parameters,
                id=id,
                revision=revision_of(request),
                url=self.url,
                now=self.clock(),
                duplicate_title_status=self.duplicate_title_status,
                consent=self.consent,
                unknown_data_source_status=self.unknown_data_source_status,
                unwanted_property=self.unwanted_property,
            )
            try:
                return endpoint.carry_out(asked)
            except InvalidParameterError as wrong:
                return errors.invalid([wrong.problem])
