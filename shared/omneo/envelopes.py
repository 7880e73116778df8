"""Opens Omneo's answers: the envelope of one thing, of a list and of its next page. Nothing here calls Omneo."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from pydantic import BaseModel, ValidationError

from shared.errors import WaitError
from shared.omneo.models import Profile

Model = TypeVar("Model", bound=BaseModel)


def thing_in(body: Any, name: str) -> Any:
    """Return the single thing that an answer holds. `name` says what it is, for the error.

    Raises:
        WaitError: the answer has no envelope. Then it does not even say that the thing is missing.
    """
    try:
        return body["data"]
    except (TypeError, KeyError, IndexError):
        raise WaitError(
            f"Omneo answered with a {name} that cannot be read", service="Omneo", status=200
        ) from None


def read_as(model: type[Model], row: object, name: str) -> Model:
    """Return a thing as a model. `name` says what it is, for the error.

    Raises:
        WaitError: it cannot be read.
    """
    try:
        return model.model_validate(row)
    except ValidationError:
        raise WaitError(
            f"Omneo answered with a {name} that cannot be read", service="Omneo", status=200
        ) from None


def rows_in(body: Any) -> list[Any]:
    """Return the rows of a list.

    Raises:
        TypeError, KeyError: the answer holds no list, so it does not say that anything is missing.
    """
    rows = body["data"]
    if not isinstance(rows, list):
        raise TypeError("no list: nobody may be taken for missing")
    return rows


def rows_or_wait(body: Any) -> list[Any]:
    """Return the rows of a list.

    Raises:
        WaitError: the answer holds no list.
    """
    try:
        return rows_in(body)
    except (TypeError, KeyError):
        raise WaitError(
            "Omneo answered with a list that cannot be read", service="Omneo", status=200
        ) from None


def profiles_in(body: Any) -> list[Profile]:
    """Return a list's rows as profiles.

    Raises:
        WaitError: the answer holds no list, or a row is no profile.
    """
    try:
        return [Profile.model_validate(row) for row in rows_in(body)]
    except (ValidationError, TypeError, KeyError):
        raise WaitError(
            "Omneo answered with a list of profiles that cannot be read", service="Omneo"
        ) from None


def next_page(body: Any, asked: Mapping[str, str]) -> dict[str, str]:
    """Return the parameters of the page after the page of `asked`, none after the last page.

    Raises:
        TypeError, KeyError, AttributeError, ValueError: the link to the next page cannot be read, or leads to the same page.
    """
    link = (body.get("links") or {}).get("next")
    if not link:
        return {}
    params = {
        **asked,
        **dict(parse_qsl(urlsplit(link).query)),
    }  # Laravel's links do not always repeat the filters
    if params == asked:
        raise ValueError("a page that follows itself")
    return params


def token_expiry(body: Any) -> datetime | None:
    """Return when the token expires, None if the answer does not say.

    The time stands beside the other fields or in an envelope. A time without a zone is UTC.
    """
    try:
        at = datetime.fromisoformat(body.get("data", body)["expires_at"])
        return at.replace(tzinfo=at.tzinfo or UTC).astimezone(UTC)
    except (AttributeError, TypeError, KeyError, ValueError, OverflowError):
        return None
