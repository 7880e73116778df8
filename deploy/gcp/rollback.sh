#!/usr/bin/env bash
# Calls go back to the revisions that had them before the last upgrade:
#   PROJECT=... REGION=... [FUNCTION=targets] deploy/gcp/rollback.sh
# Public functions first: a worker may be newer than the function that queues its jobs, but not older. The next deploy
# goes forward again.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/gcp/running.sh
. "$ROOT/deploy/gcp/running.sh"
for part in project traffic; do
  # shellcheck source=/dev/null
  . "$ROOT/deploy/gcp/steps/$part.sh"
done

check_machine PROJECT REGION

step rollback
observe services.json gcloud run services list --region="$REGION" --format=json
planner traffic "$WORK"
[[ -s $WORK/traffic ]] || fail "nothing of the extension is in $REGION of $PROJECT"
planner workers "$WORK"
if [[ -n ${FUNCTION:-} ]]; then
  wanted=${FUNCTION//_/-}
  known "$wanted" traffic || fail "there is no function $FUNCTION here; there are: $(cut -f1 "$WORK/traffic" | paste -sd ' ' -)"
  awk -F '\t' -v name="$wanted" '$1 == name' "$WORK/traffic" >"$WORK/waiting"
else
  cp "$WORK/traffic" "$WORK/waiting"
fi
at_once 2 give_back < <(workers_first 0)
at_once 2 give_back < <(workers_first 1)
