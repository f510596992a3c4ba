#!/usr/bin/env bash
# Stops what ceph-up.sh and rgw-up.sh started in DIR, by its pid files, and waits until it is gone. `--remove` also
# removes DIR. Never fails because something is gone already; touches no process that was not started for DIR.
#   test/kit/ceph-down.sh DIR [--remove]
set -uo pipefail
DIR=$(cd "${1:?the folder of the cluster}" 2> /dev/null && pwd) || exit 0

# A pid may belong to somebody else by now: ours has files of DIR open. (A zombie has none: it counts as gone.)
ours() { readlink "/proc/$1/cwd" "/proc/$1"/fd/* 2> /dev/null | grep -qF "$DIR/"; }

# Nothing here is kept, so the daemons need no orderly end.
stop() {
  local pid
  pid=$(cat "$1" 2> /dev/null) && [ -n "$pid" ] || return 0
  for _ in $(seq 300); do
    ours "$pid" || return 0
    kill -KILL "$pid" 2> /dev/null
    sleep 0.1
  done
  echo "ceph-down: process $pid of $1 does not end" >&2
}

for name in radosgw osd.0 mgr.x mon.a; do stop "$DIR/run/$name.pid"; done

if [ "${2:-}" = --remove ]; then rm -rf "$DIR"; fi
exit 0
