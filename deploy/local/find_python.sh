#!/usr/bin/env bash
# Prints the newest Python on this machine that the project runs on.
#   find_python.sh             the newest
#   find_python.sh PROGRAM     that one, if the project runs on it; 3.12 and python3.12 mean any of that version
#   find_python.sh --all       one of each version, as VERSION and PROGRAM, the newest first
# Written for bash 3.2, which macOS has. pyenv puts a program of every version into PATH, even of versions that do not
# run. So each candidate is started before it is taken.
set -u

VERSIONS="3.13 3.12 3.11"
WANTED="Python 3.11, 3.12 or 3.13 is needed (3.14 as soon as jsonlogic-rs has a wheel for it)"
HOW="Install one, or name it: make run PYTHON=/path/to/python3.13"

# runs PROGRAM VERSION: whether it starts, is CPython of that version, and can make an environment.
runs() {
  [ -x "$1" ] && "$1" -c '
import sys, sysconfig
import venv
if sys.argv[2] == "pip":
    import ensurepip
version = "%d.%d" % sys.version_info[:2]
fits = version == sys.argv[1] and sys.implementation.name == "cpython"
sys.exit(not fits or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))
' "$2" "$(installer)" >/dev/null 2>&1 </dev/null
}

# installer: uv brings pip itself; without it the Python must.
installer() { if command -v uv >/dev/null 2>&1; then echo uv; else echo pip; fi; }

# candidates VERSION: programs that may be of that version, the likeliest first.
candidates() {
  type -ap "python$1"
  ls -1d "${PYENV_ROOT:-${HOME:-/}/.pyenv}/versions/$1".*/bin/"python$1" 2>/dev/null
  if command -v uv >/dev/null 2>&1; then uv python find --no-python-downloads "$1" 2>/dev/null; fi
  type -ap python3 python
}

# first VERSION: the first candidate that runs.
first() {
  local candidate
  while IFS= read -r candidate; do
    if runs "$candidate" "$1"; then
      printf '%s\n' "$candidate"
      return 0
    fi
  done <<EOF
$(candidates "$1")
EOF
  return 1
}

newest() {
  local version
  for version in $VERSIONS; do
    first "$version" && return 0
  done
  echo "$WANTED; none was found. $HOW" >&2
  return 1
}

all() {
  local version program
  for version in $VERSIONS; do
    if program=$(first "$version"); then printf '%s %s\n' "$version" "$program"; fi
  done
}

named() {
  local program version
  program=$(command -v "$1" 2>/dev/null)
  for version in $VERSIONS; do
    case $1 in
      "$version" | "python$version") first "$version" && return 0 ;;
      *) if runs "$program" "$version"; then
        printf '%s\n' "$program"
        return 0
      fi ;;
    esac
  done
  echo "$WANTED; $1 is none of them, or cannot make an environment. $HOW" >&2
  return 1
}

case ${1:-} in
  "") newest ;;
  --all) all ;;
  *) named "$1" ;;
esac
