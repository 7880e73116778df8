#!/usr/bin/env bash
# Everything that deploy.sh made is listed, and after a yes removed, data included:
#   PROJECT=... REGION=... deploy/gcp/destroy.sh
# YES=1 asks nothing; DRY_RUN=1 only lists. APIs stay on.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${PROJECT:?is the id of the Google Cloud project}" "${REGION:?is the region, such as europe-west1}"
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
for part in project balancer removal; do
  # shellcheck source=/dev/null
  . "$ROOT/deploy/gcp/steps/$part.sh"
done

find_project
planner plan "$WORK"
step destroy
side_by_side find_running find_watching find_balancer find_kept
list_found
[[ -z $DRY_RUN ]] || exit 0
if [[ ! -s $WORK/found ]]; then
  say "there is nothing to remove"
  exit 0
fi
confirm
side_by_side remove_balancer remove_watching
remove_running
remove_kept
say "removed; the names of queues stay blocked for some days, and APIs are on still"
