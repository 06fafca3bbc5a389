# shellcheck shell=bash
# What the steps share. QUANTCLOUD_ROOT is empty on a node; a test gives a folder instead of /.

ROOT=${QUANTCLOUD_ROOT:-}
SOURCE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck disable=SC2034 # of the steps
TEMPLATES=$SOURCE/templates
CHANGED=()

say() { printf 'bootstrap: %s\n' "$*"; }
warn() { printf '\n*** bootstrap: %s ***\n\n' "$*" >&2; }
die() {
  warn "$*"
  exit 1
}

# render TEMPLATE: each @NAME@ becomes the value of QUANTCLOUD_NAME; one that is not set is an error
render() { python3 "$SOURCE/bin/render" "$1"; }

# place TEMPLATE FILE [MODE [OWNER]]: writes it only when it differs, and then remembers it in CHANGED
place() {
  local template=$1 file=$ROOT$2 mode=${3:-0644} owner=${4:-root:root} rendered
  rendered=$(mktemp)
  render "$template" > "$rendered" || die "$template cannot be rendered"
  install -d "$(dirname "$file")"
  if ! cmp -s "$rendered" "$file"; then
    install -m "$mode" "$rendered" "$file"
    CHANGED+=("$2")
    say "wrote $2"
  fi
  rm -f "$rendered"
  chmod "$mode" "$file"
  own "$owner" "$file"
}

# has_changed FILE…: whether one of them was written by this run
has_changed() {
  local file changed
  for file in "$@"; do
    for changed in ${CHANGED[@]+"${CHANGED[@]}"}; do [[ $changed == "$file" ]] && return 0; done
  done
  return 1
}

# folder PATH MODE OWNER
folder() {
  install -d -m "$2" "$ROOT$1"
  own "$3" "$ROOT$1"
}

# own OWNER FILE: under a test's root there are no such users
own() { if [[ -z $ROOT ]]; then chown "$1" "$2"; fi; }

node_aws() { python3 "$SOURCE/bin/node-aws" "$@"; }
