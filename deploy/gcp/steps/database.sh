# Firestore: the database, what expires in it, and what is not indexed.
# shellcheck shell=bash

database() {
  step firestore
  observe_of firestore databases gcloud firestore databases list --format='value(name.basename())'
  if known "(default)" databases; then
    say "database: there"
    observe ttls gcloud firestore fields ttls list --database="(default)" --format='value(name)'
    observe indexes gcloud firestore indexes fields list --database="(default)" --format='value(name)'
  else
    change "database: making it in $REGION, protected from deletion" gcloud firestore databases create \
      --database="(default)" --location="$REGION" --type=firestore-native --delete-protection
    : >"$WORK/ttls"
    : >"$WORK/indexes"
  fi
  at_once 2 expire <"$WORK/expiring"
  at_once 2 leave_unindexed <"$WORK/never-searched"
}

expire() {
  if grep -q "/collectionGroups/$1/fields/expire_at$" "$WORK/ttls"; then
    say "$1: expires"
  else
    change "$1: is to expire" gcloud firestore fields ttls update expire_at --collection-group="$1" \
      --database="(default)" --enable-ttl --async --format=none
  fi
}

leave_unindexed() {
  if grep -q "/collectionGroups/$1/fields/$2$" "$WORK/indexes"; then
    say "$1.$2: not indexed"
  else
    change "$1.$2: is not to be indexed" gcloud firestore indexes fields update "$2" --collection-group="$1" \
      --database="(default)" --disable-indexes --async --format=none
  fi
}
