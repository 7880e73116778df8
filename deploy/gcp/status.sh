#!/usr/bin/env bash
# The state of every resource, and those that cost money; changes nothing:
#   PROJECT=... REGION=... deploy/gcp/status.sh
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
# shellcheck source=deploy/gcp/steps/project.sh
. "$ROOT/deploy/gcp/steps/project.sh"

check_machine PROJECT REGION
find_project
step status
observe_of run services.json gcloud run services list --region="$REGION" --format=json
observe_of cloudtasks queues.json gcloud tasks queues list --location="$REGION" --format=json
observe_of monitoring alerts.json gcloud alpha monitoring policies list --format=json
observe_of certificatemanager certificates.json gcloud certificate-manager certificates list --location=global --format=json
observe_of compute backends.json gcloud compute backend-services list --global --format=json
observe_of firestore databases.json gcloud firestore databases list --format=json
planner overview "$WORK"
