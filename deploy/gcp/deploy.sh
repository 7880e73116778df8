#!/usr/bin/env bash
# The whole bundle to Google Cloud, again and again safely:
#   PROJECT=... REGION=... DOMAIN=... deploy/gcp/deploy.sh
# DRY_RUN=1 says what would be done and changes nothing; FORMAT=json lists every resource as data, and changes nothing either.
# ONLY="bundle" leaves out the others of: bundle database balancer watching; for an upgrade in a hurry.
# WATCH_MINUTES says how many minutes an upgrade takes a share of the calls before it takes all. COST_CEILING
# is the highest cost of the instances in a month, in dollars. ANYWAY=1 turns the findings of the checks into
# warnings. See deploy/README.md.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
for part in project database secrets functions traffic names balancer schedules watching; do
  # shellcheck source=/dev/null
  . "$ROOT/deploy/gcp/steps/$part.sh"
done

# list_resources: the only thing on standard output.
list_resources() {
  local name
  while IFS=$'\t' read -r name _; do
    : >"$WORK/version-$name"
    ! known "$name" secrets-found || newest_version "$name"
  done <"$WORK/secrets"
  planner revisions "$WORK"
  planner resources "$WORK" >&3
}

[[ ${FORMAT:-} != json ]] || exec 3>&1 1>&2
# The functions need their accounts and secrets; the rest needs neither.
bundle() {
  accounts
  secrets
  functions
  workers
  queues
  clean_ups
  traffic # it watches for minutes; and scheduled jobs may need the new workers
  schedules
}

check_machine PROJECT REGION DOMAIN
find_project
read -r -a parts <<<"${ONLY:-bundle database balancer watching}"
check_project
find_front
planner plan "$WORK"
[[ ${FORMAT:-} == json ]] || apis
if [[ ${FORMAT:-} == json ]]; then
  list_resources
  exit 0
fi
check_place
# The functions run even without monitoring.
((${#parts[@]} == 1)) || MAY_FAIL=watching
side_by_side "${parts[@]}"
step "done"
say "everything is as it should be"
