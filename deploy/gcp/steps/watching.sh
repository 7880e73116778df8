# Cloud Monitoring: metrics from our log lines, alerts, and one dashboard.
# shellcheck shell=bash

watching() {
  step watching
  observe_of logging metrics-found gcloud logging metrics list --format='value(name,description)'
  at_once 2 metric <"$WORK/metrics"
  channel
  observe_of monitoring alerts-found gcloud alpha monitoring policies list \
    --format='value(userLabels.alert,userLabels.fingerprint,name,notificationChannels.list())'
  uptime_checks
  # The first one waits until Monitoring knows the metrics that were just made; then it knows those of the others too.
  at_once 1 alert < <(sed -n 1p "$WORK/alerts")
  at_once 2 alert < <(sed 1d "$WORK/alerts")
  # Removes resources of an earlier version that this one does not know: alerts first, because they name metrics.
  at_once 1 drop_alert < <(awk -F '\t' 'NR == FNR { ours[$1]; next } length($2) == 20 && !($1 in ours) { print $3 }' \
    "$WORK/alerts" "$WORK/alerts-found")
  at_once 1 drop_metric < <(marked metrics-found | only 'extension_.*' | beyond metrics)
  # Charts are for people, alerts come to them: the dashboard is last.
  observe_of monitoring dashboards gcloud monitoring dashboards list --format='value(name.basename(),labels.list(show="keys"))'
  dashboard
}

metric() {
  local name=$1 wanted=$2 before
  before=$(described metrics-found "$name")
  if [[ $before == *"($wanted)" ]]; then
    say "metric $name: as it should be"
  elif known "$name" metrics-found; then
    change "metric $name: changing it" gcloud logging metrics update "$name" --config-from-file="$WORK/metric-$name.json"
  else
    change "metric $name: making it" gcloud logging metrics create "$name" --config-from-file="$WORK/metric-$name.json"
  fi
}

# uptime_checks: a check cannot change its host; so a changed check is made anew, and the old one is removed.
uptime_checks() {
  observe_of monitoring uptime-found gcloud monitoring uptime list-configs --filter="userLabels.made_by=$MADE_BY" \
    --format='value(userLabels.fingerprint,name)'
  at_once 1 uptime_check <"$WORK/uptime-checks"
  at_once 1 drop_uptime < <(awk -F '\t' 'NR == FNR { ours[$7]; next } !($1 in ours) || n[$1]++ { print $2 }' \
    "$WORK/uptime-checks" "$WORK/uptime-found")
}

uptime_check() {
  local host=$1 path=$2 status=$3 period=$4 timeout=$5 regions=$6 wanted=$7
  if known "$wanted" uptime-found; then say "uptime check of $host: there"; else
    change "uptime check of $host: making it" gcloud monitoring uptime create "Omneo Klaviyo extension, $host" \
      --resource-type=uptime-url --resource-labels="host=$host,project_id=$PROJECT" --protocol=https --validate-ssl=true \
      --path="$path" --status-codes="$status" --period="$period" --timeout="$timeout" --regions="$regions" \
      --user-labels="made_by=$MADE_BY,fingerprint=$wanted" --format=none
  fi
}

drop_uptime() { change "uptime check ${1##*/} goes" gcloud monitoring uptime delete "$1"; }

dashboard() {
  local wanted
  wanted=$(<"$WORK/dashboard-fingerprint")
  if [[ $(described dashboards extension) == "$wanted" ]]; then
    say "dashboard: as it should be"
    return
  fi
  if known extension dashboards; then
    change "dashboard: taking the old one away" gcloud monitoring dashboards delete extension
  fi
  change "dashboard: making it" gcloud monitoring dashboards create --config-from-file="$WORK/dashboard.json"
}

drop_alert() { change "alert ${1##*/} goes" gcloud alpha monitoring policies delete "$1"; }

drop_metric() { change "metric $1 goes" gcloud logging metrics delete "$1"; }

# channel: where alerts go. Without ALERT_EMAIL they stand in the console alone.
channel() {
  CHANNEL=
  [[ -n ${ALERT_EMAIL:-} ]] || {
    say "ALERT_EMAIL is not set: alerts are shown in the console and sent to nobody new"
    return
  }
  find_channel
  if [[ ! -s $WORK/channels ]]; then
    change "channel: making one for the address in ALERT_EMAIL" gcloud beta monitoring channels create --type=email \
      --display-name="Omneo Klaviyo extension" --channel-labels="email_address=$ALERT_EMAIL" \
      --user-labels="made_by=$MADE_BY"
    [[ -n $DRY_RUN ]] || find_channel
  fi
  CHANNEL=$(<"$WORK/channels")
}

find_channel() {
  observe_of monitoring channels gcloud beta monitoring channels list --filter="labels.email_address=\"$ALERT_EMAIL\"" \
    --format='value(name)' --limit=1
}

# alert NAME FINGERPRINT: an alert that is brought up to date keeps the channels that people have given it.
alert() {
  local name=$1 wanted=$2 found told keep
  found=$(awk -F '\t' -v name="$name" '$1 == name { print $3; exit }' "$WORK/alerts-found")
  told=$(awk -F '\t' -v name="$name" '$1 == name { print $4; exit }' "$WORK/alerts-found")
  keep=$told
  [[ -z $CHANNEL || $told == *"$CHANNEL"* ]] || keep=${told:+$told,}$CHANNEL
  if [[ -z $found ]]; then
    change "alert $name: making it" gcloud alpha monitoring policies create --policy-from-file="$WORK/alert-$name.json" \
      ${keep:+--notification-channels="$keep"}
  elif [[ $(described alerts-found "$name") == "$wanted" && $keep == "$told" ]]; then
    say "alert $name: as it should be"
  else
    change "alert $name: changing it" gcloud alpha monitoring policies update "$found" \
      --policy-from-file="$WORK/alert-$name.json" ${keep:+--set-notification-channels="$keep"}
  fi
  at_once 1 drop_twin < <(awk -F '\t' -v name="$name" '$1 == name && n++ { print $3 }' "$WORK/alerts-found")
}

# drop_twin ALERT: Google chooses the names of alerts. So an alert is made twice if the answer to the first call was
# lost.
drop_twin() { change "alert ${1##*/}: taking a double away" gcloud alpha monitoring policies delete "$1"; }
