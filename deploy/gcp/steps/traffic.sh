# Which revision calls go to: forward after a smoke call, back with one command.
# shellcheck shell=bash

# traffic: every revision that is new answers a call of Cloud Tasks, which alone reaches workers and public functions alike. If one
# does not answer, none takes calls. Then each takes some of the calls, is watched, and takes all of them; workers first.
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
  roll_out 1
  roll_out 0
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
  path=$(awk -F '\t' -v name="$service" '$2 == name { print $14 }' "$WORK/revisions")
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

# action_of SERVICE: the step that this run has made for it.
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

# judge_answers: $WORK/unanswered lists the services that have not answered yet.
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

# roll_out YES: of those that wait, the workers, or with 0 the others. A run that ends in between leaves the calls shared: the next one
# begins with that share again, and a rollback gives them back.
roll_out() {
  local since service newest serving before previous share minutes
  local -i waited=0
  since=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  : >"$WORK/rolling"
  while IFS=$'\t' read -r service newest serving before previous share minutes; do
    case $(action_of "$service") in create | mend) continue ;; esac # the first one takes all calls already
    [[ $before != - ]] || minutes=0                                 # there is nothing to go back to
    printf '%s\t%s\t%s\t%s\t%s\n' "$service" "$newest" "$before" "$share" "$minutes" >>"$WORK/rolling"
  done < <(workers_first "$1")
  at_once 2 give_share < <(awk -F '\t' '$5 > 0' "$WORK/rolling") || all_back "not every new revision could be given its share"
  while true; do
    ((waited == 0)) || judge_calls "$since"
    at_once 2 promote < <(awk -F '\t' -v waited="$waited" '$5 * 60 <= waited' "$WORK/rolling")
    awk -F '\t' -v waited="$waited" '$5 * 60 > waited' "$WORK/rolling" >"$WORK/rolling-on"
    mv "$WORK/rolling-on" "$WORK/rolling"
    [[ -s $WORK/rolling ]] || return 0
    sleep 60
    waited+=60
  done
}

# give_share SERVICE NEWEST BEFORE SHARE MINUTES
give_share() {
  local service=$1 newest=$2 before=$3 share=$4 minutes=$5 rest
  rest=$((100 - share))
  change "$service: $share % of its calls go to $newest, watched for $minutes minutes" gcloud run services update-traffic "$service" \
    --region="$REGION" --to-revisions="$newest=$share,$before=$rest" --format=none
}

# judge_calls SINCE: read the answers of the new revisions since then; if one of them fails the comparison, all of them
# go back.
judge_calls() {
  local service why
  observe verdicts ask_google verdicts "$WORK" "$1" || all_back "what the new revisions answer cannot be seen"
  [[ -s $WORK/verdicts ]] || return 0
  while IFS=$'\t' read -r service why; do
    note_failure "$service: $why"
    say "$service: $why" >&2
  done <"$WORK/verdicts"
  all_back "$(cut -f1 "$WORK/verdicts" | paste -sd ' ' -) answers worse than before"
}

# all_back WORDS: each revision that still has a share of the calls gives it back, and the run ends.
all_back() {
  at_once 2 take_back < <(awk -F '\t' '$5 > 0' "$WORK/rolling") || fail "$1, and not all calls could be given back: make rollback"
  fail "$1; calls go where they went before"
}

# take_back SERVICE NEWEST BEFORE
take_back() {
  change "$1: calls go back to $3" gcloud run services update-traffic "$1" --region="$REGION" --to-revisions="$3=100" --format=none
}

# promote SERVICE NEWEST BEFORE
promote() {
  local service=$1 newest=$2 before=$3
  local -a tags=(--set-tags="candidate=$newest")
  [[ $before == - ]] || tags=(--set-tags="candidate=$newest,previous=$before")
  change "$service: calls go to $newest" gcloud run services update-traffic "$service" --region="$REGION" \
    --to-revisions="$newest=100" "${tags[@]}" --format=none
}

# give_back SERVICE NEWEST SERVING BEFORE PREVIOUS: calls go to the revision that had them before. If calls are shared,
# they go to the one with the largest share beside the newest.
give_back() {
  local service=$1 serving=$3 before=$4 previous=$5
  [[ $serving != - ]] || previous=$before
  if [[ $previous == - ]]; then
    say "$service: no revision before $serving is known"
  elif [[ $serving == "$previous" ]]; then
    say "$service: calls go to $previous already"
  else
    change "$service: calls go back to $previous" gcloud run services update-traffic "$service" --region="$REGION" \
      --to-revisions="$previous=100" --format=none
  fi
}
