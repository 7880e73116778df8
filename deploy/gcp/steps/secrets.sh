# Secret Manager: one secret for each variable that functions.yaml calls one. Functions name a version, so that a new version is a
# new revision and can be rolled back.
# shellcheck shell=bash

secrets() {
  step secrets
  at_once 2 secret <"$WORK/secrets"
}

secret() {
  local name=$1 variable=$2
  if known "$name" secrets-found; then say "$name: there"; else
    change "$name: making it" gcloud secrets create "$name" --replication-policy=automatic
    if [[ -n $DRY_RUN ]]; then
      echo 1 >"$WORK/version-$name"
      bind_later "$name"
      return
    fi
  fi
  newest_version "$name"
  # Also where an earlier run ended between the two.
  if [[ -s $WORK/version-$name ]]; then renew "$name" "$variable"; else
    first_value "$variable" >"$WORK/value-$name"
    [[ -s $WORK/value-$name ]] || fail "$variable is not set: put its value into the environment, this once"
    add_version "$name" "its first value"
  fi
  bind "$name" "access-secret-$name.json" "policy-$name" gcloud secrets get-iam-policy "$name" --format=json -- \
    gcloud secrets set-iam-policy "$name" --format=none
}

newest_version() {
  observe "version-$1" gcloud secrets versions list "$1" --filter=state:ENABLED --sort-by=~createTime --limit=1 \
    --format='value(name.basename())'
}

# add_version NAME WORDS: what stands in $WORK/value-NAME becomes the newest version.
add_version() {
  change "$1: adding $2" gcloud secrets versions add "$1" --data-file="$WORK/value-$1"
  rm -f "$WORK/value-$1"
  newest_version "$1"
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
  add_version "$1" "the value that the environment gives"
}

# share_a_key KEYS OTHER-KEYS: whether an id:key pair stands in both comma-separated lists.
share_a_key() {
  local pair
  while read -r pair; do
    [[ -n $pair && ",${2// /}," == *",$pair,"* ]] && return 0
  done < <(tr -d ' ' <<<"$1" | tr ',' '\n')
  return 1
}
