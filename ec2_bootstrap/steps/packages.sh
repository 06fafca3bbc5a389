# shellcheck shell=bash
# Debian packages, only those that are missing: a node that has them needs no network here.

BOTH=(python3 python3-venv python3-boto3 unzip jq curl openssl ca-certificates iproute2 chrony logrotate redis-server redis-tools sqlite3 gpg)
ENGINE=(nginx postgresql certbot python3-certbot-dns-route53)

packages() {
  local wanted=("${BOTH[@]}") missing=() package
  if [[ $1 == engine ]]; then wanted+=("${ENGINE[@]}"); fi
  for package in "${wanted[@]}"; do
    is_installed "$package" || missing+=("$package")
  done
  if ((${#missing[@]} == 0)); then
    say "all packages are there"
  else
    say "installing ${missing[*]}"
    without_default_services install_missing "${missing[@]}"
    if [[ $1 == engine ]]; then systemctl disable --quiet nginx.service; fi # until it is configured: see web_server
  fi
  systemctl mask --quiet --now redis-server.service
}

is_installed() { [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null) == installed ]]; }

install_missing() {
  export DEBIAN_FRONTEND=noninteractive
  apt-get -q -o Acquire::Retries=5 update
  apt-get -q -y -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 install --no-install-recommends "$@"
}

# The packages' own Redis and nginx must not come up with their defaults, open to whoever asks, before ours are configured.
without_default_services() {
  printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
  chmod 0755 /usr/sbin/policy-rc.d
  "$@"
  rm -f /usr/sbin/policy-rc.d
}
