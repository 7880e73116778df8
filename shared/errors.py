"""Every error that the extension raises on purpose. Its name says what the reader should do.

No status codes live here: `web/answers.py` maps these to answers, in one table. A message names the field and the fix and never repeats a
value, because messages travel to callers and into logs.
"""


class ExtensionError(Exception):
    """Root of all errors raised on purpose."""


class ConfigurationError(ExtensionError):
    """The environment is incomplete or malformed; the message lists every variable at fault."""


# The caller can fix these.


class CallerError(ExtensionError):
    """The call cannot be accepted as it is."""


class UnknownPathError(CallerError):
    """No such path here."""


class WrongMethodError(CallerError):
    """The path exists, for other methods: `allowed`."""

    def __init__(self, message: str, *, allowed: str) -> None:
        super().__init__(message)
        self.allowed = allowed


class NotAuthenticatedError(CallerError):
    """Tenant unknown, credential missing or credential wrong: always the same answer.

    `because` says which, for the tenant's operator alone.
    """

    def __init__(self, message: str, *, because: str = "") -> None:
        super().__init__(message)
        self.because = because


class InvalidPayloadError(CallerError):
    """The body or a parameter must change before the call can succeed."""


class PayloadTooLargeError(CallerError):
    """The body must be smaller."""


class UnsupportedMediaTypeError(CallerError):
    """The body must be sent as JSON, and say so."""


class NotInstalledError(CallerError):
    """The tenant exists, but no Klaviyo account is connected yet."""


class LinkUnreadableError(CallerError):
    """The install link was altered, or is none of ours."""


class LinkSpentError(CallerError):
    """The install link has expired or was used before."""


class ConflictError(CallerError):
    """The call contradicts what is so now."""


class ProfileNotFoundError(CallerError):
    """Omneo has no profile that the call could mean."""


class CapReachedError(CallerError):
    """A limit of the tenant's own is reached; the same call may succeed after `retry_after` seconds."""

    def __init__(self, message: str, *, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


# Our own store or queue; waiting helps.


class OwnServiceError(ExtensionError):
    """Something of ours cannot answer right now; the call may be repeated as it is."""


class StoreUnavailableError(OwnServiceError):
    """The store cannot answer."""


class BusyError(OwnServiceError):
    """Another call is doing the same, or may have done it; after a while it will be known."""


class SlowBodyError(OwnServiceError):
    """The body was not here in time; who is no attacker has a bad line, and may send it again."""


class QueueUnavailableError(OwnServiceError):
    """The queue did not take the task."""


class UndecryptableError(OwnServiceError):
    """A stored secret was written with a key that is no longer listed, or was tampered with."""


# The store's answers; they never reach a caller unhandled.


class DocumentExistsError(ExtensionError):
    """`create` found the document already there."""


class DocumentMissingError(ExtensionError):
    """`update` found no document."""


class DocumentChangedError(ExtensionError):
    """The document is not at the version the caller has read."""


# What Klaviyo and Omneo answer.


class ServiceError(ExtensionError):
    """A call to `service` ("Klaviyo" or "Omneo") failed.

    `status` is the HTTP status, None when no answer came. `code` is the service's own error code. `detail` may quote personal data:
    it is stored encrypted and never logged. `retry_after` is the wait in seconds that the service asks for, None when it asks for none.
    `field` is what the service does not take, as a path into what we sent, `fields` are all the places that it names, and `duplicate_of`
    is the id of what has the value already; "" where it does not say. `request_id` is what the service's support asks for.
    """

    retry_after: float | None = None
    field: str = ""
    duplicate_of: str = ""
    fields: tuple[str, ...] = ()

    def __init__(
        self,
        message: str,
        *,
        service: str,
        status: int | None = None,
        code: str = "",
        field: str = "",
        detail: str = "",
        fields: tuple[str, ...] = (),
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.service = service
        self.status = status
        self.code = code
        self.field = field
        self.detail = detail
        self.fields = fields
        self.request_id = request_id


class WaitError(ServiceError):
    """Worth trying again, unchanged: throttled, down, slow, or not making sense for the moment."""

    def __init__(
        self,
        message: str,
        *,
        service: str,
        status: int | None = None,
        code: str = "",
        detail: str = "",
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(
            message, service=service, status=status, code=code, detail=detail, request_id=request_id
        )
        self.retry_after = retry_after


class RestingError(WaitError):
    """The endpoint rests: the service refused a call a moment ago, so this call was not made. `retry_after` says when it is this caller's
    turn."""


class TurnTakenError(WaitError):
    """Another job of ours is at it. A process that was killed there holds its turn for minutes, and the next caller must not wait much longer.

    `turn` is the id of the lease that is held.
    """

    def __init__(self, message: str, *, turn: str) -> None:
        super().__init__(message, service="The extension")
        self.turn = turn


class UnsureError(WaitError):
    """404 in words that the service may have said, or a gateway in front of it that has lost the path: in itself it says nothing."""


class TokenRejectedError(ServiceError):
    """The service does not accept our token (401)."""


class RefusedError(ServiceError):
    """The service understood and will never accept this call."""


class NotFoundError(RefusedError):
    """The service knows no such thing (404)."""


class GrantRefusedError(ServiceError):
    """Klaviyo no longer accepts the refresh token."""


# What the worker concludes about a job.


class DisconnectedError(ExtensionError):
    """The tenant's Klaviyo account is disconnected; the job waits for a reinstall."""


class CannotSucceedError(ExtensionError):
    """The job can never succeed as it is; the message says why, plainly, without personal data.

    `cause` is one of `shared.jobs.rules.causes.Cause`, "" where the message says it all.
    """

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause
