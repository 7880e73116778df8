#!/usr/bin/env bash
# The whole bundle to Google Cloud, again and again safely:
#   PROJECT=... REGION=... DOMAIN=... deploy/gcp/deploy.sh
# DRY_RUN=1 says what would be done and changes nothing. ONLY="bundle" leaves out the others of: bundle database balancer
# watching; for an upgrade in a hurry. See deploy/README.md.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
for part in project database secrets functions traffic balancer schedules watching; do
  # shellcheck source=/dev/null
  . "$ROOT/deploy/gcp/steps/$part.sh"
done

# What the functions are needs their accounts and secrets; the rest needs neither.
bundle() {
  accounts
  secrets
  functions
  workers
  traffic
  schedules
  queues
}

check_machine PROJECT REGION DOMAIN
find_project
planner plan "$WORK"
check_variables
apis
check_quotas
read -r -a parts <<<"${ONLY:-bundle database balancer watching}"
# What is not watched runs all the same.
((${#parts[@]} == 1)) || MAY_FAIL=watching
side_by_side "${parts[@]}"
step "done"
say "everything is as it should be"
