# shellcheck shell=bash
# User, folders, clock, kernel, logs and the node's own tools.

account_and_folders() {
  if [[ -z $ROOT ]] && ! id quantcloud > /dev/null 2>&1; then
    # always the same number: the data volume outlives its node, and its files belong to a number
    groupadd --system --gid 870 quantcloud
    useradd --system --uid 870 --gid 870 --home-dir /var/lib/quantcloud --no-create-home --shell /usr/sbin/nologin quantcloud
    say "made the user quantcloud"
  fi
  folder /etc/quantcloud 0755 root:root
  folder /opt/quantcloud 0755 root:root
  folder /opt/quantcloud/bin 0755 root:root
  folder /opt/quantcloud/releases 0755 root:root
  folder /var/log/quantcloud 0750 quantcloud:quantcloud
  folder /var/cache/quantcloud 0750 quantcloud:quantcloud
}

clock_and_kernel() {
  place "$TEMPLATES/chrony.conf" /etc/chrony/conf.d/quantcloud.conf
  place "$TEMPLATES/sysctl.conf" /etc/sysctl.d/60-quantcloud.conf
  place "$TEMPLATES/needrestart.conf" /etc/needrestart/conf.d/quantcloud.conf
  keep_up chrony.service /etc/chrony/conf.d/quantcloud.conf
  if has_changed /etc/sysctl.d/60-quantcloud.conf; then systemctl restart systemd-sysctl.service; fi
}

tools() {
  local tool
  for tool in "$SOURCE"/bin/*; do
    install -m 0755 "$tool" "$ROOT/opt/quantcloud/bin/.new"
    mv -f "$ROOT/opt/quantcloud/bin/.new" "$ROOT/opt/quantcloud/bin/${tool##*/}" # a script being run is not written over
  done
  install -d "$ROOT/usr/local/bin"
  ln -sfn /opt/quantcloud/bin/quantcloud "$ROOT/usr/local/bin/quantcloud"
}

log_files() {
  place "$TEMPLATES/logrotate.conf" /etc/logrotate.d/quantcloud
  place "$TEMPLATES/systemd/logrotate-hourly.conf" /etc/systemd/system/logrotate.timer.d/quantcloud.conf
  systemctl daemon-reload
  keep_up logrotate.timer /etc/systemd/system/logrotate.timer.d/quantcloud.conf
}

# keep_up UNIT CONFIGURATION: packages were installed without starting what they bring, and the next boot may be months away
keep_up() {
  systemctl enable --quiet "$1"
  if has_changed "$2"; then systemctl restart "$1"; else systemctl start "$1"; fi
}
