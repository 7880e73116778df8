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

# Where gcloud puts what it builds. It would make this itself, but not when several functions are deployed at once.
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
  local audience=${10} fingerprint=${11} secrets=${12} image=${14}
  local -a more=("${@:15}")
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
    --min="$minimum" --env-vars-file="$WORK/variables-$service.yaml" --labels="fingerprint=$fingerprint" \
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
