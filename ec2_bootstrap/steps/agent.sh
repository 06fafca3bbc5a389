# shellcheck shell=bash
# The CloudWatch agent: logs to the site's groups, where the metrics in their JSON lines are extracted (bin/vitals measures the node).
# A node without it trades on, but nobody sees it: the heartbeat's alarm tells.

AGENT=/opt/aws/amazon-cloudwatch-agent
AGENT_SIGNER=937616F3450B7D806CBD9725D58167303B789C72

cloudwatch_agent() {
  export QUANTCLOUD_LOG_FILES
  QUANTCLOUD_LOG_FILES=$(log_files_of "$QUANTCLOUD_ROLE")
  place "$TEMPLATES/cloudwatch-agent.json" /etc/quantcloud/cloudwatch-agent.json
  if [[ ! -x $ROOT$AGENT/bin/amazon-cloudwatch-agent-ctl ]] && ! install_agent; then
    warn "NO CLOUDWATCH AGENT: logs and metrics stay on this node. The next deployment tries again."
    return
  fi
  if has_changed /etc/quantcloud/cloudwatch-agent.json || ! systemctl is-active --quiet amazon-cloudwatch-agent.service; then
    "$ROOT$AGENT/bin/amazon-cloudwatch-agent-ctl" -a fetch-config -m ec2 -s -c file:/etc/quantcloud/cloudwatch-agent.json > /dev/null
    say "the CloudWatch agent ships logs and metrics"
  fi
}

# log_files_of ROLE: a JSON list of files and the groups they go to
log_files_of() {
  local pairs=(deploy.log=bootstrap backup.log=backup health.log=health)
  if [[ $1 == engine ]]; then
    pairs+=(trading_system.log=trader fastapi.log=fastapi bridge.log=bridge nginx.log=nginx inbox-redis.log=redis)
  else
    pairs+=(websocket.log=websocket market-redis.log=redis)
  fi
  printf '%s\n' "${pairs[@]}" | jq -Rs --arg site "$QUANTCLOUD_SITE" --arg role "$1" '
    split("\n") | map(select(. != "") | split("=") | {
      file_path: ("/var/log/quantcloud/" + .[0]),
      log_group_name: ("/quantcloud/" + $site + "/" + .[1]),
      log_stream_name: ($role + "-{instance_id}")
    })'
}

install_agent() (
  cd "$(mktemp -d)" || exit 1
  local from=https://amazoncloudwatch-agent-$AWS_REGION.s3.$AWS_REGION.amazonaws.com architecture
  architecture=$(dpkg --print-architecture)
  fetch() { curl -fsS --connect-timeout 5 --max-time 120 --retry 2 -O "$1"; }
  fetch "$from/ubuntu/$architecture/latest/amazon-cloudwatch-agent.deb" || exit 1
  fetch "$from/ubuntu/$architecture/latest/amazon-cloudwatch-agent.deb.sig" || exit 1
  fetch https://amazoncloudwatch-agent.s3.amazonaws.com/assets/amazon-cloudwatch-agent.gpg || exit 1
  signed_by_amazon amazon-cloudwatch-agent.deb || exit 1
  dpkg --install amazon-cloudwatch-agent.deb || exit 1
)

signed_by_amazon() {
  export GNUPGHOME=$PWD # a keyring of its own, with this one key
  gpg --quiet --import amazon-cloudwatch-agent.gpg || return 1
  gpg --status-fd 1 --verify "$1.sig" "$1" 2> /dev/null | grep -q "VALIDSIG $AGENT_SIGNER"
}
