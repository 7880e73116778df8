# Cloud Scheduler, from schedules.yaml; and the settings of the tenants' queues, from queues.toml.
# shellcheck shell=bash

schedules() {
  step schedules
  find_jobs
  at_once 2 schedule <"$WORK/schedules"
  at_once 1 drop_schedule < <(own_jobs | beyond schedules)
}

find_jobs() {
  observe_of cloudscheduler jobs gcloud scheduler jobs list --location="$REGION" \
    --format='value(name.basename(),description,httpTarget.oidcToken.serviceAccountEmail)'
}

# own_jobs: those that carry a fingerprint and call as our account, also of an earlier version.
own_jobs() {
  awk -F '\t' -v caller="schedule-caller@$PROJECT.iam.gserviceaccount.com" 'length($2) == 20 && $3 == caller { print $1 }' "$WORK/jobs"
}

drop_schedule() { change "schedule $1 goes" gcloud scheduler jobs delete "$1" --location="$REGION"; }

schedule() {
  local name=$1 cron=$2 uri=$3 audience=$4 body=$5 wanted=$6 retries=$7
  if ! known "$name" jobs; then
    change "$name: making it, $cron" gcloud scheduler jobs create http "$name" --location="$REGION" --schedule="$cron" \
      --uri="$uri" --http-method=post --headers=Content-Type=application/json --message-body="$body" \
      --oidc-service-account-email="schedule-caller@$PROJECT.iam.gserviceaccount.com" \
      --oidc-token-audience="$audience" --attempt-deadline=280s --max-retry-attempts="$retries" \
      --min-backoff=10s --max-backoff=60s --time-zone=Etc/UTC --description="$wanted" --format=none
  elif [[ $(described jobs "$name") == "$wanted" ]]; then
    say "$name: as it should be"
  else
    change "$name: changing it, $cron" gcloud scheduler jobs update http "$name" --location="$REGION" \
      --schedule="$cron" --uri="$uri" --http-method=post --update-headers=Content-Type=application/json \
      --message-body="$body" --oidc-service-account-email="schedule-caller@$PROJECT.iam.gserviceaccount.com" \
      --oidc-token-audience="$audience" --attempt-deadline=280s --max-retry-attempts="$retries" \
      --min-backoff=10s --max-backoff=60s --time-zone=Etc/UTC --description="$wanted" --format=none
  fi
}

queues() {
  step queues
  observe_of cloudtasks queues.json gcloud tasks queues list --location="$REGION" --format=json
  planner queues "$WORK/queues.json" >"$WORK/queues"
  say "$(wc -l <"$WORK/queues" | tr -d ' ') queues of tenants differ from queues.toml"
  at_once 4 set_queue <"$WORK/queues"
}

set_queue() {
  change "$1: setting it" gcloud tasks queues update "$1" --location="$REGION" --max-dispatches-per-second="$2" \
    --max-concurrent-dispatches="$3" --max-attempts="$4" --min-backoff="$5" --max-backoff="$6" --max-doublings="$7" \
    --format=none
}
