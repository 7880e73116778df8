# The public name: its certificate, which exists before the name leads here; its DNS records, which are made if a zone
# of Cloud DNS in this project holds the name; and the move from one name to another.
# shellcheck shell=bash

# find_front: the load balancer, and whether DOMAIN has changed. All webhooks and targets use the old name, so it still
# serves beside the new one; and the operator must confirm the move.
find_front() {
  step front
  ask_again front "$WORK"
  [[ -s $WORK/moving ]] || return 0
  if [[ $(described https-proxies extension) == classic ]]; then
    refuse_to_begin "$(old_hosts) has a certificate of an earlier version: run this with that DOMAIN until none is left, then with $DOMAIN"
  fi
  warn "$(old_hosts) serves on $(<"$WORK/moving"); then run this once more"
  [[ -e $WORK/begun || -n ${YES:-} || -n $DRY_RUN || ${FORMAT:-} == json ]] || confirm_domain
}

# ask_again ARGUMENTS...: ask Google, and ask again if the refusal is temporary.
ask_again() { attempt ask_google "$@"; }

old_hosts() { paste -sd ' ' - <"$WORK/old-hosts"; }

confirm_domain() {
  local answer=
  say "Klaviyo and Omneo call every tenant under $(old_hosts); each has to be told of $DOMAIN afterwards."
  read -r -p "Type $DOMAIN to move: " answer || true
  [[ $answer == "$DOMAIN" ]] || fail "nothing was moved"
}

# A certificate cannot change its domain, so each domain has one, with an authorization and an entry in the map.
certificate() {
  CERTIFICATE=$(<"$WORK/certificate")
  if known "$CERTIFICATE" authorizations; then say "authorization of $DOMAIN: there"; else
    change "authorization of $DOMAIN: making it" gcloud certificate-manager dns-authorizations create "$CERTIFICATE" \
      --domain="$DOMAIN" --labels="made_by=$MADE_BY" --format=none
  fi
  case $(described managed "$CERTIFICATE") in
    '') ask_for_certificate ;;
    FAILED)
      ! known "$CERTIFICATE" entries || change "$DOMAIN: taking the failed certificate out of the map" \
        gcloud certificate-manager maps entries delete "$CERTIFICATE" --map=extension
      change "certificate of $DOMAIN: Google has given it up" gcloud certificate-manager certificates delete "$CERTIFICATE"
      : >"$WORK/entries"
      ask_for_certificate
      ;;
    UNRENEWED) warn "the certificate of $DOMAIN could not be renewed: set its CNAME record; see name-silent in deploy/RUNBOOK.md" ;;
    *) say "certificate of $DOMAIN: $(described managed "$CERTIFICATE")" ;;
  esac
  if known extension certificate-maps; then say "map of certificates: there"; else
    change "map of certificates: making it" gcloud certificate-manager maps create extension --labels="made_by=$MADE_BY" \
      --format=none
  fi
  if known "$CERTIFICATE" entries; then say "$DOMAIN: is in the map of certificates"; else
    change "$DOMAIN: putting it into the map of certificates" gcloud certificate-manager maps entries create "$CERTIFICATE" \
      --map=extension --hostname="$DOMAIN" --certificates="$CERTIFICATE" --labels="made_by=$MADE_BY" --format=none
  fi
}

ask_for_certificate() {
  change "certificate of $DOMAIN: asking for it" gcloud certificate-manager certificates create "$CERTIFICATE" \
    --domains="$DOMAIN" --dns-authorizations="$CERTIFICATE" --labels="made_by=$MADE_BY" --format=none
}

# record TYPE: a DNS record of the domain, as soon as Google has named its target. It is made if that harms nobody,
# otherwise only printed; the last lines of the run repeat it.
record() {
  if [[ -n $DRY_RUN ]] && ! known extension addresses; then
    say "would: the $1 record is made where a zone of Cloud DNS in this project holds $DOMAIN, and said otherwise"
    return
  fi
  if [[ $1 == A ]]; then
    observe addresses gcloud compute addresses list --global --format='value(name,address)'
    printf '%s.\tA\t%s\n' "$DOMAIN" "$(described addresses extension)" >"$WORK/wanted-record"
  else
    observe_of certificatemanager authorizations gcloud certificate-manager dns-authorizations list --location=global \
      --format='value(name.basename(),dnsResourceRecord.data,dnsResourceRecord.name)'
    awk -F '\t' -v name="$CERTIFICATE" '$1 == name { print $3 "\tCNAME\t" $2 }' "$WORK/authorizations" >"$WORK/wanted-record"
  fi
  [[ -s $WORK/wanted-record ]] || return 0
  local action name type data zone
  # The record to set is known, even if a later step fails.
  while IFS=$'\t' read -r name type data; do say "set this DNS record: $name $type $data" >>"$WORK/dns"; done <"$WORK/wanted-record"
  if ! QUIET=yes ask_again record "$WORK"; then
    warn "Cloud DNS cannot be asked: set the DNS records yourself"
    awk -F '\t' -v OFS='\t' '{ print "nowhere", $1, $2, $3, "-" }' "$WORK/wanted-record" >"$WORK/record"
  fi
  sed '$d' "$WORK/dns" >"$WORK/dns-before"
  mv "$WORK/dns-before" "$WORK/dns"
  while IFS=$'\t' read -r action name type data zone; do
    [[ $action != make ]] || make_record "$name" "$type" "$data" "$zone" || action=nowhere
    say_record "$action" "$name" "$type" "$data"
  done <"$WORK/record"
}

make_record() {
  QUIET=yes change "DNS record $1 $2: making it in zone $4" gcloud dns record-sets create "$1" --type="$2" --zone="$4" --ttl=300 \
    --rrdatas="$3" --format=none
}

# say_record ACTION NAME TYPE DATA
say_record() {
  local why=
  case $1 in
    there | make)
      [[ -n $DRY_RUN ]] || say "DNS record $2 $3: there"
      return
      ;;
    theirs) why=" (there is another record of this name, which is left alone)" ;;
  esac
  [[ $3 != CNAME ]] || why="$why (leave it there: the certificate is renewed by it)"
  say "set this DNS record: $2 $3 $4$why"
  say "set this DNS record: $2 $3 $4$why" >>"$WORK/dns"
}

# old_names_go: certificates of names that nothing is called by any more.
old_names_go() {
  if [[ -s $WORK/attached && $(described managed "$CERTIFICATE") == ACTIVE ]]; then
    change "https proxy: taking the certificate of an earlier version away" gcloud compute target-https-proxies update extension \
      --clear-ssl-certificates
    at_once 1 old_certificate_goes <"$WORK/attached"
  fi
  at_once 1 old_name_goes <"$WORK/gone-names"
  at_once 1 old_record_goes <"$WORK/gone-records"
}

old_certificate_goes() { change "certificate $1: nothing is served with it any more" gcloud compute ssl-certificates delete "$1" --global; }

old_name_goes() {
  change "$1: nothing is served by this name any more" gcloud certificate-manager maps entries delete "$1" --map=extension
  change "$1: its certificate goes" gcloud certificate-manager certificates delete "$1"
  change "$1: its authorization goes" gcloud certificate-manager dns-authorizations delete "$1"
}

old_record_goes() {
  change "DNS record $1 $2: proves nothing any more" gcloud dns record-sets delete "$1" --type="$2" --zone="$3"
}
