#!/usr/bin/env bash
# A backup from one cluster to another through a pipe. Here both are local pools, DIRECTORIES given as $1 and $2; with a
# Ceph it reads  rbdelta --cluster prod export-diff … | ssh backup-host rbdelta import-diff …
#   two-clusters.sh FROM TO pool/image OLD NEW        sends what changed from snapshot OLD to NEW; a full if OLD is '-'
set -euo pipefail
from=$1 to=$2 image=$3 old=$4 new=$5
rbdelta=${RBDELTA:-rbdelta}

since=(--from-snap "$old")
if [ "$old" = - ]; then
  since=()
  $rbdelta --cluster-dir "$to" create --size 1M "$image" # the stream says how large it must be
fi

# pipefail: when either end fails, this script fails. No half of a backup counts as one.
$rbdelta --cluster-dir "$from" export-diff --no-progress "${since[@]}" --compress zstd "$image@$new" - |
  $rbdelta --cluster-dir "$to" import-diff --no-progress - "$image"
