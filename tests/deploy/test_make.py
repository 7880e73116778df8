"""Which Python make takes, what it says when there is none, and what it lists and runs."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from deploy.staging import REPOSITORY

FIND = REPOSITORY / "deploy/local/find_python.sh"
# Says its version to whoever asks as find_python.sh does: the program is the second argument, the version wanted the third.
FITS = '#!/bin/bash\n[[ "$1" == -c && "$3" == {version} ]]\n'
TESTS = ["histories", "test"]
SHIM = "#!/bin/bash\necho 'pyenv: command not found' >&2; exit 127\n"


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """Return a folder with the programs that the script needs, and no Python yet."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "ls", "cat"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def has(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(text)
    program.chmod(0o755)
    return program


def find(machine: Path, *words: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    home = machine.parent / "home"
    return subprocess.run(
        ["/bin/bash", str(FIND), *words],
        env={"PATH": str(machine), "HOME": str(home), **variables},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_the_newest_that_is_found_is_taken(machine: Path) -> None:
    has(machine, "python3.11", FITS.format(version="3.11"))
    assert find(machine).stdout == f"{machine}/python3.11\n"
    has(machine, "python3.13", FITS.format(version="3.13"))
    has(machine, "python3.12", FITS.format(version="3.12"))
    assert find(machine).stdout == f"{machine}/python3.13\n"


def test_a_shim_of_a_version_that_is_not_active_is_passed_over(machine: Path) -> None:
    has(machine, "python3.13", SHIM)
    has(machine, "python3.12", FITS.format(version="3.12"))
    assert find(machine).stdout == f"{machine}/python3.12\n"


def test_what_pyenv_has_installed_is_found_though_its_shim_does_not_run(machine: Path) -> None:
    has(machine, "python3.13", SHIM)
    has(machine, "python3.12", FITS.format(version="3.12"))
    root = machine.parent / "pyenv"
    installed = has(root / "versions/3.13.0/bin", "python3.13", FITS.format(version="3.13"))
    assert find(machine, PYENV_ROOT=str(root)).stdout == f"{installed}\n"


def test_a_python_without_a_version_in_its_name_is_asked_for_it(machine: Path) -> None:
    has(machine, "python3", FITS.format(version="3.12"))
    assert find(machine).stdout == f"{machine}/python3\n"


def test_one_of_each_version_is_listed(machine: Path) -> None:
    has(machine, "python3.11", FITS.format(version="3.11"))
    has(machine, "python3.13", FITS.format(version="3.13"))
    assert find(machine, "--all").stdout == f"3.13 {machine}/python3.13\n3.11 {machine}/python3.11\n"


@pytest.mark.parametrize("words", [(), ("/no/such/python",), ("python3.14",)])
def test_without_one_that_fits_it_says_which_are_needed_and_when_the_next_will_do(
    machine: Path, words: tuple[str, ...]
) -> None:
    has(machine, "python3.14", FITS.format(version="3.14"))
    found = find(machine, *words)
    assert (found.returncode, found.stdout) == (1, "")
    assert (
        "Python 3.11, 3.12 or 3.13 is needed (3.14 as soon as jsonlogic-rs has a wheel for it)"
        in found.stderr
    )
    assert "PYTHON=/path/to/python3.13" in found.stderr


def test_a_python_that_is_named_is_taken_by_its_path_or_its_version(machine: Path) -> None:
    has(machine, "python3.13", FITS.format(version="3.13"))
    older = has(machine, "python3.12", FITS.format(version="3.12"))
    for word in (str(older), "python3.12", "3.12"):
        assert find(machine, word).stdout == f"{older}\n"


def test_the_python_of_these_tests_would_be_taken(machine: Path) -> None:
    found = find(machine, sys.executable)
    assert (found.stdout, found.returncode) == (f"{sys.executable}\n", 0)


def test_uv_installs_where_it_is_found_and_checks_hashes(machine: Path, tmp_path: Path) -> None:
    told = tmp_path / "told"
    has(machine, "uv", f'#!/bin/bash\necho "$@" >>{told}\n')
    has(
        machine,
        "python3.12",
        FITS.format(version="3.12").replace("[[", 'case "$2" in *print*) echo 3.12;; esac\n[['),
    )
    for name in ("basename", "dirname", "rm", "touch", "mkdir"):
        (machine / name).symlink_to(str(shutil.which(name)))
    environment = tmp_path / "environment"
    environment.mkdir()
    lock = tmp_path / "run.txt"
    lock.write_text("")
    done = subprocess.run(
        ["/bin/bash", str(REPOSITORY / "deploy/local/install.sh"), str(environment), str(lock)],
        env={"PATH": str(machine), "HOME": str(tmp_path)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    lines = told.read_text().splitlines()
    assert f"venv --quiet --python {machine}/python3.12 {environment}" in lines
    assert lines[-1].startswith("pip install ")
    assert f"--require-hashes --requirement {lock}" in lines[-1]
    assert "Setting up" in done.stdout


def test_help_lists_every_command_of_the_makefile_that_a_person_gives() -> None:
    makefile = (REPOSITORY / "Makefile").read_text()
    listed = subprocess.run(
        ["make", "help"], cwd=REPOSITORY, env={"PATH": os.environ["PATH"]},
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip
    targets = re.findall(r"^([a-z-]+):", makefile, re.MULTILINE)
    assert set(re.findall(r"^  make ([a-z-]+) ", listed, re.MULTILINE)) == set(targets) - {"quick"}
    assert re.findall(r"^([A-Z].+)$", listed, re.MULTILINE) == ["Try it", "Change it", "Google Cloud"]


def test_before_a_commit_runs_what_make_check_runs_before_the_tests() -> None:
    (check,) = re.findall(r"^check: (.+?) ##", (REPOSITORY / "Makefile").read_text(), re.MULTILINE)
    hooks = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert [hook["entry"] for hook in hooks] == [f"make {target}" for target in check.split()[: -len(TESTS)]]
    assert check.split()[-len(TESTS) :] == TESTS


def test_the_runtime_on_google_cloud_is_named_in_one_place() -> None:
    named = [
        path.relative_to(REPOSITORY).as_posix()
        for path in (REPOSITORY / "deploy").rglob("*")
        if path.suffix in {".py", ".sh", ".yaml"} and re.search(r"\bpython3\d\d\b", path.read_text())
    ]
    assert named == ["deploy/gcp/revisions.py"]


SCRIPTS = sorted((REPOSITORY / "deploy").rglob("*.sh"))
# What bash 3.2 or the tools of BSD, which macOS has, do not know: variables and words of later bashes, and GNU's options.
UNKNOWN_THERE = re.compile(
    r"BASHPID|EPOCHSECONDS|\b(?:mapfile|readarray|coproc)\b|(?:declare|local) -[aAgn]*[AgnluI]\b|\$\{\w+(?:,,?|\^\^?)\}|\|&|&>>"
    r"|wait -n|\[-1\]|paste -sd '.'(?! -)|sed -[ir]|readlink -f|(?<!\w)date -(?:d|-)|grep -P|xargs -[rd]|stat -c|sort -V"
    r"|\$\{\w+@\w\}|\$\{\w+:[^}]*:\s*-\d|printf (?:-v \w+ )?['\"]?%\(|;;?&|\[\[ -v |\{\d+\.\.\d+\.\.|exec \{"
    r"|shopt -s (?:globstar|lastpipe|inherit_errexit)|read -[a-z]*[Ni]\b|(?:head|tail) -n ?-|\btac\b|(?<![\w-])timeout \d"
    r"|\brealpath\b|cp -t|mktemp -[tp]|(?:grep|sed) (?!-E)'?[^|']*\\[+?|]|awk '[^']*(?:gensub|strftime|\{\d+\})"
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_runs_with_the_shell_and_tools_of_macos(script: Path) -> None:
    code = [line for line in script.read_text().splitlines() if not line.lstrip().startswith("#")]
    assert [line for line in code if UNKNOWN_THERE.search(line)] == []


# Before bash 4, `set -e` passes over a failure of these; where one ends a function, the call of the function fails.
PASSED_OVER = re.compile(
    r"^[ \t]*(?:\[\[ .*\]\]|\(\(.*\)\)|\((?!\()(?:.|\\\n)*\))$\n(?![ \t]*\})", re.MULTILINE
)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_failure_that_an_old_bash_passes_over_ends_a_function(script: Path) -> None:
    assert PASSED_OVER.findall(script.read_text()) == []


@pytest.mark.parametrize("line", ["(cd /gone)", "[[ -n $GONE ]]", "((0))", '(cd /gone && \\\n "$GONE")'])
def test_a_failure_in_the_middle_is_found(line: str) -> None:
    assert PASSED_OVER.search(f"gone() {{\n  {line}\n  true\n}}\n")
    assert not PASSED_OVER.search(f"gone() {{\n  true\n  {line}\n}}\n")


# Before bash 4.4, `set -u` takes an array without elements for one that is not set. These have some by then.
NEVER_EMPTY = {
    'observe "$policy" "${reading[@]}"',  # `bind` is given what reads
    'gcloud services enable "${missing[@]}"',  # after a return where nothing is missing
    'running=("${running[@]:1}")',  # a slice is none, and may be empty
}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_an_array_that_may_be_empty_is_not_taken_for_one_that_is_not_set(script: Path) -> None:
    text = script.read_text()
    for name in re.findall(r"\b([a-z_]+)=\(\)", text):
        for line in re.findall(rf'^.*"\$\{{{name}\[[@*]\].*$', text, re.MULTILINE):
            guarded = f"${{{name}[@]+" in line or f"${{#{name}[@]}}" in line
            assert guarded or any(known in line for known in NEVER_EMPTY), line


@pytest.mark.parametrize(
    "script", sorted((REPOSITORY / "deploy/local").glob("*.sh")), ids=lambda path: path.name
)
def test_a_script_of_make_is_sound_shell_in_one_form(script: Path) -> None:
    for command in (("shellcheck",), ("shfmt", "-d", "-i", "2", "-ci")):
        program = Path(sys.executable).with_name(command[0])
        checked = subprocess.run(
            [program, *command[1:], script], capture_output=True, text=True, timeout=60, check=False
        )
        assert checked.stdout == ""
