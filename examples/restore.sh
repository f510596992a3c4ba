#!/usr/bin/env bash
# Three ways back from a repository, the last one without rbdelta.
#   restore.sh REPOSITORY POOL/IMAGE DIRECTORY      writes three raw files into DIRECTORY, which must be the same
# (A restore to Ceph is  rbdelta restore REPOSITORY pool/image@latest pool/image-restored.)
set -euo pipefail
repository=$1 image=$2 into=$3
rbdelta=${RBDELTA:-rbdelta}
mkdir -p "$into"

$rbdelta restore "$repository" "$image@latest" "file:$into/by-restore.raw"
$rbdelta restore "$repository" "$image@latest" - > "$into/by-pipe.raw"

# Of a repository in a directory: each point of the chain is a diff stream, oldest first. On a Ceph,
# `zstd -d | rbd import-diff - pool/image` takes the place of the last command.
chain=$($rbdelta repo show --json "$repository" "$image@latest" |
  node -e 'console.log(JSON.parse(require("fs").readFileSync(0)).chain.map((one) => one.point ?? one).join("\n"))')
for point in $chain; do
  cat "$repository/$image/$point"/*.rbdiff.zst | zstd -d
done | $rbdelta import-diff - "file:$into/by-hand.raw"

cmp "$into/by-restore.raw" "$into/by-pipe.raw"
cmp "$into/by-restore.raw" "$into/by-hand.raw"
