# shellcheck shell=bash
# Units of this role: written, enabled, and those started that stand below the release (Redis, timers). The release's own are
# started by bin/deploy, and by every boot after it.

UNITS=/etc/systemd/system
COMMON=(quantcloud-addresses.service quantcloud-backup.service quantcloud-backup.timer quantcloud-vitals.service quantcloud-vitals.timer)

# boot_unit: what lets a node that is started later catch up by itself
boot_unit() {
  place "$TEMPLATES/systemd/quantcloud-release.service" "$UNITS/quantcloud-release.service"
  systemctl daemon-reload
  systemctl enable --quiet quantcloud-release.service
}

services() {
  local redis own unit
  if [[ $1 == engine ]]; then
    redis=inbox-redis.service own=(fastapi.socket fastapi.service trader.service quantcloud-awake.service bridge.service)
  else
    redis=market-redis.service own=(websocket.service)
  fi
  place "$TEMPLATES/settings.toml" /etc/quantcloud/settings.toml
  for unit in "${COMMON[@]}" "$redis" "${own[@]}"; do
    place "$TEMPLATES/systemd/$unit" "$UNITS/$unit"
  done
  for unit in "$redis" "${own[@]}" quantcloud-vitals.service; do
    if [[ $unit == *.service ]]; then place "$TEMPLATES/systemd/hardening.conf" "$UNITS/$unit.d/hardening.conf"; fi
  done
  systemctl daemon-reload
  systemctl enable --quiet "$redis" "${own[@]}" quantcloud-addresses.service quantcloud-{backup,vitals}.timer
  systemctl start quantcloud-addresses.service
  start_redis "$redis"
  systemctl start quantcloud-{backup,vitals}.timer
}

# A Redis is restarted only for a change of its own, since its clients feel it.
start_redis() {
  local configuration=/etc/quantcloud/${1%.service}.conf
  if has_changed "$configuration" /etc/quantcloud/redis-commands.conf "$UNITS/$1"; then
    systemctl restart "$1"
    say "${1%.service} has its configuration"
  else
    systemctl start "$1"
  fi
}
