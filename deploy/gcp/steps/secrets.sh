# Secret Manager: one secret for each variable that functions.yaml calls one. Functions name a version, so that a new version is a
# new revision and can be rolled back.
# shellcheck shell=bash

secrets() {
  step secrets
  observe_of secretmanager secrets-found gcloud secrets list --format='value(name.basename())'
  at_once 2 secret <"$WORK/secrets"
}

secret() {
  local name=$1 variable=$2
  if known "$name" secrets-found; then
    say "$name: there"
    renew "$name" "$variable"
  else
    first_value "$variable" >"$WORK/value-$name"
    [[ -s $WORK/value-$name || -n $DRY_RUN ]] || fail "$variable is not set: put its value into the environment, this once"
    change "$name: making it" gcloud secrets create "$name" --replication-policy=automatic --data-file="$WORK/value-$name"
    rm -f "$WORK/value-$name"
    if [[ -n $DRY_RUN ]]; then
      echo 1 >"$WORK/version-$name"
      : >"$WORK/policy-$name"
      bind "$name" "access-secret-$name.json" "policy-$name" gcloud secrets set-iam-policy "$name" --format=none
      return
    fi
  fi
  observe "version-$name" gcloud secrets versions list "$name" --filter=state:ENABLED --sort-by=~createTime \
    --limit=1 --format='value(name.basename())'
  observe "policy-$name" gcloud secrets get-iam-policy "$name" --format=json
  bind "$name" "access-secret-$name.json" "policy-$name" gcloud secrets set-iam-policy "$name" --format=none
}

# first_value VARIABLE: what the environment gives; a key for encryption is made if it gives none.
first_value() {
  if [[ -n ${!1:-} ]]; then
    printf '%s' "${!1}"
  elif [[ $1 == ENCRYPTION_KEYS ]]; then
    (cd "$ROOT" && "$PYTHON" -m deploy.tenants new-key) | tr -d '\n'
  fi
}

# renew NAME VARIABLE: add a version if the environment gives another value than the newest has.
renew() {
  [[ -n ${!2:-} ]] || return 0
  local value
  value=$(attempt gcloud secrets versions access latest --secret="$1")
  if [[ $value == "${!2}" ]]; then
    say "$1: the environment gives the same value"
    return
  fi
  [[ $2 != ENCRYPTION_KEYS ]] || share_a_key "$value" "${!2}" || fail \
    "ENCRYPTION_KEYS in the environment holds none of the keys in use: what is stored could not be read. Is it another environment's?"
  printf '%s' "${!2}" >"$WORK/value-$1"
  change "$1: adding the value that the environment gives" gcloud secrets versions add "$1" --data-file="$WORK/value-$1"
  rm -f "$WORK/value-$1"
}

# share_a_key KEYS OTHER-KEYS: whether an id:key pair stands in both comma-separated lists.
share_a_key() {
  local pair
  while read -r pair; do
    [[ -n $pair && ",${2// /}," == *",$pair,"* ]] && return 0
  done < <(tr -d ' ' <<<"$1" | tr ',' '\n')
  return 1
}
