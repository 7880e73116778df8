"""`python -m deploy.local.console.vendoring`: writes the files of others anew that `vendored.toml` names, and their hashes into it.

npm fetches the packages and checks them; nothing of a package is run.
"""

import hashlib
import re
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.staging import REPOSITORY

TABLE = Path(__file__).parent / "vendored.toml"


@dataclass(frozen=True)
class Vendored:
    """A file of somebody else, and where it came from."""

    package: str
    version: str
    licence: str
    source: str
    path: Path
    sha256: str


def vendored() -> Iterator[Vendored]:
    """Yield the rows of the table."""
    for row in tomllib.loads(TABLE.read_text())["file"]:
        yield Vendored(
            row["package"], row["version"], row["licence"], row["from"], REPOSITORY / row["to"], row["sha256"]
        )


def write_anew() -> None:
    """Fetch every package and write its files and their hashes."""
    text = TABLE.read_text()
    with tempfile.TemporaryDirectory() as folder:
        for row in vendored():
            content = _content(row, Path(folder))
            row.path.parent.mkdir(parents=True, exist_ok=True)
            row.path.write_bytes(content)
            to = row.path.relative_to(REPOSITORY).as_posix()
            found = rf'(to = "{re.escape(to)}"\nsha256 = )"[^"]*"'
            text = re.sub(found, rf'\g<1>"{hashlib.sha256(content).hexdigest()}"', text)
            print(f"{to}: {row.package} {row.version}")
    TABLE.write_text(text)


def _content(row: Vendored, folder: Path) -> bytes:
    archive = folder / f"{row.package.lstrip('@').replace('/', '-')}-{row.version}.tgz"
    if not archive.exists():
        argv = ["npm", "pack", "--silent", "--ignore-scripts", f"{row.package}@{row.version}"]
        subprocess.run(argv, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=120)
    with tarfile.open(archive) as opened:
        member = opened.extractfile(f"package/{row.source}")
        if member is None:
            raise FileNotFoundError(f"{row.package} {row.version} has no file {row.source}")
        return member.read()


if __name__ == "__main__":
    write_anew()
