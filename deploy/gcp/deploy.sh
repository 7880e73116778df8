#!/usr/bin/env bash
# The whole bundle to Google Cloud, again and again safely:
#   PROJECT=... REGION=... DOMAIN=... deploy/gcp/deploy.sh
# DRY_RUN=1 says what would be done and changes nothing. ONLY="bundle" leaves out the others of: bundle database balancer
# watching; for an upgrade in a hurry. See deploy/README.md.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
: "${PROJECT:?is the id of the Google Cloud project}" "${REGION:?is the region, such as europe-west1}"
: "${DOMAIN:?is the host name that Omneo, Klaviyo and merchants will call}"
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
  schedules
  queues
}

find_project
planner plan "$WORK"
apis
read -r -a parts <<<"${ONLY:-bundle database balancer watching}"
side_by_side "${parts[@]}"

step "done"
observe_of compute addresses gcloud compute addresses list --global --format='value(name,address)'
say "set this DNS record: $DOMAIN. A $(described addresses extension)"
say "the certificate becomes active within an hour after that"
