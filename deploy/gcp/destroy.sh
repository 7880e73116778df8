#!/usr/bin/env bash
# Everything that deploy.sh made is listed, and after a yes removed, data included:
#   PROJECT=... REGION=... deploy/gcp/destroy.sh
# YES=1 asks nothing; DRY_RUN=1 only lists. APIs stay on.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
for part in project names balancer schedules watching removal; do
  # shellcheck source=/dev/null
  . "$ROOT/deploy/gcp/steps/$part.sh"
done

check_machine PROJECT REGION
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
say "removed; the queue of the smoke calls stays, because its name would be blocked for days; so do the APIs"
