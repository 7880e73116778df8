# The functions: each from its staged source root. A new revision takes calls only after it has answered one.
# shellcheck shell=bash

functions() {
  step functions
  builds
  observe_of run services.json gcloud run services list --region="$REGION" --format=json
  planner revisions "$WORK"
  planner traffic "$WORK"
  at_once 3 deploy_function <"$WORK/revisions"
}

# The repository for gcloud's builds. gcloud makes it itself, but not if several functions are deployed at once.
builds() {
  observe_of artifactregistry repositories gcloud artifacts repositories list --location="$REGION" \
    --format='value(name.basename())'
  if known cloud-run-source-deploy repositories; then
    say "image repository: there"
  else
    change "image repository: making it" gcloud artifacts repositories create cloud-run-source-deploy \
      --location="$REGION" --repository-format=docker --description="Images of the functions"
  fi
}

# clean_ups: the leftovers of upgrades do not pile up. The bucket is made by the first upload.
clean_ups() {
  step clean-ups
  observe_of artifactregistry image-policies-found gcloud artifacts repositories list --location="$REGION" \
    --filter='name~/cloud-run-source-deploy$' --format='value(cleanupPolicies.list(show="keys"))'
  if grep -q remove-the-old "$WORK/image-policies-found"; then
    say "old images: go after a month"
  else
    change "old images: are to go after a month" gcloud artifacts repositories set-cleanup-policies cloud-run-source-deploy \
      --location="$REGION" --policy="$WORK/image-policies.json" --no-dry-run --format=none
  fi
  observe_of storage buckets-found gcloud storage buckets list --filter="name=run-sources-$PROJECT-$REGION" \
    --format='value(name,lifecycle_config.rule.len())'
  if ! known "run-sources-$PROJECT-$REGION" buckets-found || [[ -n $(described buckets-found "run-sources-$PROJECT-$REGION") ]]; then
    say "old sources: go after a month"
  else
    change "old sources: are to go after a month" gcloud storage buckets update "gs://run-sources-$PROJECT-$REGION" \
      --lifecycle-file="$WORK/source-lifecycle.json"
  fi
}

deploy_function() {
  local action=$1 service=$2
  case $action in
    nothing) say "$service: runs what it should" ;;
    promote) say "$service: the newest revision is there, but takes no calls yet" ;;
    create) build_revision "$service: making it" "${@:2}" --tag=candidate ;;
    # Calls cannot stay where they are while no revision has ever been ready.
    mend) build_revision "$service: nothing of it has ever run; making another revision" "${@:2}" --tag=candidate ;;
    upgrade) build_revision "$service: adding a revision without calls" "${@:2}" --no-traffic --tag=candidate ;;
  esac
}

build_revision() {
  local words=$1 service=$2 entry=$3 account=$4 memory=$5 cpu=$6 concurrency=$7 timeout=$8 minimum=$9
  local maximum=${10} audience=${11} fingerprint=${12} secrets=${13} image=${15}
  local -a more=("${@:16}")
  if [[ $audience == public ]]; then
    more+=(--no-invoker-iam-check --ingress=internal-and-cloud-load-balancing)
  else
    more+=(--no-allow-unauthenticated --ingress=internal)
  fi
  if [[ $secrets == - ]]; then more+=(--clear-secrets); else more+=(--set-secrets="$secrets"); fi
  change "$words" gcloud run deploy "$service" --region="$REGION" --source="$WORK/source/$service" \
    --function="$entry" --base-image="$image" \
    --build-service-account="projects/$PROJECT/serviceAccounts/deployment@$PROJECT.iam.gserviceaccount.com" \
    --service-account="$account" --memory="$memory" --cpu="$cpu" --concurrency="$concurrency" --timeout="$timeout" \
    --min="$minimum" --max-instances="$maximum" --env-vars-file="$WORK/variables-$service.yaml" --labels="fingerprint=$fingerprint" \
    --format=none "${more[@]}"
}

workers() {
  step workers
  at_once 2 worker <"$WORK/workers"
}

worker() {
  if [[ -n $DRY_RUN ]] && ! known "$1" traffic; then
    bind_later "$1"
    return
  fi
  bind "$1" "access-worker-$1.json" "policy-worker-$1" \
    gcloud run services get-iam-policy "$1" --region="$REGION" --format=json -- \
    gcloud run services set-iam-policy "$1" --region="$REGION" --format=none
}
