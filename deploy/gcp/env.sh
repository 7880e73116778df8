#!/usr/bin/env bash
# Prints the environment that `python -m deploy.tenants` needs for the extension in a project, for a shell to read:
#   eval "$(make --silent env PROJECT=...)"
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${PROJECT:?is the id of the Google Cloud project}"
REGION=${REGION:-}
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"

step env
observe services.json gcloud run services list --format=json
planner environment "$WORK/services.json"
