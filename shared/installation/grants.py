"""The grant that Klaviyo gives in an install: it is exchanged, checked, and kept until the merchant answers.

steps.py decides which page follows.
"""

from datetime import datetime

from shared.errors import GrantRefusedError, ServiceError, TokenRejectedError, WaitError
from shared.installation.pending import PendingInstall, PendingInstalls, Step
from shared.installation.visits import InstallRefusedError, Refusal
from shared.klaviyo.grant import Account, TokenAnswer
from shared.services import Services

CALLBACK_PATH = "/klaviyo/callback"


def exchange(code: str, verifier: str, services: Services) -> TokenAnswer:
    """Return the tokens that Klaviyo gives for a code.

    Raises:
        InstallRefusedError: Klaviyo refuses the code, or cannot answer now.
    """
    try:
        return services.klaviyo_oauth.exchange(code, redirect_uri=redirect_uri(services), verifier=verifier)
    except GrantRefusedError as error:
        raise InstallRefusedError(Refusal.EXCHANGE_FAILED) from error
    except WaitError as error:
        raise InstallRefusedError(Refusal.KLAVIYO_DOWN) from error


def account_of(answer: TokenAnswer, pending: PendingInstall, services: Services) -> Account:
    """Return the Klaviyo account that the tokens belong to.

    Raises:
        InstallRefusedError: Klaviyo does not say it. The grant is kept until Klaviyo answers, and then given back.
    """
    try:
        return services.klaviyo_with(answer.access_token).account()
    except ServiceError as error:
        PendingInstalls.of(services).issue(
            Step.NONE, pending.tenant, cookie="", kept={"tokens": plain_tokens(answer)}
        )
        raise InstallRefusedError(Refusal.KLAVIYO_DOWN) from error


def check_lives(answer: TokenAnswer, services: Services) -> None:
    """Refuse a grant that was revoked, for example in another tab, before the merchant has answered.

    With such a grant, the tenant would be disconnected within the hour.

    Raises:
        InstallRefusedError: the grant is revoked.
    """
    try:
        services.klaviyo_with(answer.access_token).account()
    except TokenRejectedError as error:
        raise InstallRefusedError(Refusal.GRANT_GONE) from error
    except ServiceError:
        return  # Klaviyo cannot answer: the grant may be good


def aged(answer: TokenAnswer, exchanged_at: object, services: Services) -> TokenAnswer:
    """Return the tokens with the time that is left until they expire: the merchant may have taken minutes to say yes."""
    gone = services.clock() - datetime.fromisoformat(str(exchanged_at))
    return answer.model_copy(update={"expires_in": answer.expires_in - int(gone.total_seconds())})


def plain_tokens(answer: TokenAnswer) -> dict[str, object]:
    """Return the tokens in clear, as the store seals them."""
    return {
        "access_token": answer.access_token.get_secret_value(),
        "refresh_token": answer.refresh_token.get_secret_value(),
        "expires_in": answer.expires_in,
        "scope": answer.scope,
    }


def redirect_uri(services: Services) -> str:
    """Return the address to which Klaviyo sends the merchant back."""
    return f"{services.settings.public_url}{CALLBACK_PATH}"
