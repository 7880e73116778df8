"""Klaviyo's error bodies (JSON:API), one function for each answer. Other modules decide when to send one.

Shapes: Klaviyo's page "Rate limits, status codes, and errors" and recorded answers.

Assumed (words-of-errors), because no live body is public:
the texts of a 401 without a credential, of 405, 409, 415 and 5xx, and the codes of 405, 409,
415 and 5xx.
"""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deploy.local.sandbox.stage.messages import Answer, json_answer

MEDIA_TYPE = "application/vnd.api+json"


@dataclass(frozen=True)
class Problem:
    """One fault of a request. `pointer` is a JSON pointer into its body, `parameter` a parameter of its query; both may
    be empty.
    """

    detail: str
    pointer: str = ""
    parameter: str = ""

    @property
    def source(self) -> dict[str, str]:
        """The place of the problem, as an error's `source` names it."""
        return {name: text for name, text in vars(self).items() if name != "detail" and text}


# status: code, title, detail
_PLAIN = {
    400: ("invalid", "Invalid input.", "The request is invalid."),
    401: (
        "not_authenticated",
        "Authentication credentials were not provided.",
        "Authentication credentials were not provided.",
    ),
    403: ("permission_denied", "You do not have permission to perform this action.", "A scope is missing."),
    404: ("not_found", "Not found.", "The requested resource does not exist."),
    405: ("method_not_allowed", "Method not allowed.", "This method is not allowed here."),
    409: ("duplicate", "Conflict.", "A resource like this exists already."),
    410: ("gone", "Gone.", "This endpoint has been retired."),
    415: ("unsupported_media_type", "Unsupported media type.", f"Send the body as {MEDIA_TYPE}."),
    429: ("throttled", "Request was throttled.", "Request was throttled. Expected available in 1 second."),
}


def error(
    status: int,
    *problems: Problem,
    code: str | None = None,
    title: str | None = None,
    meta: Mapping[str, str] | None = None,
    **headers: str,
) -> Answer:
    """Return the error answer for `status`; without problems it carries one general error. `code` and `title` replace its own."""
    usual, usual_title, detail = _PLAIN.get(
        status, ("error", "Server error.", "Something went wrong on our side.")
    )
    id = str(uuid.uuid4())
    errors = [
        {
            "id": id,
            "status": status,
            "code": code or usual,
            "title": title or usual_title,
            "detail": problem.detail,
            "source": problem.source,
            "links": {},
            "meta": dict(meta or {}),
        }
        for problem in problems or [Problem(detail)]
    ]
    return json_answer(
        status, {"errors": errors}, media_type=MEDIA_TYPE, **{"X_Klaviyo_Req_Id": id, **headers}
    )


def unauthenticated(*, is_credential_given: bool) -> Answer:
    """Return 401, in one form for a missing credential and in another for a wrong or expired one."""
    challenge = "Bearer, Klaviyo-API-Key"
    if not is_credential_given:
        return error(401, Www_Authenticate=challenge)
    wrong = Problem("Incorrect authentication credentials.", "/data/")
    return error(401, wrong, code="authentication_failed", title=wrong.detail, Www_Authenticate=challenge)


def missing(kind: str, id: str) -> Answer:
    """Return 404 for a resource; it names kind and id, and has no links and no meta."""
    article = "An" if kind[0] in "aeiou" else "A"
    return _bare_404(f"{article} {kind} with id `{id}` does not exist.")


def nobody_to_delete(named: str) -> Answer:
    """Return 404 for a deletion of a profile that is not there."""
    return _bare_404(f"No profile with {named} found. The profile may have already been deleted.")


def _bare_404(detail: str) -> Answer:
    id, (code, title, _) = str(uuid.uuid4()), _PLAIN[404]
    error = {
        "id": id,
        "status": 404,
        "code": code,
        "title": title,
        "detail": detail,
        "source": {"pointer": "/data/"},
    }
    return json_answer(404, {"errors": [error]}, media_type=MEDIA_TYPE, X_Klaviyo_Req_Id=id)


def duplicate_profile(id: str) -> Answer:
    """Return 409, which names the profile that has the identifier."""
    detail = "A profile already exists with one of these identifiers."
    problem = Problem(detail, "/data/attributes")
    return error(409, problem, code="duplicate_profile", meta={"duplicate_profile_id": id})


def invalid(problems: Sequence[Problem]) -> Answer:
    """Return 400 with one error for each problem."""
    return error(400, *problems)


def throttled(retry_after: int) -> Answer:
    """Return 429, which carries Retry-After in whole seconds and no RateLimit header."""
    seconds = "1 second" if retry_after == 1 else f"{retry_after} seconds"
    detail = f"Request was throttled. Expected available in {seconds}."
    return error(429, Problem(detail, "/data"), Retry_After=str(retry_after))
