#!/usr/bin/env bash
# The main job, for real, without a Ceph: a disk with a file system, two snapshots, a full and an incremental backup
# into another pool, and proofs that nothing was lost. Sets everything up itself on a fresh clone.
#   ./examples/quickstart.sh                          in a temporary folder, removed at the end
#   RBDELTA_DIR=~/pool ./examples/quickstart.sh       in a local pool that stays, to look at
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$PATH:/usr/sbin:/sbin
"$root/test/kit/setup.sh" npm
"$root/test/kit/setup.sh" tools

temp=$(mktemp -d "${TMPDIR:-/tmp}/rbdelta-quickstart.XXXXXX")
trap 'status=$?; rm -rf "$temp"; [ $status = 0 ] || echo "quickstart: FAILED (status $status)" >&2; exit $status' EXIT
export RBDELTA_DIR=${RBDELTA_DIR:-$temp/pool}
cd "$temp"

rbdelta() { node "$root/dist/cli/main.cjs" "$@"; }
step() { printf '\n\033[1m%s\033[0m\n' "$1"; }
say() { printf '  %s\n' "$@"; }
# Shows a command as one would type it, then runs it.
try() { printf '  $ %s\n' "$*"; "$@" 2>&1 | sed 's/^/    /'; }
size() { numfmt --to=iec --suffix=B "$(stat -c %s "$1")"; }
same() {
  if [ "$2" != "$3" ]; then echo "  NOT equal: $1" >&2; exit 1; fi
  say "equal: $1"
}
sum() { rbdelta export --no-progress "$1" - | sha256sum | cut -c1-64; }

step '1. A disk: ext4 with real files, in a raw file, 128 MiB'
mkdir files
cp -r "$root/src" "$root/LICENSE" files/
head -c 12M /dev/urandom > files/database
head -c 3M /dev/urandom > files/old-log
truncate -s 128M disk.raw
mkfs.ext4 -q -F -d files -L vm-1 -E lazy_itable_init=0,hash_seed=11111111-2222-3333-4444-555555555555 disk.raw
say "$(find files -type f | wc -l) files, $(du -sh --apparent-size files | cut -f1)"

step '2. It becomes the image volumes/vm-1 of a local pool: a directory that works as Ceph RBD does'
try rbdelta pool create volumes
try rbdelta pool create backups
try rbdelta import --no-progress disk.raw volumes/vm-1
try rbdelta snap create volumes/vm-1@monday
try rbdelta info volumes/vm-1

step '3. First backup, a full: everything that monday has'
try rbdelta create --size 128M backups/vm-1
say '$ rbdelta export-diff volumes/vm-1@monday - | rbdelta import-diff - backups/vm-1'
rbdelta export-diff --no-progress volumes/vm-1@monday - | tee monday.diff | rbdelta import-diff --no-progress - backups/vm-1
say "the stream: $(size monday.diff), of a disk of 128M: only what was ever written, and no zeros"

step '4. The guest works: a file more, a file less, one row of the database changed'
cp disk.raw before.raw
echo 'three dollars' > note
debugfs -w -R 'write note note' disk.raw > /dev/null 2>&1
debugfs -w -R 'rm old-log' disk.raw > /dev/null 2>&1
block=$(debugfs -R 'bmap database 700' disk.raw 2> /dev/null | tail -1)
bytes=$(dumpe2fs -h disk.raw 2> /dev/null | sed -n 's/^Block size: *//p')
printf 'one row' | dd of=disk.raw bs="$bytes" seek="$block" conv=notrunc status=none
# In real life the guest writes to its image. Here the blocks that differ go there as a diff stream made by hand:
# read blocks-that-differ.mjs, it is the whole format in 30 lines.
say '$ node examples/blocks-that-differ.mjs before.raw disk.raw monday tuesday | rbdelta import-diff - volumes/vm-1'
node "$root/examples/blocks-that-differ.mjs" before.raw disk.raw monday tuesday | rbdelta import-diff --no-progress - volumes/vm-1
try rbdelta snap ls volumes/vm-1

step '5. Second backup, an increment: what changed from monday to tuesday'
say '$ rbdelta export-diff --from-snap monday volumes/vm-1@tuesday - | rbdelta import-diff - backups/vm-1'
rbdelta export-diff --no-progress --from-snap monday volumes/vm-1@tuesday - | tee tuesday.diff | rbdelta import-diff --no-progress - backups/vm-1
try rbdelta inspect tuesday.diff
say "the disk 128M, the full $(size monday.diff), the increment $(size tuesday.diff)"

step '6. Proofs'
same 'volumes/vm-1@tuesday and the disk as the guest left it' "$(sum volumes/vm-1@tuesday)" "$(sha256sum < disk.raw | cut -c1-64)"
same 'backups/vm-1@monday and volumes/vm-1@monday' "$(sum backups/vm-1@monday)" "$(sum volumes/vm-1@monday)"
same 'backups/vm-1@tuesday and volumes/vm-1@tuesday' "$(sum backups/vm-1@tuesday)" "$(sum volumes/vm-1@tuesday)"
rbdelta export --no-progress backups/vm-1@tuesday restored.raw
e2fsck -fn restored.raw > fsck.log 2>&1 || { cat fsck.log; exit 1; }
say "the file system on the restored disk is clean: $(tail -1 fsck.log)"
same 'the new file, read from the restored disk' "$(debugfs -R 'cat note' restored.raw 2> /dev/null)" "$(cat note)"

step '7. And when the line breaks in the middle?'
say '$ head -c -100 tuesday.diff | rbdelta import-diff - backups/copy'
rbdelta create --size 128M backups/copy
rbdelta import-diff --no-progress monday.diff backups/copy
status=0
head -c -100 tuesday.diff | rbdelta import-diff --no-progress - backups/copy 2>&1 | sed 's/^/    /' || status=$?
[ "$status" = 74 ] || { echo "  a truncated stream ended with status $status, not 74" >&2; exit 1; }
same 'backups/copy, after the refusal, and monday' "$(sum backups/copy)" "$(sum backups/vm-1@monday)"

step 'All proofs hold.'
say 'On a Ceph the same commands work on its pools: rbdelta doctor says which one a command means here.'
