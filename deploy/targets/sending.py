"""A rendered body posted as Omneo would post it, and the answer that came."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPException, InvalidURL
from urllib.parse import urlsplit

from deploy.local.sandbox.omneo.delivery import SIGNATURE, sign

SECONDS = 20.0
LONGEST_ANSWER = 100_000


class NotSentError(Exception):
    """No answer came, or the address is none; the message says why."""


@dataclass(frozen=True)
class Answer:
    """The answer."""

    status: int
    body: str

    @property
    def is_success(self) -> bool:
        """Whether the call was accepted."""
        return 200 <= self.status < 300

    def shown(self) -> str:
        """Return the answer for a person: JSON is indented."""
        try:
            return json.dumps(json.loads(self.body), indent=2, ensure_ascii=False)
        except ValueError:
            return self.body


def send(url: str, body: bytes, headers: Mapping[str, str], *, signing_secret: str = "") -> Answer:
    """Post the body and return the answer, whatever its status. With the secret, sign it as Omneo does.

    Raises:
        NotSentError: no answer came.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise NotSentError("The address must start with https:// or http://.")
    signed = {SIGNATURE: sign(signing_secret, body)} if signing_secret else {}
    request = urllib.request.Request(  # noqa: S310 - the scheme was looked at
        url, data=body, headers={"Content-Type": "application/json", **signed, **headers}, method="POST"
    )
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=SECONDS) as answer:
            return Answer(answer.status, answer.read(LONGEST_ANSWER).decode(errors="replace"))
    except urllib.error.HTTPError as error:
        with error:
            return Answer(error.code, error.read(LONGEST_ANSWER).decode(errors="replace"))
    except (OSError, HTTPException) as error:
        raise NotSentError(f"No answer came: {_why(error)}.") from None
    except ValueError:  # its words may hold the value of a header
        raise NotSentError("Nothing was sent: a header's name or value is not as HTTP wants it.") from None


def _why(error: Exception) -> str:
    """Return the reason of a failed call in a few words."""
    reason = getattr(error, "reason", error)
    match reason:
        case InvalidURL():
            return "the address is not as HTTP wants it"
        case TimeoutError():
            return f"none within {SECONDS:.0f} seconds"
        case OSError() if reason.strerror:
            return reason.strerror
        case HTTPException():
            return "what came is no HTTP"
        case _:
            return str(reason)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Shows a redirect as the answer it is: Omneo follows none with a body either, as far as is known."""

    def redirect_request(self, *_: object) -> None:
        """Follow none."""
