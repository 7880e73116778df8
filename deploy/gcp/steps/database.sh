# Firestore: the database, the documents that expire, and the fields without an index.
# shellcheck shell=bash

database() {
  step firestore
  observe_of firestore databases gcloud firestore databases list \
    --format='value(name.basename(),pointInTimeRecoveryEnablement)'
  if known "(default)" databases; then
    say "database: there"
    keep_history
    observe ttls gcloud firestore fields ttls list --database="(default)" --format='value(name)'
    observe indexes gcloud firestore indexes fields list --database="(default)" --format='value(name)'
  else
    change "database: making it in $REGION, protected from deletion" gcloud firestore databases create \
      --database="(default)" --location="$REGION" --type=firestore-native --delete-protection --enable-pitr
    : >"$WORK/backups"
    : >"$WORK/ttls"
    : >"$WORK/indexes"
  fi
  back_up
  at_once 2 expire <"$WORK/expiring"
  at_once 2 leave_unindexed <"$WORK/never-searched"
}

# keep_history: any minute of the last seven days can be read again.
keep_history() {
  observe backups gcloud firestore backups schedules list --database="(default)" --format='value(name)'
  if [[ $(described databases "(default)") == POINT_IN_TIME_RECOVERY_ENABLED ]]; then
    say "point-in-time recovery: on"
  else
    change "point-in-time recovery: switching it on" gcloud firestore databases update --database="(default)" \
      --enable-pitr --format=none
  fi
}

# back_up: for damage that is noticed later than that.
back_up() {
  if [[ -s $WORK/backups ]]; then
    say "backup schedule: there"
  else
    change "backup schedule: one a day, kept for two weeks" gcloud firestore backups schedules create \
      --database="(default)" --recurrence=daily --retention=14d --format=none
  fi
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
