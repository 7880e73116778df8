# Which revision calls go to: forward after a smoke call, back with one command.
# shellcheck shell=bash

# take_traffic: every revision that waits answers a call of Cloud Tasks, which alone reaches workers and public functions
# alike; then all take their calls, workers first. If one does not answer, none does.
take_traffic() {
  observe services.json gcloud run services list --region="$REGION" --format=json
  planner traffic "$WORK"
  : >"$WORK/waiting"
  local action service
  while IFS=$'\t' read -r action service _; do
    [[ $action == upgrade || $action == promote ]] && awk -F '\t' -v name="$service" '$1 == name' "$WORK/traffic" >>"$WORK/waiting"
  done <"$WORK/revisions"
  smoke_queue
  at_once 2 smoke_call <"$WORK/waiting"
  await_answers
  at_once 2 promote < <(workers_first 1)
  at_once 2 promote < <(workers_first 0)
}

# workers_first YES: of those that wait, the workers, or with 0 the others.
workers_first() {
  local service rest
  while IFS=$'\t' read -r service rest; do
    if known "$service" workers; then (($1 == 1)) || continue; else (($1 == 0)) || continue; fi
    printf '%s\t%s\n' "$service" "$rest"
  done <"$WORK/waiting"
}

smoke_queue() {
  observe queues-found gcloud tasks queues list --location="$REGION" --format='value(name.basename())'
  if ! known smoke queues-found; then
    change "smoke: making the queue of the smoke calls" gcloud tasks queues create smoke --location="$REGION" \
      --max-attempts=1 --format=none
  fi
}

smoke_call() {
  local service=$1 newest=$2 path
  path=$(awk -F '\t' -v name="$service" '$2 == name { print $13 }' "$WORK/revisions")
  tag_candidate "$service" "$newest"
  change "$service: calling $newest" gcloud tasks create-http-task --queue=smoke --location="$REGION" --method=post \
    --url="https://candidate---$service-$NUMBER.$REGION.run.app$path" --header=Content-Type:application/json \
    --body-content='{}' --oidc-service-account-email="tasks-caller@$PROJECT.iam.gserviceaccount.com" \
    --oidc-token-audience="https://$service-$NUMBER.$REGION.run.app" --format=none
}

# tag_candidate SERVICE REVISION: a revision that an earlier run left without calls may have lost its tag to a later one.
tag_candidate() {
  local action
  action=$(awk -F '\t' -v name="$1" '$2 == name { print $1 }' "$WORK/revisions")
  [[ $action == promote ]] || return 0
  change "$1: naming $2 the candidate" gcloud run services update-traffic "$1" --region="$REGION" \
    --update-tags="candidate=$2" --format=none
}

# await_answers: until the request log holds an answer of every revision that was called; each is in one of our own code.
await_answers() {
  local revisions filter
  local -i tries=${SMOKE_TRIES:-24}
  revisions=$(cut -f2 "$WORK/waiting" | sed 's/.*/"&"/' | paste -sd ' ' - | sed 's/ / OR /g')
  filter="log_id(\"run.googleapis.com/requests\") AND resource.labels.revision_name=($revisions)"
  while true; do
    observe answers gcloud logging read "$filter" --freshness=15m --limit=200 \
      --format='value(resource.labels.revision_name,httpRequest.status)'
    if all_answered; then return; fi
    ((tries-- > 0)) || fail "not every new revision has answered; calls go where they went before"
    sleep "$RETRY_SECONDS"
  done
}

all_answered() {
  local service newest status
  while IFS=$'\t' read -r service newest _; do
    status=$(described answers "$newest")
    [[ -n $status ]] || return 1
    if ((status >= 500 || status == 403)); then
      fail "$service: $newest answered $status; calls go where they went before"
    fi
  done <"$WORK/waiting"
}

promote() {
  local service=$1 newest=$2 serving=$3
  local -a tags=(--set-tags="candidate=$newest")
  [[ $serving == - || $serving == "$newest" ]] || tags=(--set-tags="candidate=$newest,previous=$serving")
  change "$service: calls go to $newest" gcloud run services update-traffic "$service" --region="$REGION" \
    --to-revisions="$newest=100" "${tags[@]}" --format=none
}

# give_back SERVICE NEWEST SERVING PREVIOUS: calls go to the revision that had them before.
give_back() {
  local service=$1 serving=$3 previous=$4
  if [[ $previous == - ]]; then
    say "$service: no revision before $serving is known"
  elif [[ $serving == "$previous" ]]; then
    say "$service: calls go to $previous already"
  else
    change "$service: calls go back to $previous" gcloud run services update-traffic "$service" --region="$REGION" \
      --to-revisions="$previous=100" --format=none
  fi
}
