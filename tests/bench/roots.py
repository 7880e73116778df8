"""Source roots to start functions from: staged as for deployment and compiled as Google's buildpack does."""

import compileall
import shutil
from dataclasses import dataclass
from pathlib import Path

from deploy.staging import stage

_OURS = Path(__file__).parent / "functions"


@dataclass(frozen=True)
class Root:
    """A folder that the launcher starts `target` from."""

    target: str
    folder: Path


def hello(into: Path) -> Root:
    """Lay the baseline: a function that only answers."""
    into.mkdir(parents=True)
    shutil.copy2(_OURS / "hello" / "main.py", into / "main.py")
    return _compiled(Root("hello", into))


def deployed(function: str, into: Path) -> Root:
    """Lay a function as it is deployed."""
    return _compiled(Root(function, stage(function, into)))


def targets(into: Path) -> Root:
    """Lay `targets` as it is deployed."""
    return deployed("targets", into)


def system_webhooks(into: Path) -> Root:
    """Lay `system_webhooks` as it is deployed."""
    return deployed("system_webhooks", into)


def targets_alone(into: Path) -> Root:
    """Lay `targets` with a queue that costs nothing, around the deployed main.py."""
    return _around("targets", into, "targets_alone")


def system_webhooks_far(into: Path) -> Root:
    """Lay `system_webhooks` with a queue that is slow to answer, around the deployed main.py."""
    return _around("system_webhooks", into, "system_webhooks_far")


def _around(function: str, into: Path, ours: str) -> Root:
    stage(function, into)
    deployed = into / "functions" / function
    deployed.mkdir(parents=True)
    (into / "main.py").rename(deployed / "main.py")
    shutil.copy2(_OURS / ours / "main.py", into / "main.py")
    return _compiled(Root(function, into))


def _compiled(root: Root) -> Root:
    # The buildpack runs `compileall -f -q .`; without it a cold start would be spent on compiling.
    compileall.compile_dir(root.folder, quiet=1, force=True)
    return root
