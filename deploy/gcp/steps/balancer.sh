# One host name in front: an external Application Load Balancer that routes by path to the public functions.
# shellcheck shell=bash

balancer() {
  step balancer
  side_by_side observe_front observe_back
  if known extension addresses; then say "address: there"; else
    change "address: reserving it" gcloud compute addresses create extension --global --ip-version=IPV4 \
      --description="$MADE_BY"
  fi
  record A
  certificate
  record CNAME
  at_once 2 group <"$WORK/backends"
  at_once 2 backend <"$WORK/backends"
  at_once 2 map <"$WORK/maps"
  limits
  proxies
  forwarding extension 443 --target-https-proxy=extension
  forwarding extension-redirect 80 --target-http-proxy=extension-redirect
  old_names_go
}

observe_front() {
  observe_of compute tls gcloud compute ssl-policies list --format='value(name,description)'
  observe_of compute http-proxies gcloud compute target-http-proxies list --format='value(name,urlMap.basename())'
  observe_of compute rules gcloud compute forwarding-rules list --global --format='value(name,target.basename(),IPAddress)'
}

observe_back() {
  observe_of compute groups gcloud compute network-endpoint-groups list --format='value(name,cloudRun.service)'
  observe_of compute policies-found gcloud compute security-policies list --format='value(name,description)'
  observe_of compute backends-found gcloud compute backend-services list --global \
    --format='value(name,description,securityPolicy.basename())'
  observe_of compute maps-found gcloud compute url-maps list --global --format='value(name,description)'
}

group() {
  if known "$1" groups; then say "$1: its endpoint group is there"; else
    change "$1: making its endpoint group" gcloud compute network-endpoint-groups create "$1" --region="$REGION" \
      --network-endpoint-type=serverless --cloud-run-service="$1"
  fi
}

# limits: the calls that one address may make. They need a quota that some projects do not have; then check_quotas has
# warned.
limits() {
  [[ ! -e $WORK/limits-left-out ]] || return 0
  at_once 2 policy <"$WORK/policies"
  at_once 2 attach <"$WORK/backends"
  at_once 1 old_limit_goes < <(marked policies-found | only 'per-address-[0-9]+' | beyond policies 2)
}

# old_limit_goes NAME: one that an earlier version attached, and that is paid for by the month.
old_limit_goes() { QUIET=yes drop_security_policy "$1" || warn "limit $1 is not attached by us any more, but cannot be removed: is it used elsewhere?"; }

drop_security_policy() { change "limit $1 goes" gcloud compute security-policies delete "$1"; }

# attach SERVICE FINGERPRINT POLICY: compared with the attached policy, not with the last one sent; "-" is no policy.
attach() {
  local name=$1 wanted=$3 attached
  attached=$(awk -F '\t' -v name="$name" '$1 == name { print $3; exit }' "$WORK/backends-found")
  if [[ ${attached:--} == "$wanted" ]]; then
    say "$name: its limit is attached, if it has one"
  else
    change "$name: attaching limit $wanted" gcloud compute backend-services update "$name" --global \
      --security-policy="${wanted#-}"
  fi
}

policy() {
  local limit=$1 name=$2 wanted=$3
  if ! known "$name" policies-found; then
    change "$name: making the limit" gcloud compute security-policies create "$name" \
      --file-name="$WORK/policy-$limit.json" --file-format=json
  elif [[ $(described policies-found "$name") == "$wanted" ]]; then
    say "$name: the limit is there"
  else
    change "$name: bringing the limit up to date" gcloud compute security-policies import "$name" \
      --file-name="$WORK/policy-$limit.json" --file-format=json
  fi
}

backend() {
  if [[ $(described backends-found "$1") == "$2" ]]; then say "$1: its backend service is as it should be"; else
    change "$1: making or changing its backend service" gcloud compute backend-services import "$1" --global \
      --source="$WORK/backend-$1.json"
  fi
}

map() {
  local file=$1 name=$2 wanted=$3
  if [[ $(described maps-found "$name") == "$wanted" ]]; then say "$name: its paths are as they should be"; else
    change "$name: making or changing its paths" gcloud compute url-maps import "$name" --global --source="$WORK/$file.json"
  fi
}

proxies() {
  if known extension tls; then say "TLS 1.2 or newer: there"; else
    change "TLS 1.2 or newer: making the policy" gcloud compute ssl-policies create extension --profile=MODERN \
      --min-tls-version=1.2 --description="$MADE_BY"
  fi
  if ! known extension https-proxies; then
    change "https proxy: making it" gcloud compute target-https-proxies create extension --url-map=extension \
      --certificate-map=extension --ssl-policy=extension
  elif [[ $(described https-proxies extension) == map ]]; then
    say "https proxy: there"
  elif [[ $(described managed "$CERTIFICATE") == ACTIVE ]]; then
    change "https proxy: giving it the map of certificates" gcloud compute target-https-proxies update extension \
      --certificate-map=extension
  else
    warn "the certificate of an earlier version serves on until the new one of $DOMAIN is active; then run this once more"
  fi
  if known extension-redirect http-proxies; then say "http proxy: there"; else
    change "http proxy: making it" gcloud compute target-http-proxies create extension-redirect \
      --url-map=extension-redirect
  fi
}

forwarding() {
  local name=$1 port=$2 target=$3
  if known "$name" rules; then say "port $port: open"; else
    change "port $port: opening it" gcloud compute forwarding-rules create "$name" --global \
      --load-balancing-scheme=EXTERNAL_MANAGED --address=extension --ports="$port" "$target"
  fi
}
