# shellcheck shell=bash
# The data volume: found by its label, formatted only when there is nothing at all on it.

LABEL=quantcloud-data
DATA=/var/lib/quantcloud
VOLUME_WITHIN_S=60

data_volume() {
  install -d "$ROOT$DATA"
  if mountpoint -q "$ROOT$DATA"; then
    say "$DATA is mounted"
  else
    local device
    device=$(labelled_or_blank_device) || die "no data volume: none is labelled $LABEL and no blank disk is attached"
    is_ours "$device" || format "$device"
    remember_mount
    mount "$DATA"
    say "mounted $device on $DATA"
  fi
  folder "$DATA" 0755 root:root
  folder "$DATA/trader" 0750 quantcloud:quantcloud
  folder "$DATA/secrets" 0700 quantcloud:quantcloud
}

labelled_or_blank_device() {
  local ends=$((SECONDS + VOLUME_WITHIN_S))
  while ((SECONDS < ends)); do
    blkid -L "$LABEL" && return 0
    only_blank_disk && return 0
    sleep 2
  done
  return 1
}

# Blank: a whole disk with no partition, no file system, no signature of any kind, mounted nowhere. Two of them: a person decides.
only_blank_disk() {
  local disk blank=()
  while read -r disk; do
    is_blank "$disk" && blank+=("$disk")
  done < <(lsblk --nodeps --noheadings --paths --output NAME,TYPE | awk '$2 == "disk" {print $1}')
  ((${#blank[@]} <= 1)) || die "several blank disks (${blank[*]}): label the one for data: mkfs.ext4 -L $LABEL DEVICE"
  ((${#blank[@]} == 1)) && printf '%s\n' "${blank[0]}"
}

is_blank() {
  [[ -b $1 ]] && (($(lsblk --noheadings --paths --output NAME "$1" | wc -l) == 1)) && [[ -z $(wipefs --noheadings --no-act "$1") ]]
}

is_ours() { [[ $(blkid -s LABEL -o value "$1") == "$LABEL" ]]; }

format() {
  is_blank "$1" || die "$1 is not blank: it is not formatted"
  say "formatting the blank disk $1"
  mkfs.ext4 -q -L "$LABEL" "$1"
}

remember_mount() {
  grep -q "^LABEL=$LABEL " /etc/fstab || printf 'LABEL=%s %s ext4 defaults,noatime,nofail,x-systemd.device-timeout=60 0 2\n' "$LABEL" "$DATA" >> /etc/fstab
  systemctl daemon-reload
}
