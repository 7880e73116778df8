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
    change "$name: making it" gcloud secrets create "$name" --replication-policy=automatic --labels="made_by=$MADE_BY"
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
    [[ -n $DRY_RUN ]] || agree_on_first "$name"
  fi
  bind "$name" "access-secret-$name.json" "policy-$name" gcloud secrets get-iam-policy "$name" --format=json -- \
    gcloud secrets set-iam-policy "$name" --format=none
}

newest_version() {
  observe "version-$1" gcloud secrets versions list "$1" --filter=state:ENABLED --sort-by=~createTime --limit=1 \
    --format='value(name.basename())'
}

# add_version NAME WORDS: the content of $WORK/value-NAME becomes the newest version.
add_version() {
  change "$1: adding $2" gcloud secrets versions add "$1" --data-file="$WORK/value-$1"
  rm -f "$WORK/value-$1"
  newest_version "$1"
}

# agree_on_first NAME: if two first runs have each added a value, both use the older one. With two encryption keys, the
# functions of one run could not read the data that the functions of the other encrypt.
agree_on_first() {
  observe "versions-$1" gcloud secrets versions list "$1" --filter=state:ENABLED --sort-by=createTime --format='value(name.basename())'
  sed -n 1p "$WORK/versions-$1" >"$WORK/version-$1"
  local extra
  while read -r extra; do
    change "$1: another run has given it a first value too; the older one holds" gcloud secrets versions destroy "$extra" --secret="$1"
  done < <(sed 1d "$WORK/versions-$1")
}

# first_value VARIABLE: the value in the environment; without one, a new key for encryption.
first_value() {
  if [[ -n ${!1:-} ]]; then
    given "$1"
  elif [[ $1 == ENCRYPTION_KEYS ]]; then
    (cd "$ROOT" && "$PYTHON" -m deploy.tenants new-key) | tr -d '\n'
  fi
}

# given VARIABLE: the value in the environment, without the line breaks at its end that a file or a CI may add. The
# functions read it without them too.
given() { printf '%s' "$(printf '%s' "${!1}" | tr -d '\r')"; }

# renew NAME VARIABLE: add a version if the environment gives another value than the newest has.
renew() {
  [[ -n ${!2:-} ]] || return 0
  local value wanted
  value=$(attempt gcloud secrets versions access latest --secret="$1")
  wanted=$(given "$2")
  if [[ $value == "$wanted" ]]; then
    say "$1: the environment gives the same value"
    return
  fi
  [[ $2 != ENCRYPTION_KEYS ]] || share_a_key "$value" "$wanted" || fail \
    "ENCRYPTION_KEYS in the environment holds none of the keys in use: what is stored could not be read. Is it another environment's?"
  printf '%s' "$wanted" >"$WORK/value-$1"
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
