# The project: the checks before the first change, the APIs that are on, and the rights of each account.
# shellcheck shell=bash

# check_machine VARIABLES...: everything that this machine lacks, at once.
check_machine() {
  step check
  local name missing=
  local -a problems=()
  for name in "$@"; do [[ -n ${!name:-} ]] || missing="$missing $name=..."; done
  [[ -z $missing ]] || problems+=("give$missing")
  ((BASH_VERSINFO[0] * 100 + BASH_VERSINFO[1] >= 302)) || problems+=("bash $BASH_VERSION is too old: 3.2 or newer is needed")
  [[ -x $PYTHON ]] || problems+=("$PYTHON is not there: run make setup, or name a Python in PYTHON")
  if ! command -v gcloud >/dev/null; then
    problems+=("gcloud is not installed, or not on the PATH")
  elif ! gcloud version --format=json >"$WORK/gcloud-version" 2>/dev/null </dev/null; then
    problems+=("gcloud does not run; try: gcloud version")
  else
    gcloud auth print-access-token >/dev/null 2>&1 </dev/null || problems+=("gcloud has no account that works: gcloud auth login")
    [[ ! -x $PYTHON ]] || while read -r name; do problems+=("$name"); done < <(check_words "$@")
  fi
  ((${#problems[@]} == 0)) || refuse_to_begin "${problems[@]}"
}

# check_words VARIABLES...: check the versions and the given words, before the first call.
check_words() {
  cd "$ROOT" && "$PYTHON" -m deploy.gcp.preflight "$WORK/gcloud-version" "$@" WATCH_MINUTES COST_CEILING ALERT_EMAIL ONLY FORMAT
}

# refuse_to_begin PROBLEMS...: all of them; nothing has been made.
refuse_to_begin() {
  local problem
  for problem in "$@"; do
    say "$problem" >&2
    note_failure "$problem"
  done
  [[ -e $WORK/apis-just-on ]] || : >"$WORK/not-begun"
  exit 1
}

find_project() {
  step project
  observe project gcloud projects describe "$PROJECT" --format='value(projectNumber,lifecycleState)'
  read -r NUMBER state <"$WORK/project" || true
  [[ -n ${NUMBER:-} && ${state:-} == ACTIVE ]] || fail "there is no active project $PROJECT, or you may not see it: gcloud auth login"
  observe apis-on gcloud services list --enabled --format='value(config.name)'
  check_region
  say "$PROJECT ($NUMBER) in $REGION"
}

# check_region: the deployed functions show the region. In another region this run would make everything a second time,
# or remove only half of it.
check_region() {
  local elsewhere
  observe_of run places gcloud run services list \
    --format='value(metadata.labels.fingerprint,metadata.labels."cloud.googleapis.com/location")'
  elsewhere=$(awk -F '\t' -v region="$REGION" 'length($1) == 20 && $2 != "" && $2 != region { print $2; exit }' "$WORK/places")
  [[ -z $elsewhere || -n ${ANYWAY:-} ]] || refuse_to_begin "the functions are in $elsewhere: give REGION=$elsewhere"
}

# check_project: billing, rights, variables and the ceiling of the costs, all at once, before anything is made; our own Settings read the variables.
check_project() {
  step check
  local words
  observe findings ask_google project
  # If the account may not even list them, the findings say so, beside everything else.
  QUIET=$(grep -m 1 '^problem' "$WORK/findings" || true)
  list_services || [[ -n $QUIET ]]
  list_secrets || [[ -n $QUIET ]]
  QUIET=
  while read -r words; do printf 'problem\t%s\n' "$words"; done < <(planner check "$WORK") >"$WORK/variable-findings"
  planner costs "$WORK" >"$WORK/cost-findings"
  while read -r words; do say "$words"; done <"$WORK/costs"
  judge findings variable-findings cost-findings
  say "billing, permissions and variables: as they should be"
}

list_services() {
  observe_of run services.json gcloud run services list --region="$REGION" --format=json
}

list_secrets() {
  observe_of secretmanager secrets-found gcloud secrets list --format='value(name.basename())'
}

# judge FILES...: the findings in them; one that is a problem ends the run. With ANYWAY=1 it is a warning, for an
# operator who knows better than the check.
judge() {
  local kind words
  local -a problems=()
  while IFS=$'\t' read -r kind words; do
    if [[ $kind == problem && -z ${ANYWAY:-} ]]; then problems+=("$words"); else warn "$words"; fi
  done < <(cd "$WORK" && cat "$@")
  ((${#problems[@]} == 0)) || refuse_to_begin "${problems[@]}"
}

# check_place: the region, and the quotas that the load balancer needs and a new project may lack. They can be asked once the APIs are on.
check_place() {
  step check
  observe region-findings ask_google region "$WORK"
  observe_of compute quotas.json gcloud compute project-info describe --format='json(quotas)'
  observe_of compute backends-found gcloud compute backend-services list --global --format='value(name)'
  observe_of compute policies-found gcloud compute security-policies list --format='value(name)'
  planner quotas "$WORK" >"$WORK/quota-findings"
  judge region-findings quota-findings
  say "region and quotas: enough"
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
  cat "$WORK/apis" >>"$WORK/apis-on"
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
