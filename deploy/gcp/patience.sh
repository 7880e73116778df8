# Which refusals are worth another try, for how long, and the reason for the wait. running.sh sources it.
# shellcheck shell=bash

CHANGED_MEANWHILE=9

# With QUIET, the caller reports the refusal.
#
# attempt COMMAND...: run it and print its output; run it again if the refusal is temporary. The output of a
# try counts only if the try succeeds. If a repeated change exists already, an earlier try made it and its
# answer was lost.
attempt() {
  local error out cause
  local -i status waited=0 limit pause=$RETRY_SECONDS
  error=$(mktemp "$WORK/error.XXXXXX")
  out=$(mktemp "$WORK/out.XXXXXX") # 0600, and gone at once: it may hold a secret
  while true; do
    status=0
    "$@" >"$out" 2>"$error" </dev/null || status=$?
    if ((status == 0)) || is_done "$error" "$@"; then
      cat "$out"
      rm -f "$out" "$error"
      return
    fi
    if [[ -n ${AGAIN_IF_CHANGED:-} ]] && was_changed "$error"; then
      rm -f "$out" "$error"
      return "$CHANGED_MEANWHILE"
    fi
    IFS=$'\t' read -r limit cause <<<"$(patience "$error" "$status")"
    ((waited < limit)) || break
    say "waiting for $cause ($((limit - waited)) s at most)" >&2
    sleep "$pause"
    waited+=$pause
    pause=$((pause * 2 < 40 ? pause * 2 : 40))
  done
  if [[ -n ${QUIET:-} ]]; then return 1; fi
  say "failed: $*" >&2
  sed "s/^/           /" "$error" >&2
  note_failure "${words:-$(command_of "$@")}: $(reason "$error")"
  rm -f "$out"
  return 1
}

# is_done ERROR-FILE COMMAND...: whether the thing to make exists, or the thing to remove is gone.
is_done() {
  local error=$1
  shift
  case " $* " in
    *" create "*) grep -qiE 'already[ _]?exists' "$error" ;;
    *" delete "*) grep -qiE 'not[ _]found' "$error" ;;
    *) return 1 ;;
  esac
}

# was_changed ERROR-FILE: whether a write was refused because it was not made from the newest state.
was_changed() { grep -qiE 'concurrent policy changes|etag|ABORTED' "$1"; }

# patience ERROR-FILE STATUS: for how many seconds to try again, a tab, and the reason for the wait; 0 for a
# permanent refusal.
patience() {
  local text
  text=$(<"$1")
  if (($2 == 2)); then text="unrecognized arguments"; fi
  case $text in
    *"unrecognized arguments"*) ;;
    *"Cannot find metric"*)
      printf '900\tMonitoring to know a metric that was just made: up to ten minutes'
      return
      ;;
    *"uota '"* | *"uota limit"* | *"too recently"* | *"matched no objects"* | *"failed to start"*) ;;
    *"ervice account"*"does not exist"*)
      printf '420\tIAM to know an account that was just made'
      return
      ;;
    *"has not been used in"* | *SERVICE_DISABLED* | *"it is disabled"*)
      if [[ -e $WORK/apis-just-on ]]; then printf '420\tan API that was just switched on' && return; fi
      ;;
    *@"$PROJECT".iam.gserviceaccount.com*)
      # One of our own accounts lacks a right: Google needs minutes until a new right works everywhere.
      if [[ -e $WORK/access-given ]]; then printf '420\tIAM to know a right that was just given' && return; fi
      ;;
    *"atabase"*"is not available in project"*)
      printf '420\tFirestore to free the name of the database that was just deleted: up to five minutes'
      return
      ;;
    *"atabase"*"does not exist"*)
      printf '420\tthe database to be made'
      return
      ;;
    *"not ready"*)
      printf '180\twhat was just made to be ready'
      return
      ;;
    # Compute Engine's messages for permanent refusals, which contain no code; and refusals by an organisation
    # or Cloud Billing.
    *"Invalid value for"* | *"Required '"*"' permission"* | *"onstraint constraints/"* | *"rganization "[Pp]olicy* | *"illing account"* | *"illing must be enabled"*) ;;
    *INVALID_ARGUMENT* | *PERMISSION_DENIED* | *UNAUTHENTICATED* | *NOT_FOUND* | *ALREADY_EXISTS* | *"HTTPError 40"[0-49]*) ;;
    *)
      printf '90\tGoogle to answer'
      return
      ;;
  esac
  printf '0\tnothing'
}

# reason ERROR-FILE: Google's message, in one line, and the remedy.
reason() {
  local text
  text=$(tr '\n' ' ' <"$1" | sed 's/^ERROR: ([^)]*) //;s/ *$//' | cut -c1-300)
  case $text in
    *"has not been used in"* | *SERVICE_DISABLED* | *"it is disabled"*) text="$text; this API is off: make deploy switches it on" ;;
    *PERMISSION_DENIED* | *"HTTPError 403"* | *" permission"*) text="$text; give whoever deploys the role of deploy/gcp/deployer.yaml" ;;
    *"uota"*) text="$text; ask for more on the console's quota page" ;;
    *"too recently"*) text="$text; Google frees the name after some days" ;;
  esac
  printf '%s' "$text"
}

# command_of COMMAND...: its words up to the first flag.
command_of() {
  local word found=
  for word in "$@"; do
    [[ $word != -* ]] || break
    found="$found $word"
  done
  printf '%s' "${found# }"
}
