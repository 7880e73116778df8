"""`python -m deploy.local.console.vendoring`: writes the files of others anew that `vendored.toml` names, and their hashes into it.

npm fetches the packages and checks them; nothing of a package is run but esbuild, which makes one file of the editor's packages.
"""

import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.staging import REPOSITORY

TABLE = Path(__file__).parent / "vendored.toml"
EDITOR = Path(__file__).parent / "editor"
_PACKAGE = re.compile(r"node_modules/((?:@[^/]+/)?[^/]+)/")


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
    """Yield the rows of the table; the rows of files that are built from packages come last."""
    table = tomllib.loads(TABLE.read_text())
    for row in (*table["file"], *table["made"]):
        yield Vendored(
            row["package"], row["version"], row["licence"], row["from"], REPOSITORY / row["to"], row["sha256"]
        )


def write_anew() -> None:
    """Fetch every package and write its files and their hashes."""
    fetched = len(tomllib.loads(TABLE.read_text())["file"])
    with tempfile.TemporaryDirectory() as folder:
        for row in list(vendored())[:fetched]:
            _write(row, _content(row, Path(folder)))
        made = dict(zip(("editor.js", "LICENSES"), _made(Path(folder)), strict=True))
        for row in list(vendored())[fetched:]:
            _write(row, made[row.source])


def _write(row: Vendored, content: bytes) -> None:
    row.path.parent.mkdir(parents=True, exist_ok=True)
    row.path.write_bytes(content)
    to = row.path.relative_to(REPOSITORY).as_posix()
    found = rf'(to = "{re.escape(to)}"\nsha256 = )"[^"]*"'
    TABLE.write_text(re.sub(found, rf'\g<1>"{hashlib.sha256(content).hexdigest()}"', TABLE.read_text()))
    print(f"{to}: {row.package} {row.version}")


def _made(folder: Path) -> tuple[bytes, bytes]:
    """Return the editor as one file, and the licences of all that went into it."""
    work = folder / "editor"
    shutil.copytree(EDITOR, work, ignore=shutil.ignore_patterns("node_modules"))
    _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", within=work)
    _run(
        "node_modules/.bin/esbuild",
        "editor.js",
        "--bundle",
        "--minify",
        "--format=iife",
        "--target=es2022",
        "--legal-comments=none",
        "--metafile=meta.json",
        "--outfile=out.js",
        within=work,
    )
    inputs = json.loads((work / "meta.json").read_text())["inputs"]
    packages = sorted({found[1] for name in inputs if (found := _PACKAGE.match(name))})
    licences = [_licence(work / "node_modules" / package) for package in packages]
    return (work / "out.js").read_bytes(), "\n".join(licences).encode()


def _licence(package: Path) -> str:
    about = json.loads((package / "package.json").read_text())
    return f"{about['name']} {about['version']}, {about['license']}\n\n{(package / 'LICENSE').read_text()}"


def _run(*argv: str, within: Path) -> None:
    subprocess.run(argv, cwd=within, check=True, stdout=subprocess.DEVNULL, timeout=120)


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
