# The project: what must be true before anything is made, which APIs are on, and who may do what in it.
# shellcheck shell=bash

# check_machine VARIABLES...: everything that this machine lacks, at once.
check_machine() {
  step check
  local name missing=
  local -a problems=()
  for name in "$@"; do [[ -n ${!name:-} ]] || missing="$missing $name=..."; done
  [[ -z $missing ]] || problems+=("give$missing")
  [[ -x $PYTHON ]] || problems+=("$PYTHON is not there: run make setup, or name a Python in PYTHON")
  if ! command -v gcloud >/dev/null; then
    problems+=("gcloud is not installed, or not on the PATH")
  elif ! gcloud version --format=json >"$WORK/gcloud-version" 2>/dev/null </dev/null; then
    problems+=("gcloud does not run; try: gcloud version")
  elif [[ -x $PYTHON ]]; then
    while read -r name; do problems+=("$name"); done < <(cd "$ROOT" && "$PYTHON" -m deploy.gcp.preflight "$WORK/gcloud-version" "$@")
  fi
  ((${#problems[@]} == 0)) || refuse_to_begin "${problems[@]}"
}

# refuse_to_begin PROBLEMS...: all of them; nothing has been made.
refuse_to_begin() {
  local problem
  for problem in "$@"; do
    say "$problem" >&2
    note_failure "$problem"
  done
  exit 1
}

find_project() {
  step project
  observe project gcloud projects describe "$PROJECT" --format='value(projectNumber,lifecycleState)'
  read -r NUMBER state <"$WORK/project" || true
  [[ -n ${NUMBER:-} && ${state:-} == ACTIVE ]] || fail "there is no active project $PROJECT, or you may not see it: gcloud auth login"
  observe apis-on gcloud services list --enabled --format='value(config.name)'
  say "$PROJECT ($NUMBER) in $REGION"
}

# check_variables: everything that is wrong with them, before anything is made; our own Settings read them.
check_variables() {
  step check
  local line
  local -a problems=()
  observe_of run services.json gcloud run services list --region="$REGION" --format=json
  observe_of secretmanager secrets-found gcloud secrets list --format='value(name.basename())'
  planner check "$WORK" >"$WORK/problems"
  while read -r line; do problems+=("$line"); done <"$WORK/problems"
  ((${#problems[@]} == 0)) || refuse_to_begin "${problems[@]}"
  say "variables: as the functions need them"
}

# check_quotas: what the load balancer needs and a new project may lack.
check_quotas() {
  step check
  local kind words
  local -a problems=()
  observe_of compute quotas.json gcloud compute project-info describe --format='json(quotas)'
  observe_of compute backends-found gcloud compute backend-services list --global --format='value(name)'
  observe_of compute policies-found gcloud compute security-policies list --format='value(name)'
  planner quotas "$WORK" >"$WORK/quota-problems"
  while IFS=$'\t' read -r kind words; do
    if [[ $kind == warning ]]; then warn "$words"; else problems+=("$words"); fi
  done <"$WORK/quota-problems"
  ((${#problems[@]} == 0)) || refuse_to_begin "${problems[@]}"
  say "quotas: enough"
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
  [[ -z $DRY_RUN ]] || return 0
  cp "$WORK/apis" "$WORK/apis-on"
  : >"$WORK/apis-just-on"
}

accounts() {
  step accounts
  observe_of iam accounts-found gcloud iam service-accounts list --format='value(email)'
  at_once 2 account <"$WORK/accounts"
  bind "the project" access-project.json policy-project gcloud projects get-iam-policy "$PROJECT" --format=json -- \
    gcloud projects set-iam-policy "$PROJECT" --format=none
  local tasks
  tasks=$(awk -F '\t' '$1 == "tasks-caller" { print $2 }' "$WORK/accounts")
  if [[ -n $DRY_RUN ]] && ! known "$tasks" accounts-found; then
    bind_later "the account $tasks"
  else
    bind "the account $tasks" access-tasks.json policy-tasks \
      gcloud iam service-accounts get-iam-policy "$tasks" --format=json -- \
      gcloud iam service-accounts set-iam-policy "$tasks" --format=none
  fi
}

account() {
  local name=$1 email=$2 what=$3
  if known "$email" accounts-found; then
    say "$name: there"
  else
    change "$name: making it ($what)" gcloud iam service-accounts create "$name" --display-name="$what"
  fi
}
