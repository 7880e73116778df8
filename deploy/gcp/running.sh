# How the scripts run gcloud: what they read, what they change, what they say. Sourced, never run.
# shellcheck shell=bash

STEP=deploy
DRY_RUN=${DRY_RUN:-}
PYTHON=${PYTHON:-$ROOT/.venv/bin/python}
RETRY_SECONDS=${RETRY_SECONDS:-5}
export CLOUDSDK_CORE_PROJECT=${PROJECT:-} CLOUDSDK_CORE_DISABLE_PROMPTS=1

WORK=$(mktemp -d) # 0700: a new secret passes through it
trap 'rm -rf "$WORK"' EXIT

# step NAME: what the lines that follow belong to.
step() { STEP=$1; }

# say WORDS...: one line, begun with the step it belongs to.
say() { printf '%-10s %s\n' "$STEP" "$*"; }

fail() {
  say "$*" >&2
  exit 1
}

# planner ARGUMENTS...: the modules beside these scripts, which work out what is to be done.
planner() {
  (cd "$ROOT" && "$PYTHON" -m deploy.gcp --project="$PROJECT" --number="${NUMBER:-0}" --region="$REGION" \
    --domain="${DOMAIN:-}" "$@")
}

# observe FILE COMMAND...: put what a command that changes nothing prints into $WORK/FILE. What is not there is an empty file.
observe() {
  local file=$WORK/$1
  shift
  attempt "$@" >"$file"
}

# observe_of API FILE COMMAND...: the same, of a service that a new project may not have switched on; then there is nothing.
observe_of() {
  if grep -qx "$1.googleapis.com" "$WORK/apis-on"; then
    observe "${@:2}"
  else
    : >"$WORK/$2"
  fi
}

# change WORDS COMMAND...: say what is done and do it, or with DRY_RUN=1 only say it.
change() {
  local words=$1
  shift
  if [[ -n $DRY_RUN ]]; then
    say "would: $words"
    printf '%-10s   %s\n' "$STEP" "$*"
    return
  fi
  say "$words"
  attempt "$@" >/dev/null
}

# attempt COMMAND...: run it, again if it fails. What has just been made is not known everywhere at once: an account in IAM, a
# metric in Monitoring, a policy that two steps change.
attempt() {
  local error wait=$RETRY_SECONDS
  local -i left=${RETRIES:-3}
  error=$(mktemp "$WORK/error.XXXXXX")
  while ! "$@" 2>"$error"; do
    if ((left-- == 0)); then
      say "failed: $*" >&2
      sed "s/^/           /" "$error" >&2
      return 1
    fi
    sleep "$wait"
    wait=$((wait * 3 < 60 ? wait * 3 : 60))
  done
}

# known NAME FILE: whether the file has a line, or a line's first column, of this name.
known() { cut -f1 "$WORK/$2" | grep -qxF -- "$1"; }

# described FILE NAME: the second column of that line, by which an earlier run says what it made.
described() { awk -F '\t' -v name="$2" '$1 == name { print $2; exit }' "$WORK/$1"; }

# at_once COUNT FUNCTION < ROWS: call the function with the columns of each row, so many at a time; fail if any failed.
at_once() {
  local -i most=$1 failed=0
  local -a running=() columns
  local pid
  while IFS=$'\t' read -r -a columns; do
    "$2" "${columns[@]}" </dev/null &
    running+=($!)
    if ((${#running[@]} == most)); then
      wait "${running[0]}" || failed=1
      running=("${running[@]:1}")
    fi
  done
  for pid in ${running[@]+"${running[@]}"}; do
    wait "$pid" || failed=1
  done
  return "$failed"
}

# side_by_side FUNCTIONS...: steps that need nothing of one another.
side_by_side() {
  local step pid
  local -a running=()
  local -i failed=0
  for step in "$@"; do
    "$step" </dev/null &
    running+=($!)
  done
  for pid in "${running[@]}"; do
    wait "$pid" || failed=1
  done
  ((failed == 0)) || fail "not everything could be done; mend what is said above and run it again: what is done stays done"
}

# bind WHAT ACCESS-FILE POLICY-FILE COMMAND...: make an IAM policy say what it should; the command is given the new policy's file.
bind() {
  local what=$1 wanted=$WORK/$2 current=$WORK/$3
  shift 3
  local -i status=0
  planner access "$wanted" "$current" >"$current.new" || status=$?
  case $status in
    0) change "access to $what: brought up to date" "$@" "$current.new" ;;
    3) say "access to $what: as it should be" ;;
    *) return "$status" ;;
  esac
}
