#!/usr/bin/env bash
# install.sh ENVIRONMENT LOCK [PYTHON]: installs the packages of the lock file into the environment. It makes the
# environment if that is missing or belongs to another Python than the named one. Every hash is checked, and nothing is
# installed beside what the lock file lists. Uses uv where it is installed, else pip. Written for bash 3.2.
set -eu

environment=$1 lock=$2 wanted=${3:-}
here=$(cd "$(dirname "$0")" && pwd)
uv=${UV:-$(command -v uv || true)}

version() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null; }

present=$(version "$environment/bin/python" || true)
if [ -n "$wanted" ] || [ -z "$present" ]; then
  python=$("$here/find_python.sh" ${wanted:+"$wanted"})
  if [ "$present" != "$(version "$python")" ]; then
    echo "Setting up $environment with Python $(version "$python") (once)"
    rm -rf "$environment"
    if [ -n "$uv" ]; then "$uv" venv --quiet --python "$python" "$environment"; else "$python" -m venv "$environment"; fi
  fi
fi

stamp=$environment/.$(basename "$lock" .txt)
if [ "$stamp" -nt "$lock" ]; then exit 0; fi
echo "Installing $lock"
if [ -n "$uv" ]; then
  "$uv" pip install --quiet --python "$environment/bin/python" --no-deps --require-hashes --requirement "$lock"
else
  "$environment/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement "$lock"
fi
touch "$stamp"
