"""Every refusal the emulator makes on purpose, named as Cloud Tasks names its status codes.

No gRPC lives here: `server.py` maps these to status codes, in one table. A message names the field and the rule and
never repeats a header value or a body.
"""


class TasksError(Exception):
    """Root of all refusals."""


class InvalidArgumentError(TasksError):
    """The request breaks a documented format or limit."""


class AlreadyExistsError(TasksError):
    """The name is taken, or was taken too recently."""


class NotFoundError(TasksError):
    """There is no such queue or task."""


class FailedPreconditionError(TasksError):
    """The request is well formed and cannot be granted in the present state."""


class NotEmulatedError(TasksError):
    """The real service can do this and the emulator cannot; ignoring it would mislead."""
