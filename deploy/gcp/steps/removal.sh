# The removal of everything: the list of our resources, the confirmation, and the order. A resource is ours if it has
# the fingerprint or the label of deployment, or a name that nothing else has; the queue of the smoke calls stays,
# because the name of a deleted queue is blocked for days.
# shellcheck shell=bash

find_running() {
  observe_of run services gcloud run services list --region="$REGION" \
    --format='value(metadata.name,metadata.labels.fingerprint)'
  find_jobs
  observe_of cloudtasks queues.json gcloud tasks queues list --location="$REGION" --format=json
  planner own-queues "$WORK/queues.json" >"$WORK/queues-found"
}

find_watching() {
  observe_of monitoring alerts gcloud alpha monitoring policies list --filter='userLabels.alert:*' \
    --format='value(name,userLabels.fingerprint)'
  observe_of monitoring channels-found gcloud beta monitoring channels list --filter="userLabels.made_by=$MADE_BY" \
    --format='value(name)'
  observe_of monitoring uptime-found gcloud monitoring uptime list-configs --filter="userLabels.made_by=$MADE_BY" \
    --format='value(name)'
  observe_of monitoring dashboards gcloud monitoring dashboards list \
    --format='value(name.basename(),labels.list(show="keys"))'
  observe_of logging metrics-found gcloud logging metrics list --format='value(name,description)'
}

find_balancer() { side_by_side find_names observe_front observe_back; }

find_names() {
  ask_again front "$WORK"
  ask_again pointing-here "$WORK"
}

find_kept() {
  observe_of secretmanager secrets-found gcloud secrets list --format='value(name.basename(),labels.made_by)'
  : >"$WORK/secrets-ours"
  at_once 2 whose_secret < <(ours_of secrets < <(cut -f1 "$WORK/secrets-found"))
  observe_of firestore backups-found gcloud firestore backups list \
    --format='value(name.basename(),name.segment(3),database.basename())'
  observe_of iam accounts-found gcloud iam service-accounts list --format='value(email,displayName)'
  observe_of firestore databases gcloud firestore databases list --format='value(name.basename())'
  observe_of artifactregistry repositories gcloud artifacts repositories list --location="$REGION" \
    --format='value(name.basename(),description)'
  : >"$WORK/images"
  if known cloud-run-source-deploy repositories; then
    observe images gcloud artifacts packages list --repository=cloud-run-source-deploy --location="$REGION" \
      --format='value(name.basename())'
  fi
  observe_of storage buckets gcloud storage buckets list --format='value(name)'
  : >"$WORK/sources"
  if known "run-sources-$PROJECT-$REGION" buckets; then
    # Where there is none, gcloud says that nothing matches, and fails.
    QUIET=yes observe sources gcloud storage ls "gs://run-sources-$PROJECT-$REGION/services/" || : >"$WORK/sources"
  fi
}

# whose_secret NAME: one of our names is ours if it says so, or, of an earlier version, if one of our accounts may read it.
whose_secret() {
  if [[ $(described secrets-found "$1") != "$MADE_BY" ]]; then
    observe "policy-$1" gcloud secrets get-iam-policy "$1" --format='value(bindings.members)'
    grep -qF -f <(cut -f2 "$WORK/accounts") "$WORK/policy-$1" || return 0
  fi
  echo "$1" >>"$WORK/secrets-ours"
}

# named FILE PATTERN: the found resources whose whole name matches the pattern.
named() { cut -f1 "$WORK/$1" | only "$2"; }

# remember KIND: note each name on standard input as one to remove.
remember() { sed "s/^/$1"$'\t/' >>"$WORK/found"; }

list_found() {
  : >"$WORK/found"
  list_front
  marked backends-found | ours_of backends | remember backend-service
  awk -F '\t' '$1 == $2 { print $1 }' "$WORK/groups" | ours_of backends | remember endpoint-group
  marked policies-found | only 'per-address-[0-9]+' | remember security-policy
  named certificates 'extension-[0-9a-f]{8}' | remember classic-certificate
  named entries 'extension-[0-9a-f]{8}' | remember map-entry
  named certificate-maps extension | remember certificate-map
  named managed 'extension-[0-9a-f]{8}' | remember certificate
  named authorizations 'extension-[0-9a-f]{8}' | remember authorization
  remember dns-record <"$WORK/pointing-here"
  marked alerts | remember alert
  cut -f1 "$WORK/channels-found" | remember channel
  cut -f1 "$WORK/uptime-found" | remember uptime-check
  marked dashboards | only extension | remember dashboard
  marked metrics-found | only 'extension_.*' | remember metric
  own_jobs | remember schedule
  marked services | ours_of functions 2 | remember function
  cut -f1 "$WORK/queues-found" | remember queue
  cut -f1 "$WORK/secrets-ours" | remember secret
  awk -F '\t' 'NR == FNR { ours[$2 "\t" $3]; next } ($1 "\t" $2) in ours { print $1 }' \
    "$WORK/accounts" "$WORK/accounts-found" | remember account
  list_builds
  # Backups outlive their database for two weeks, with all that is in it.
  ! known "(default)" databases || awk -F '\t' -v OFS='\t' '$3 == "(default)" { print $1, $2 }' "$WORK/backups-found" | remember backup
  named databases '\(default\)' | remember database
  local kind name
  while IFS=$'\t' read -r kind name; do say "$kind $name"; done <"$WORK/found"
  while IFS=$'\t' read -r name kind _; do
    warn "the DNS record $name $kind leads to the address that goes, and deployment has not made it: it stays until you remove it"
  done <"$WORK/leading-nowhere"
}

# list_front: only a URL map carries a fingerprint here. A proxy is ours if its map is, a rule if its proxy is, the
# address and the TLS policy if their description says so, or, from an earlier version, if our rule or proxy uses them.
list_front() {
  local map ours_by
  marked maps-found | only 'extension(-redirect)?' >"$WORK/maps-ours"
  remember url-map <"$WORK/maps-ours"
  : >"$WORK/rules-ours"
  for map in extension extension-redirect; do
    known "$map" maps-ours || continue
    awk -F '\t' -v name="$map" '$1 == name && $2 == name' "$WORK/rules" >>"$WORK/rules-ours"
  done
  cut -f1 "$WORK/rules-ours" | remember forwarding-rule
  if known extension maps-ours; then named https-proxies extension | remember https-proxy; fi
  if known extension-redirect maps-ours; then
    awk -F '\t' '$1 == "extension-redirect" && $2 == $1 { print $1 }' "$WORK/http-proxies" | remember http-proxy
  fi
  ours_by=$(awk -F '\t' '$1 == "extension" { print $3 }' "$WORK/addresses")
  if [[ $ours_by == "$MADE_BY" ]] || leads_to "$(described addresses extension)"; then named addresses extension | remember address; fi
  ours_by=$(described tls extension)
  if [[ $ours_by == "$MADE_BY" ]] || { known extension maps-ours && grep -q $'^extension\t[a-z]*\textension$' "$WORK/https-proxies"; }; then
    named tls extension | remember ssl-policy
  fi
}

# leads_to ADDRESS: whether one of our rules takes the calls to it.
leads_to() { [[ -n $1 ]] && awk -F '\t' -v address="$1" '$3 == address { found = 1 } END { exit !found }' "$WORK/rules-ours"; }

# ours_of OF-FILE COLUMN < NAMES: those that our own files give.
ours_of() { grep -xF -f <(cut -f"${2:-1}" "$WORK/$1") || true; }

# list_builds: images and sources of our functions; the repository too, if we made it and nothing else is in it.
list_builds() {
  ours_of functions 2 <"$WORK/images" >"$WORK/images-ours"
  if [[ $(described repositories cloud-run-source-deploy) == "Images of the functions" ]] &&
    [[ $(wc -l <"$WORK/images") -eq $(wc -l <"$WORK/images-ours") ]]; then
    echo cloud-run-source-deploy | remember image-repository
  else
    remember image <"$WORK/images-ours"
  fi
  local service
  while read -r service; do
    grep -xF "gs://run-sources-$PROJECT-$REGION/services/$service/" "$WORK/sources" | remember source || true
  done < <(cut -f2 "$WORK/functions")
}

confirm() {
  [[ -z ${YES:-} ]] || return 0
  say "With the database go all tenants, dead jobs and the record of consent; with the secrets, the keys to any copy of it."
  local answer=
  read -r -p "Type $PROJECT to remove all of this: " answer || true
  [[ $answer == "$PROJECT" ]] || fail "nothing was removed"
}

# each KIND FUNCTION: call the function with each remembered name of this kind.
each() { at_once 2 "$2" < <(awk -F '\t' -v kind="$1" -v OFS='\t' '$1 == kind { print $2, $3, $4 }' "$WORK/found"); }

remove_balancer() {
  step balancer
  each forwarding-rule drop_forwarding_rule
  each https-proxy drop_https_proxy
  each http-proxy drop_http_proxy
  each url-map drop_url_map
  each backend-service drop_backend_service
  each endpoint-group drop_endpoint_group
  each security-policy drop_security_policy
  each classic-certificate drop_classic_certificate
  each map-entry drop_map_entry
  each certificate-map drop_certificate_map
  each certificate drop_certificate
  each authorization drop_authorization
  each dns-record drop_record
  each ssl-policy drop_ssl_policy
  each address drop_address
}

drop_forwarding_rule() { change "forwarding rule $1 goes" gcloud compute forwarding-rules delete "$1" --global; }
drop_https_proxy() { change "https proxy $1 goes" gcloud compute target-https-proxies delete "$1"; }
drop_http_proxy() { change "http proxy $1 goes" gcloud compute target-http-proxies delete "$1"; }
drop_url_map() { change "url map $1 goes" gcloud compute url-maps delete "$1" --global; }
drop_backend_service() { change "backend service $1 goes" gcloud compute backend-services delete "$1" --global; }
drop_endpoint_group() {
  change "endpoint group $1 goes" gcloud compute network-endpoint-groups delete "$1" --region="$REGION"
}
drop_classic_certificate() { change "certificate $1 goes" gcloud compute ssl-certificates delete "$1" --global; }
drop_map_entry() { change "map entry $1 goes" gcloud certificate-manager maps entries delete "$1" --map=extension; }
drop_certificate_map() { change "map of certificates $1 goes" gcloud certificate-manager maps delete "$1"; }
drop_certificate() { change "certificate $1 goes" gcloud certificate-manager certificates delete "$1"; }
drop_authorization() { change "authorization $1 goes" gcloud certificate-manager dns-authorizations delete "$1"; }
drop_record() { change "DNS record $1 $2 goes" gcloud dns record-sets delete "$1" --type="$2" --zone="$3"; }
drop_ssl_policy() { change "TLS policy $1 goes" gcloud compute ssl-policies delete "$1"; }
drop_address() { change "address $1 goes" gcloud compute addresses delete "$1" --global; }

remove_watching() {
  step watching
  each alert drop_alert
  each uptime-check drop_uptime
  each channel drop_channel
  each dashboard drop_dashboard
  each metric drop_metric
}

drop_channel() { change "channel ${1##*/} goes" gcloud beta monitoring channels delete "$1"; }
drop_dashboard() { change "dashboard $1 goes" gcloud monitoring dashboards delete "$1"; }

# Nothing is to be called that is gone: first the clock stops, then the queues, then the functions.
remove_running() {
  step functions
  each schedule drop_schedule
  each queue drop_queue
  each function drop_function
}

drop_queue() { change "queue $1 goes" gcloud tasks queues delete "$1" --location="$REGION"; }
drop_function() { change "function $1 goes" gcloud run services delete "$1" --region="$REGION"; }

remove_kept() {
  step data
  # The roles of an account stay in a policy after the account is deleted.
  echo '{}' >"$WORK/access-nobody.json"
  bind "the project" access-nobody.json policy-project gcloud projects get-iam-policy "$PROJECT" --format=json -- \
    gcloud projects set-iam-policy "$PROJECT" --format=none
  each account drop_account
  each secret drop_secret
  each image-repository drop_image_repository
  each image drop_image
  each source drop_source
  each backup drop_backup
  each database drop_database
}

drop_account() {
  local email=$1
  change "account $email goes" gcloud iam service-accounts delete "$email"
}
drop_secret() { change "secret $1 goes" gcloud secrets delete "$1"; }
drop_image_repository() {
  change "image repository $1 goes" gcloud artifacts repositories delete "$1" --location="$REGION"
}
drop_image() {
  change "images of $1 go" gcloud artifacts packages delete "$1" --repository=cloud-run-source-deploy --location="$REGION"
}
drop_source() { change "sources $1 go" gcloud storage rm "$1" --recursive; }
drop_backup() { change "backup $1 goes" gcloud firestore backups delete --backup="$1" --location="$2" --format=none; }
drop_database() {
  change "database $1: its protection is lifted" gcloud firestore databases update --database="$1" \
    --no-delete-protection --format=none
  change "database $1 goes" gcloud firestore databases delete --database="$1" --format=none
}
