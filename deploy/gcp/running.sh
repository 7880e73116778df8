# How the scripts run gcloud: their reads, their changes, their messages, and their end. Sourced first, never run.
# shellcheck shell=bash

# say WORDS...: one line, begun with the step it belongs to.
say() { printf '%-10s %s\n' "$STEP" "$*"; }

# step NAME: the heading of the lines that follow.
step() { STEP=$1; }

# fail WORDS...: print the fault, and end this part of the run.
fail() {
  note_failure "$*"
  say "$*" >&2
  exit 1
}

# note_failure WORDS...: keep a fault, wherever it happened, for the last lines of the run.
note_failure() { printf '%-10s %s\n' "$STEP" "$*" >>"$WORK/failed"; }

# warn WORDS...: a fault that does not stop the run, but must not be overlooked; the last lines repeat it too.
warn() {
  say "warning: $*"
  printf '%s\n' "$*" >>"$WORK/warnings"
}

# conclude STATUS: the last lines of every run.
conclude() {
  STEP=warning
  [[ ! -s $WORK/warnings ]] || while read -r line; do say "$line"; done <"$WORK/warnings"
  STEP=failed
  if [[ -s $WORK/failed ]]; then
    while read -r line; do say "in $line"; done <"$WORK/failed" >&2
    if [[ -e $WORK/not-begun ]]; then say "nothing was made: mend this and run the same command again" >&2; else
      say "what is done stays done: mend this and run the same command again" >&2
    fi
  elif (($1 != 0)); then
    say "the run ended with status $1; the lines above say at which step" >&2
  fi
  [[ ! -s $WORK/dns ]] || cat "$WORK/dns"
}

# end_tree PROCESS: it and all below it. Each is stopped before those below it are listed, so that it cannot start more.
end_tree() {
  local below
  kill -STOP "$1" 2>/dev/null || return 0
  for below in $(ps -A -o pid= -o ppid= | awk -v above="$1" '$2 == above { print $1 }'); do end_tree "$below"; done
  kill -TERM "$1" 2>/dev/null || true
  kill -CONT "$1" 2>/dev/null || true
}

# A script runs once more as a child of itself. This shell owns the working folder, in which new secrets may lie. It
# removes the folder, repeats the failures, and ends with the status of the child. A trap on EXIT would decide that
# status in bash 3.2, which macOS has. A signal may reach this shell alone, and background processes do not get Ctrl-C:
# this shell ends all of them. The reader of the output may go away (`make deploy | head`): each part then ends at its
# next output, and nothing is left.
if [[ -z ${DEPLOY_FOLDER:-} ]]; then
  DEPLOY_FOLDER=$(mktemp -d) # 0700
  export DEPLOY_FOLDER
  WORK=$DEPLOY_FOLDER
  signal=
  trap 'signal=130' INT
  trap 'signal=143' TERM
  trap 'signal=129' HUP
  trap '' PIPE
  "$BASH" "$0" "$@" <&0 &
  child=$!
  ended=0
  wait "$child" || ended=$?
  if [[ -n $signal ]]; then
    end_tree "$child"
    wait "$child" 2>/dev/null || true
    ended=$signal
  fi
  if [[ ${FORMAT:-} == json ]]; then conclude "$ended" >&2; else conclude "$ended"; fi || true
  rm -rf "$DEPLOY_FOLDER"
  exit "$ended"
fi

WORK=$DEPLOY_FOLDER
STEP=deploy
# shellcheck disable=SC2034 # the steps use it in the names of resources
MADE_BY=omneo-klaviyo-extension
DRY_RUN=${DRY_RUN:-}
PYTHON=${PYTHON:-$ROOT/.venv/bin/python}
RETRY_SECONDS=${RETRY_SECONDS:-5}
export CLOUDSDK_CORE_PROJECT=${PROJECT:-} CLOUDSDK_CORE_DISABLE_PROMPTS=1
# Otherwise gcloud keeps its output in files of its own, with policies and names in them.
export CLOUDSDK_CORE_DISABLE_FILE_LOGGING=1
# shellcheck source=deploy/gcp/patience.sh
. "$ROOT/deploy/gcp/patience.sh"

# planner ARGUMENTS...: the modules beside these scripts, which plan the steps.
planner() {
  (cd "$ROOT" && "$PYTHON" -m deploy.gcp --project="$PROJECT" --number="${NUMBER:-0}" --region="$REGION" \
    --domain="${DOMAIN:-}" "$@")
}

# ask_google ARGUMENTS...: the planner, for questions for which gcloud has no command. It uses gcloud's account, whose
# token stays off the command line.
ask_google() {
  local GOOGLE_TOKEN
  GOOGLE_TOKEN=$(gcloud auth print-access-token)
  [[ -n $GOOGLE_TOKEN ]] || return 1
  export GOOGLE_TOKEN
  planner "$@"
}

# observe FILE COMMAND...: put the output of a command that changes nothing into $WORK/FILE. The file is empty if the
# resource does not exist.
observe() {
  local file=$WORK/$1
  shift
  attempt "$@" >"$file"
}

# observe_of API FILE COMMAND...: the same for an API that may be off in a new project; then the file is empty.
observe_of() {
  if grep -qx "$1.googleapis.com" "$WORK/apis-on"; then
    observe "${@:2}"
  else
    : >"$WORK/$2"
  fi
}

# change WORDS COMMAND...: announce a change and make it; with DRY_RUN=1 only announce it.
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

# known NAME FILE: whether the file has a line, or a line's first column, of this name.
known() { awk -F '\t' -v name="$1" '$1 == name { found = 1; exit } END { exit !found }' "$WORK/$2"; }

# described FILE NAME: the second column of that line, by which an earlier run says what it made.
described() { awk -F '\t' -v name="$2" '$1 == name { print $2; exit }' "$WORK/$1"; }

# marked FILE: the resources that carry a fingerprint, alone or in brackets at the end of the description: ours, of any
# version.
marked() { grep -E $'^[^\t]*\t([^\t]*\\()?[0-9a-f]{20}\\)?(\t|$)' "$WORK/$1" | cut -f1 || true; }

# only PATTERN < NAMES: those of which the whole is of the pattern.
only() { grep -xE -- "$1" || true; }

# beyond FILE COLUMN < NAMES: the names that are not in the column of our own files: an earlier version made them.
beyond() { grep -vxF -f <(cut -f"${2:-1}" "$WORK/$1") || true; }

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

# side_by_side FUNCTIONS...: steps that need nothing of one another. One that is named in MAY_FAIL does not decide how the rest ends.
side_by_side() {
  local -a running=()
  local -i failed=0 number=0
  local part
  for part in "$@"; do
    "$part" </dev/null &
    running+=($!)
  done
  for part in "$@"; do
    if ! wait "${running[number]}"; then
      if [[ $part == "${MAY_FAIL:-}" ]]; then
        warn "$part is not complete; once it is mended: make deploy ... ONLY=$part"
      else
        failed=1
        [[ -s $WORK/failed ]] || note_failure "$part: the lines above say why"
      fi
    fi
    number+=1
  done
  return "$failed"
}

# bind WHAT ACCESS-FILE POLICY-FILE READ... -- WRITE...: bring an IAM policy to the wanted state; the write gets the new
# policy's file. If somebody changes the policy between the read and the write, Google refuses the write. Then both run
# again, together.
bind() {
  local what=$1 wanted=$WORK/$2 policy=$3
  local -a reading=()
  local -i status left=10
  shift 3
  while [[ $1 != -- ]]; do
    reading+=("$1")
    shift
  done
  shift
  while true; do
    observe "$policy" "${reading[@]}"
    status=0
    planner access "$wanted" "$WORK/$policy" >"$WORK/$policy.new" || status=$?
    if ((status == 3)); then
      say "access to $what: as it should be"
      return
    fi
    ((status == 0)) || return "$status"
    : >"$WORK/access-given"
    AGAIN_IF_CHANGED=yes change "access to $what: brought up to date" "$@" "$WORK/$policy.new" || status=$?
    ((status == CHANGED_MEANWHILE)) || break
    ((left-- > 0)) || fail "access to $what: somebody else changes it again and again"
    say "access to $what: somebody has changed it meanwhile; reading it again"
    sleep 1
  done
  return "$status"
}

# bind_later WHAT: with DRY_RUN=1, access to a resource that does not exist yet.
bind_later() { say "would: access to $1: brought up to date"; }
