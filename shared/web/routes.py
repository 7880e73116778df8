"""The function that answers a method and a path. No body is read here."""

import re
from collections.abc import Callable, Mapping

from flask import Request

from shared.errors import UnknownPathError, WrongMethodError
from shared.tenants.tenants import is_tenant_name
from shared.web.answers import NOTHING_THERE
from shared.web.calls import Call, Reply


class Route:
    """A method, the template of a path, and the function that answers there."""

    def __init__(self, method: str, path: str, function: Callable[[Call], Reply]) -> None:
        self.method = method
        self.path = path
        self.function = function
        self.pattern = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/]+)", re.escape(path)))


def match_route(table: list[Route], request: Request) -> tuple[Route, Mapping[str, str]]:
    """Return the route of a request, and the values of the path's variables.

    Raises:
        UnknownPathError: no route has the path.
        WrongMethodError: no route with the path has the method.
    """
    matching = [
        (route, found.groupdict())
        for route in table
        if (found := route.pattern.fullmatch(request.path)) and _is_anybodys(found.groupdict())
    ]
    if not matching:
        raise UnknownPathError(NOTHING_THERE)
    for route, variables in matching:
        if route.method == request.method:
            return route, variables
    methods = [route.method for route, _ in matching]
    raise WrongMethodError(f"Use {' or '.join(methods)} here.", allowed=", ".join(methods))


def _is_anybodys(variables: Mapping[str, str]) -> bool:
    """Return whether the path has no tenant, or its tenant can be a tenant's name."""
    return "tenant" not in variables or is_tenant_name(variables["tenant"])
