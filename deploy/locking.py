"""`make lock`: pins everything that the direct needs bring, with the hashes of every file that may be installed.

The direct needs stand in three files that people write: `requirements.txt` (its first half), `deploy/local/requirements.txt` and
`tests/requirements.txt`; `tests/unwanted.txt` names what the last of them brings and does not get. From them uv writes one lock file
each below `deploy/locks/`, for every Python from 3.11 on, Linux and macOS alike. Every install reads a lock file and no other; `staging.py` gives Google's build the first one. Nothing is installed here.
"""

import subprocess
import sys
from pathlib import Path

import click

from deploy.staging import LOCKS, REPOSITORY

LEAST_PYTHON = "3.11"
UNWANTED = "tests/unwanted.txt"
BROUGHT = "# brought by the above; make lock writes these lines"

_LOCK_HEAD = "# make lock writes this file. Change the direct needs in {source} instead.\n"


class LockError(Exception):
    """The needs cannot be locked; the message is uv's own."""


def direct_needs(text: str) -> str:
    """Return the part of requirements.txt that people write.

    Raises:
        LockError: the line that divides the file is missing.
    """
    before, found, _after = text.partition(BROUGHT)
    if not found:
        raise LockError(f"requirements.txt lacks the line: {BROUGHT}")
    return before


def pins(text: str) -> list[str]:
    """Return the pins of a requirements or lock file, one for each package, without hashes and comments.

    >>> pins("# why\\nflask==3.1.3 \\\\\\n    --hash=sha256:00\\nrich==15.0.0  # tables\\n-r other.txt\\n")
    ['flask==3.1.3', 'rich==15.0.0']
    """
    lines = (line.partition(" #")[0].rstrip(" \\") for line in text.splitlines())
    return [line for line in lines if line and line[0].isalnum()]


def package(pin: str) -> str:
    """Return the package's name as the index spells it.

    >>> package("pyasn1_modules==0.4.2")
    'pyasn1-modules'
    """
    return pin.partition("==")[0].strip().lower().replace("_", "-")


def with_brought(text: str, lock: str) -> str:
    """Return requirements.txt with its second half as the lock has it."""
    needs = direct_needs(text)
    direct = {package(pin) for pin in pins(needs)}
    brought = [pin for pin in pins(lock) if package(pin) not in direct]
    return "\n".join([f"{needs}{BROUGHT}", *brought, ""])


def lock(repository: Path = REPOSITORY, *, upgrade: str = "") -> None:
    """Write the lock files and the second half of requirements.txt.

    A locked package stays at its version as long as the needs allow it. `upgrade` names a package that may be newer, `all` means
    every one.

    Raises:
        LockError: no versions meet all needs, or the index cannot be reached.
    """
    requirements = repository / "requirements.txt"
    text = requirements.read_text(encoding="utf-8")
    locks = repository / LOCKS
    shipped = locks / "functions.txt"
    _compile(repository, "-", shipped, upgrade, said=direct_needs(text))
    requirements.write_text(with_brought(text, shipped.read_text(encoding="utf-8")), encoding="utf-8")
    _compile(repository, "deploy/local/requirements.txt", locks / "run.txt", upgrade)
    _compile(repository, "tests/requirements.txt", locks / "test.txt", upgrade, "--excludes", UNWANTED)


def _compile(
    repository: Path, source: str, into: Path, upgrade: str, *options: str, said: str | None = None
) -> None:
    uv = Path(sys.executable).with_name("uv")
    renewed = {"": (), "all": ("--upgrade",)}.get(upgrade, ("--upgrade-package", upgrade))
    command = [
        str(uv), "pip", "compile", source, "--output-file", str(into), *renewed, *options,
        "--universal", "--python-version", LEAST_PYTHON, "--generate-hashes", "--no-annotate", "--no-header", "--quiet",
    ]  # fmt: skip
    done = subprocess.run(
        command,
        cwd=repository,
        input=said,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        check=False,
    )
    if done.returncode:
        raise LockError(done.stderr.strip())
    head = _LOCK_HEAD.format(source="requirements.txt" if source == "-" else source)
    into.write_text(head + into.read_text(encoding="utf-8"), encoding="utf-8")


@click.command()
@click.option("--upgrade", default="", help="A package that may be newer than it is; `all` for every one.")
def main(upgrade: str) -> None:
    """Write deploy/locks and the second half of requirements.txt."""
    try:
        lock(upgrade=upgrade)
    except LockError as error:
        raise click.ClickException(str(error)) from None
    click.echo("deploy/locks and the second half of requirements.txt are written.")


if __name__ == "__main__":
    main(prog_name="python -m deploy.locking")
