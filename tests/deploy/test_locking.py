"""What is installed is what the lock files list, with hashes, and they list what people wrote."""

import re
from pathlib import Path

import pytest

from deploy.locking import BROUGHT, UNWANTED, LockError, direct_needs, package, pins, with_brought
from deploy.staging import LOCKS, REPOSITORY

SOURCES = {
    "functions": "requirements.txt",
    "run": "deploy/local/requirements.txt",
    "test": "tests/requirements.txt",
}


def lock(name: str) -> str:
    return (REPOSITORY / LOCKS / f"{name}.txt").read_text()


def versions(text: str) -> dict[str, str]:
    return {package(pin): pin.partition("==")[2].partition(" ;")[0].strip() for pin in pins(text)}


@pytest.mark.parametrize("name", SOURCES)
def test_every_package_of_a_lock_file_has_one_version_and_hashes(name: str) -> None:
    entries = re.split(r"\n(?=\S)", lock(name).partition("\n")[2].strip())
    assert len(entries) == len(versions(lock(name)))
    for entry in entries:
        assert re.match(r"[a-z0-9.-]+==\S+( ; .+)? \\\n    --hash=sha256:[0-9a-f]{64}", entry), entry


@pytest.mark.parametrize("name", SOURCES)
def test_a_lock_file_holds_what_people_wrote(name: str) -> None:
    written = versions((REPOSITORY / SOURCES[name]).read_text())
    assert written.items() <= versions(lock(name)).items()


def test_what_ships_is_the_same_wherever_it_is_installed() -> None:
    shipped, run, test = (versions(lock(name)) for name in SOURCES)
    assert shipped.items() <= run.items() <= test.items()


def test_what_would_change_what_ships_is_installed_nowhere() -> None:
    unwanted = set(pins((REPOSITORY / UNWANTED).read_text()))
    assert unwanted
    assert not any(unwanted & versions(lock(name)).keys() for name in SOURCES)


def test_requirements_txt_lists_all_that_ships_and_nothing_else() -> None:
    text = (REPOSITORY / "requirements.txt").read_text()
    assert versions(text) == versions(lock("functions"))
    assert with_brought(text, lock("functions")) == text, "run make lock"


def test_every_direct_need_has_its_reason() -> None:
    for line in direct_needs((REPOSITORY / "requirements.txt").read_text()).splitlines():
        assert not line or line.startswith("#") or re.fullmatch(r"\S+==\S+ +# \S.+", line), line


def test_what_a_need_no_longer_brings_leaves_the_second_half() -> None:
    before = f"flask==3.1.3  # pages\n\n{BROUGHT}\nold==1\n"
    locked = "# head\nflask==3.1.3 \\\n    --hash=sha256:00\nwerkzeug==3.1.9 \\\n    --hash=sha256:00\n"
    assert with_brought(before, locked) == f"flask==3.1.3  # pages\n\n{BROUGHT}\nwerkzeug==3.1.9\n"


def test_a_file_that_is_not_divided_is_refused() -> None:
    with pytest.raises(LockError, match="lacks the line"):
        direct_needs("flask==3.1.3\n")


def test_every_install_reads_a_lock_file_and_checks_its_hashes() -> None:
    script = (REPOSITORY / "deploy/local/install.sh").read_text()
    installs = [line for line in script.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all('--no-deps --require-hashes --requirement "$lock"' in line for line in installs)
    for path in ("Makefile", ".ci/run", "deploy/gcp/steps/functions.sh"):
        assert "pip install" not in Path(REPOSITORY / path).read_text()
