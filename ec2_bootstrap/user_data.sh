#!/bin/bash
# First boot. Whoever makes the instance replaces SITE, ROLE, REGION, STACK and LOGICAL_ID (each between two at signs); nothing else
# may stand here, for a change of user data stops the instance and is never read again. All that may change comes from the
# site's parameters and with the release.
set -euo pipefail
umask 077

write_environment() {
  install -d -m 0755 /etc/quantcloud
  cat > /etc/quantcloud/environment <<'EOF'
QUANTCLOUD_SITE='@SITE@'
QUANTCLOUD_ROLE='@ROLE@'
QUANTCLOUD_STACK='@STACK@'
QUANTCLOUD_LOGICAL_ID='@LOGICAL_ID@'
AWS_REGION='@REGION@'
AWS_DEFAULT_REGION='@REGION@'
EOF
}

install_packages() {
  dpkg-query -W -f '${Status}\n' python3-boto3 unzip 2>/dev/null | grep -c 'ok installed' | grep -qx 2 && return
  export DEBIAN_FRONTEND=noninteractive
  apt-get -o Acquire::Retries=5 update -q
  apt-get -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300 install -q -y --no-install-recommends python3-boto3 unzip
}

fetch_release() {
  python3 - "/quantcloud/$QUANTCLOUD_SITE/release" /run/quantcloud-bootstrap/release.zip <<'EOF'
import os, sys
import boto3

parameter, target = sys.argv[1:]
endpoint = os.environ.get("AWS_ENDPOINT_URL")
uri = boto3.client("ssm", endpoint_url=endpoint).get_parameter(Name=parameter)["Parameter"]["Value"]
bucket, _, key = uri.removeprefix("s3://").partition("/")
boto3.client("s3", endpoint_url=endpoint).download_file(bucket, key, target)
EOF
  unzip -q -o /run/quantcloud-bootstrap/release.zip 'ec2_bootstrap/*' -d /run/quantcloud-bootstrap
}

signal() {
  trap - ERR
  local tool=/run/quantcloud-bootstrap/ec2_bootstrap/bin/node-aws
  if [[ -e $tool ]]; then python3 "$tool" signal "$1"; fi
}

main() {
  exec > >(tee -a /var/log/quantcloud-bootstrap.log) 2>&1
  trap 'echo "bootstrap: failed in line $LINENO"; signal FAILURE' ERR
  write_environment
  set -a
  # shellcheck source=/dev/null
  . /etc/quantcloud/environment
  set +a
  install_packages
  install -d -m 0700 /run/quantcloud-bootstrap
  fetch_release
  bash /run/quantcloud-bootstrap/ec2_bootstrap/install "$QUANTCLOUD_ROLE"
  signal SUCCESS
  /opt/quantcloud/bin/self-stop
}

main
