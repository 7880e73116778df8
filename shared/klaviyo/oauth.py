"""Klaviyo's OAuth endpoints. They follow RFC 6749, not JSON:API, and need the app's own credentials."""

import base64
import hashlib
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from pydantic import SecretStr, ValidationError

from shared.errors import GrantRefusedError, RefusedError, TokenRejectedError, WaitError
from shared.http.answers import Problem
from shared.http.client import HttpClient
from shared.klaviyo.grant import LONGEST_LIFE, TokenAnswer
from shared.klaviyo.resources import SCOPES

__all__ = ["LONGEST_LIFE", "KlaviyoApp", "KlaviyoOAuth", "TokenAnswer", "read_problem"]

# `invalid_grant` is RFC 6749's word and the one Klaviyo's own samples wait for; its troubleshooting page spells the other.
_DEAD_GRANTS = {"invalid_grant", "invalid_grant_type"}


@dataclass(frozen=True)
class KlaviyoApp:
    """The marketplace app that the extension is."""

    client_id: str
    client_secret: SecretStr

    @property
    def authorization(self) -> str:
        """The Basic credential of RFC 6749, section 2.3.1."""
        pair = f"{self.client_id}:{self.client_secret.get_secret_value()}"
        return "Basic " + base64.b64encode(pair.encode()).decode()


class KlaviyoOAuth:
    """Trades grants for tokens."""

    def __init__(self, http: HttpClient, app: KlaviyoApp) -> None:
        self._http = http
        self._app = app

    def authorize_url(self, authorize_url: str, *, redirect_uri: str, state: str, verifier: str) -> str:
        """Return the address for the merchant's browser, with the challenge of `verifier` (PKCE, S256)."""
        # https://developers.klaviyo.com/en/docs/set_up_oauth
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "response_type": "code",
            "client_id": self._app.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(SCOPES),
            "state": state,
            "code_challenge_method": "S256",
            "code_challenge": challenge,
        }
        return f"{authorize_url}?{urlencode(query)}"

    def exchange(self, code: str, *, redirect_uri: str, verifier: str) -> TokenAnswer:
        """Trade an authorization code for tokens. A code works once, for five minutes.

        Raises:
            GrantRefusedError: the code was used, is too old, or is not ours.
            WaitError: anything else.
        """
        return self._trade(
            {
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": redirect_uri,
                "code_verifier": verifier,
            }
        )

    def revoke(self, refresh_token: str) -> None:
        """Disconnect the app in the account of the token. A token that is dead already is no error.

        Raises:
            WaitError: Klaviyo cannot at the moment, or refuses our app's own credentials, which an operator mends.
            RefusedError: Klaviyo does not; asking again does not help.
        """
        form = {"token": refresh_token, "token_type_hint": "refresh_token"}
        try:
            self._http.call(
                "POST",
                "/oauth/revoke",
                headers=self._headers(),
                data=urlencode(form).encode(),
                any_success=True,  # the body of its answer is not documented
            )
        except (RefusedError, TokenRejectedError) as error:
            if error.code in _DEAD_GRANTS:
                return
            said = f"Klaviyo's revoke endpoint answered {error.status}: {error.code or 'no reason given'}"
            is_ours = isinstance(error, TokenRejectedError) or error.code == "invalid_client"
            kind = WaitError if is_ours else RefusedError
            raise kind(said, service="Klaviyo", status=error.status, code=error.code) from None

    def refresh(self, refresh_token: str) -> TokenAnswer:
        """Return new tokens.

        Klaviyo has been seen to answer with the same refresh token, and to keep the old access token alive until it expires.

        Raises:
            GrantRefusedError: Klaviyo no longer accepts the refresh token.
            WaitError: Klaviyo cannot answer now, or refuses our app's own credentials. An operator mends those, and no merchant has
                to install again.
        """
        return self._trade({"grant_type": "refresh_token", "refresh_token": refresh_token})

    def _headers(self) -> dict[str, str]:
        return {
            "Authorization": self._app.authorization,
            "Content-Type": "application/x-www-form-urlencoded",
            "Accept": "application/json",
        }

    def _trade(self, form: dict[str, str]) -> TokenAnswer:
        # https://developers.klaviyo.com/en/docs/set_up_oauth
        try:
            answer = self._http.call(
                "POST", "/oauth/token", headers=self._headers(), data=urlencode(form).encode()
            )
        except (RefusedError, TokenRejectedError) as error:
            kind = GrantRefusedError if error.code in _DEAD_GRANTS else WaitError
            raise kind(
                f"Klaviyo's token endpoint answered {error.status}: {error.code or 'no reason given'}",
                service="Klaviyo",
                status=error.status,
                code=error.code,
                detail=error.detail,
                request_id=error.request_id,
            ) from None
        return _read_tokens(answer)


def _read_tokens(answer: Any) -> TokenAnswer:
    try:
        return TokenAnswer.model_validate(answer)
    except ValidationError:
        # The error's own text would repeat the tokens.
        raise WaitError(
            "Klaviyo's token endpoint answered without usable tokens", service="Klaviyo"
        ) from None


def read_problem(body: Any) -> Problem:
    """Read an error of RFC 6749, section 5.2.

    Raises:
        TypeError, KeyError: the body is none.
    """
    code = body["error"]
    if not isinstance(code, str):
        raise TypeError("no code of an error")
    return Problem(code=code, detail=str(body.get("error_description", "")))
