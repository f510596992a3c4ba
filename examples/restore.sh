#!/usr/bin/env bash
# For whoever has to restore at 3 a.m. and did not set the backups up. Nothing that is there is overwritten.
#   restore.sh REPOSITORY                      which images there are
#   restore.sh REPOSITORY POOL/IMAGE           which points of it (of a raw file: file:PATH)
#   restore.sh REPOSITORY POINT [TARGET]       to a new image, beside the old one unless TARGET says where (or file:PATH);
#                                              of a raw file, to a new one beside it
# A POINT is an id, or POOL/IMAGE@latest, @2026-11-20, @2026-11-20T13:05, @3d (three days ago). All times are UTC.
set -euo pipefail
repository=${1:?the repository: a directory or s3://bucket/prefix} what=${2:-} target=${3:-}
rbdelta=${RBDELTA:-rbdelta}

if [ -z "$what" ]; then
  exec $rbdelta repo list --images "$repository"
elif [[ $what != *@* && ! $what =~ ^[0-9]{8}T[0-9]{6}Z- ]]; then
  exec $rbdelta repo list "$repository" "$what"
fi

show=$($rbdelta repo show --json "$repository" "$what")
read -r point image < <(node -e '
  const { image, point } = JSON.parse(process.argv[1]).manifest;
  const isFile = image.pool === "file" && image.name.startsWith("/");
  console.log(point, isFile ? `file:${image.name}` : [image.pool, image.namespace, image.name].filter(Boolean).join("/"))' "$show")
target=${target:-$image-restored-${point%%Z-*}}

# What is damaged is known before an hour has gone by.
$rbdelta repo verify --level audit "$repository" "$point"
$rbdelta restore "$repository" "$point" "$target"
echo "$image as it was at $point is now $target"
