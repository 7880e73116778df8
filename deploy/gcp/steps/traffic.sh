# Which revision calls go to: forward after a smoke call, back with one command.
# shellcheck shell=bash

# traffic: every revision that is new answers a call of Cloud Tasks, which alone reaches workers and public functions alike; then
# those that wait take their calls, workers first. If one does not answer, none does.
traffic() {
  [[ -z $DRY_RUN ]] || return 0
  grep -qvE '^nothing' "$WORK/revisions" || return 0
  step traffic
  observe services.json gcloud run services list --region="$REGION" --format=json
  planner traffic "$WORK"
  : >"$WORK/waiting"
  local action service
  while IFS=$'\t' read -r action service _; do
    [[ $action == nothing ]] || awk -F '\t' -v name="$service" '$1 == name' "$WORK/traffic" >>"$WORK/waiting"
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

# smoke_queue: the queue of the smoke calls. Where somebody has deleted it, its name is blocked for days, so there is a second and a
# third one.
smoke_queue() {
  observe queues-found gcloud tasks queues list --location="$REGION" --format='value(name.basename())'
  local name
  for name in smoke smoke-2 smoke-3; do
    SMOKE_QUEUE=$name
    ! known "$name" queues-found || return 0
  done
  for name in smoke smoke-2 smoke-3; do
    SMOKE_QUEUE=$name
    if QUIET=yes change "$name: making the queue of the smoke calls" gcloud tasks queues create "$name" \
      --location="$REGION" --max-attempts=1 --format=none; then
      return
    fi
    say "$name: a queue of this name was deleted some days ago; trying another name"
  done
  fail "no queue for the smoke calls could be made"
}

smoke_call() {
  tag_candidate "$1" "$2"
  call_candidate "$1" "$2"
}

call_candidate() {
  local service=$1 newest=$2 path
  path=$(awk -F '\t' -v name="$service" '$2 == name { print $13 }' "$WORK/revisions")
  change "$service: calling $newest" gcloud tasks create-http-task --queue="$SMOKE_QUEUE" --location="$REGION" --method=post \
    --url="https://candidate---$service-$NUMBER.$REGION.run.app$path" --header=Content-Type:application/json \
    --body-content='{}' --oidc-service-account-email="tasks-caller@$PROJECT.iam.gserviceaccount.com" \
    --oidc-token-audience="https://$service-$NUMBER.$REGION.run.app" --format=none
}

# tag_candidate SERVICE REVISION: a revision that an earlier run left without calls may have lost its tag to a later one.
tag_candidate() {
  local action
  action=$(action_of "$1")
  [[ $action == promote ]] || return 0
  change "$1: naming $2 the candidate" gcloud run services update-traffic "$1" --region="$REGION" \
    --update-tags="candidate=$2" --format=none
}

# action_of SERVICE: what this run has done about it.
action_of() { awk -F '\t' -v name="$1" '$2 == name { print $1 }' "$WORK/revisions"; }

# await_answers: until the request log holds an answer of every revision that was called; each is in one of our own code.
await_answers() {
  local revisions filter
  local -i waited=0
  revisions=$(cut -f2 "$WORK/waiting" | sed 's/.*/"&"/' | paste -sd ' ' - | sed 's/ / OR /g')
  filter="log_id(\"run.googleapis.com/requests\") AND resource.labels.revision_name=($revisions)"
  while true; do
    observe answers gcloud logging read "$filter" --freshness=15m --limit=200 \
      --format='value(resource.labels.revision_name,httpRequest.status)'
    judge_answers
    [[ -s $WORK/unanswered ]] || return 0
    ((waited < 420)) || fail "not every new revision has answered; calls go where they went before"
    sleep "$RETRY_SECONDS"
    waited+=$RETRY_SECONDS
  done
}

# judge_answers: $WORK/unanswered lists those whose answer is still to come.
judge_answers() {
  local service newest status
  : >"$WORK/unanswered"
  while IFS=$'\t' read -r service newest _; do
    status=$(described answers "$newest")
    if [[ -z $status ]]; then
      echo "$service" >>"$WORK/unanswered"
    elif [[ $status == 403 && -e $WORK/access-given ]]; then
      # The right to call it was given a moment ago.
      echo "$service" >>"$WORK/unanswered"
      call_candidate "$service" "$newest"
    elif ((status >= 500 || status == 403)); then
      fail "$service: $newest answered $status; $(where_calls_go "$service")"
    fi
  done <"$WORK/waiting"
}

where_calls_go() {
  case $(action_of "$1") in
    create | mend) echo "it is the first one, so that calls go to it: mend it and run this again" ;;
    *) echo "calls go where they went before" ;;
  esac
}

promote() {
  local service=$1 newest=$2 serving=$3
  # The first one takes all calls already.
  [[ $(action_of "$service") == upgrade || $(action_of "$service") == promote ]] || return 0
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
