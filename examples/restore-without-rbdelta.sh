#!/usr/bin/env bash
# If rbdelta is gone: a point of a repository restored by zstd and rbd, or, where there is no Ceph, by zstd and Python.
#   restore-without-rbdelta.sh FOLDER POINT POOL/IMAGE      to an image that is there and empty (rbd create --size 1 …)
#   restore-without-rbdelta.sh FOLDER POINT file:PATH       to a new raw file
# FOLDER is that of the image in the repository, as /backups/volumes/vm-1. One on S3 is fetched before:
#   s3cmd get --recursive s3://backups/prod/volumes/vm-1/ vm-1/
set -euo pipefail
folder=$1 point=$2 target=$3

# The files of each point that it builds on, as their manifests name them, the full first; an empty line ends a point.
files=$(python3 - "$folder" "$point" << 'END'
import json, sys
folder, point = sys.argv[1:]
lines = []
while point is not None:
    with open(f'{folder}/{point}/manifest.json') as file:
        manifest = json.load(file)
    lines = [f'{folder}/{point}/{segment["name"]}' for segment in manifest['segments']] + [''] + lines
    point = manifest['base'] and manifest['base']['point']
print('\n'.join([*lines, '.']))
END
)

if [[ $target == file:* ]]; then
  grep / <<< "$files" | tr '\n' '\0' | xargs -0 cat | zstd -d | python3 "$(dirname "$0")/apply-diffs.py" "${target#file:}"
  exit
fi
# Each point is a diff stream of its own: `rbd import-diff` takes one at a time.
segments=()
while IFS= read -r file; do
  if [[ $file == */* ]]; then
    segments+=("$file")
  elif [ ${#segments[@]} != 0 ]; then
    cat "${segments[@]}" | zstd -d | rbd import-diff --no-progress - "$target"
    segments=()
  fi
done <<< "$files"
