# The project: that it is there, which APIs are on, and who may do what in it.
# shellcheck shell=bash

find_project() {
  step project
  observe number gcloud projects describe "$PROJECT" --format='value(projectNumber)'
  NUMBER=$(<"$WORK/number")
  [[ -n $NUMBER ]] || fail "there is no project $PROJECT, or you may not see it"
  observe apis-on gcloud services list --enabled --format='value(config.name)'
  say "$PROJECT ($NUMBER) in $REGION"
}

apis() {
  step apis
  local -a missing=()
  local api
  while read -r api; do
    known "$api" apis-on || missing+=("$api")
  done <"$WORK/apis"
  if ((${#missing[@]} == 0)); then
    say "all on"
    return
  fi
  change "switching on ${missing[*]%.googleapis.com}" gcloud services enable "${missing[@]}"
  [[ -n $DRY_RUN ]] || cp "$WORK/apis" "$WORK/apis-on"
}

accounts() {
  step accounts
  observe_of iam accounts-found gcloud iam service-accounts list --format='value(email)'
  at_once 2 account <"$WORK/accounts"
  observe policy-project gcloud projects get-iam-policy "$PROJECT" --format=json
  bind "the project" access-project.json policy-project \
    gcloud projects set-iam-policy "$PROJECT" --format=none
  local tasks
  tasks=$(awk -F '\t' '$1 == "tasks-caller" { print $2 }' "$WORK/accounts")
  if known "$tasks" accounts-found || [[ -z $DRY_RUN ]]; then
    observe policy-tasks gcloud iam service-accounts get-iam-policy "$tasks" --format=json
  else
    : >"$WORK/policy-tasks"
  fi
  bind "the account $tasks" access-tasks.json policy-tasks \
    gcloud iam service-accounts set-iam-policy "$tasks" --format=none
}

account() {
  local name=$1 email=$2 what=$3
  if known "$email" accounts-found; then
    say "$name: there"
  else
    change "$name: making it ($what)" gcloud iam service-accounts create "$name" --display-name="$what"
  fi
}
