"""`python -m deploy.tenants`, also from a shell where the project's environment is not active."""

import importlib.util
import os
import sys
from pathlib import Path


def _use_project_environment() -> None:
    """Start again with .venv's interpreter if this one lacks the project's packages."""
    if importlib.util.find_spec("functions_framework"):
        return
    interpreter = Path(__file__).parents[2] / ".venv" / "bin" / "python"
    if not interpreter.exists() or Path(sys.prefix) == interpreter.parents[1]:
        sys.exit("Run `make setup` first: the packages are missing.")
    command = [str(interpreter), "-m", "deploy.tenants", *sys.argv[1:]]
    os.execv(interpreter, command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _use_project_environment()
    from deploy.tenants.commands import tenants

    tenants(prog_name="python -m deploy.tenants")
