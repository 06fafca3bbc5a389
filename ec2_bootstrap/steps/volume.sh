# shellcheck shell=bash
# The data volume: the one named in user data, formatted only when there is nothing at all on it.

LABEL=quantcloud-data
DATA=/var/lib/quantcloud
VOLUME_WITHIN_S=300

data_volume() {
  install -d "$ROOT$DATA"
  if [[ ${QUANTCLOUD_DATA_VOLUME:--} == - ]]; then
    say "this node keeps nothing: $DATA is on its root"
  elif mountpoint -q "$ROOT$DATA"; then
    say "$DATA is mounted"
  else
    local device
    device=$(volume_device) || die "$QUANTCLOUD_DATA_VOLUME was not attached within $VOLUME_WITHIN_S s"
    is_ours "$device" || format "$device"
    remember_mount
    mount "$ROOT$DATA"
    say "mounted $device on $DATA"
  fi
  folder "$DATA" 0755 root:root
  folder "$DATA/trader" 0750 quantcloud:quantcloud
  folder "$DATA/secrets" 0700 quantcloud:quantcloud
}

# The volume's id without its dash is the serial number of an NVMe disk.
volume_device() {
  local link=/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_${QUANTCLOUD_DATA_VOLUME/-/} ends=$((SECONDS + VOLUME_WITHIN_S))
  until [[ -b $link ]]; do
    ((SECONDS < ends)) || return 1
    sleep 2
  done
  readlink -f "$link"
}

# No partition, no file system, no signature of any kind.
is_blank() {
  [[ -b $1 ]] && (($(lsblk --noheadings --paths --output NAME "$1" | wc -l) == 1)) && [[ -z $(wipefs --noheadings --no-act "$1") ]]
}

is_ours() { [[ $(blkid -s LABEL -o value "$1") == "$LABEL" ]]; }

format() {
  is_blank "$1" || die "$1 holds something that is not labelled $LABEL: it is not formatted"
  say "formatting the blank disk $1"
  mkfs.ext4 -q -L "$LABEL" "$1"
}

remember_mount() {
  grep -q "^LABEL=$LABEL " "$ROOT/etc/fstab" || printf 'LABEL=%s %s ext4 defaults,noatime,nofail,x-systemd.device-timeout=60 0 2\n' "$LABEL" "$DATA" >> "$ROOT/etc/fstab"
  systemctl daemon-reload
}
