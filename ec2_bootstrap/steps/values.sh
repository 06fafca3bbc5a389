# shellcheck shell=bash
# What the site's parameter says of its nodes, kept for a boot at which it cannot be read.

TRADINGVIEW=(52.89.214.238 34.212.75.30 54.218.53.128 52.32.178.7)

node_values() {
  local kept=$ROOT/etc/quantcloud/node.json read
  if read=$(node_aws parameter "/quantcloud/$QUANTCLOUD_SITE/node") && jq -e type > /dev/null <<< "$read"; then
    (umask 077 && printf '%s\n' "$read" > "$kept.new" && mv "$kept.new" "$kept")
  elif [[ -s $kept ]]; then
    warn "the parameter /quantcloud/$QUANTCLOUD_SITE/node cannot be read: going on with what it said last"
  else
    die "the parameter /quantcloud/$QUANTCLOUD_SITE/node cannot be read: it must hold this site's values"
  fi
  export QUANTCLOUD_REGION=$AWS_REGION
  export QUANTCLOUD_MODE QUANTCLOUD_DOMAIN QUANTCLOUD_EMAIL QUANTCLOUD_STREAM_ADDRESS QUANTCLOUD_VPC_CIDR
  QUANTCLOUD_MODE=$(value mode active)
  QUANTCLOUD_DOMAIN=$(value domain '')
  QUANTCLOUD_EMAIL=$(value email '')
  QUANTCLOUD_STREAM_ADDRESS=$(value stream_address 127.0.0.1)
  QUANTCLOUD_VPC_CIDR=$(value vpc_cidr 127.0.0.1/32)
  export_allowed
  mark_passive
  say "site $QUANTCLOUD_SITE, $QUANTCLOUD_MODE"
}

value() { jq -r --arg default "$2" ".$1 // \$default" "$ROOT/etc/quantcloud/node.json"; }

export_allowed() {
  export QUANTCLOUD_ALLOW_OPERATOR QUANTCLOUD_ALLOW_TRADINGVIEW
  QUANTCLOUD_ALLOW_OPERATOR=$(allow_lines < <(jq -r '.operator_cidrs // [] | .[]' "$ROOT/etc/quantcloud/node.json"))
  QUANTCLOUD_ALLOW_TRADINGVIEW=$(
    { jq -r '.tradingview_addresses // [] | .[]' "$ROOT/etc/quantcloud/node.json" | grep . || printf '%s\n' "${TRADINGVIEW[@]}"; } | allow_lines
  )
}

# allow_lines: addresses or CIDRs in, nginx directives out; anything else ends the run before it reaches a configuration
allow_lines() {
  local address
  while read -r address; do
    [[ $address =~ ^[0-9a-fA-F.:]+(/[0-9]{1,3})?$ ]] || die "$address is no address or CIDR: mend the site's parameter"
    printf 'allow %s;\n' "$address"
  done
}

# A passive site's trader does not start (see trader.service): which of the sites trades is decided elsewhere.
mark_passive() {
  if [[ $QUANTCLOUD_MODE == active ]]; then
    rm -f "$ROOT/etc/quantcloud/passive"
  else
    printf 'this site is %s: its trader does not start\n' "$QUANTCLOUD_MODE" > "$ROOT/etc/quantcloud/passive"
  fi
}
