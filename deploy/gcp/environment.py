"""The environment that `python -m deploy.tenants` needs, read from the deployed functions. It holds no secret."""

import shlex
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from deploy.gcp import naming
from deploy.gcp.revisions import Running
from deploy.staging import Function

# It uses everything that the commands use.
FUNCTION = "admin"


class NotDeployedError(Exception):
    """There is no extension in the project."""


def exports(services: Iterable[Mapping[str, Any]], function: Function, project: str) -> Iterator[str]:
    """Yield lines for a shell; a secret is fetched where the line is carried out.

    Raises:
        NotDeployedError: the function is not among the services.
    """
    wanted = naming.service(function.name)
    found = [service for service in services if service["metadata"]["name"] == wanted]
    if not found:
        raise NotDeployedError(f"There is no service {wanted} in {project}: run make deploy first.")
    given = Running.read(found[0]).variables
    for name in function.env:
        if given.get(name):
            yield f"export {name}={shlex.quote(given[name])}"
    for name in function.secrets:
        access = f"gcloud secrets versions access latest --secret={naming.secret(name)} --project={shlex.quote(project)}"
        yield f'export {name}="$({access})"'
