#!/usr/bin/env bash
# Installs what this project needs and the machine lacks; says in one line what it cannot install, and fails then.
#   test/kit/setup.sh npm      the npm packages, built, and dist/ (a C++ compiler if zstd-napi has to be compiled)
#   test/kit/setup.sh tools    programs that the examples call: mkfs.ext4, debugfs, e2fsck
#   test/kit/setup.sh ceph     Ceph, radosgw and the tools of the tests; only as root on Debian or Ubuntu
#   test/kit/setup.sh bench    programs that `npm run bench` compares with: s3cmd, restic
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
export PATH=$PATH:/usr/sbin:/sbin
export DEBIAN_FRONTEND=noninteractive

has() { command -v "$1" > /dev/null 2>&1; }
can_install() { [ "$(id -u)" = 0 ] && has apt-get; }

# packages_for "package: program…" … installs the packages of which a program is missing.
packages_for() {
  local line missing=()
  for line in "$@"; do
    for program in ${line#*:}; do has "$program" || { missing+=("${line%%:*}"); break; }; done
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  if ! can_install; then
    echo "setup: missing ${missing[*]} (on Debian: apt-get install ${missing[*]})" >&2
    return 1
  fi
  echo "setup: apt-get install ${missing[*]}" >&2
  # The package list may be absent or old: fetch it once when the first try fails.
  local apt=(apt-get -qq -o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0)
  "${apt[@]}" install -y --no-install-recommends "${missing[@]}" < /dev/null > /dev/null 2>&1 ||
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } < /dev/null >&2
}

node_packages() {
  if ! has node || ! node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)'; then
    echo "setup: Node.js 20 or later is needed, found $(node -v 2> /dev/null || echo none) (https://nodejs.org)" >&2
    return 1
  fi
  # Installed already, of this lock file, and whatever was compiled loads?
  if ! { [ node_modules/.package-lock.json -nt package-lock.json ] && node -e 'require("zstd-napi"); require("lmdb")'; } 2> /dev/null; then
    packages_for 'g++: c++' 'make: make' 'python3: python3'
    # node-gyp would fetch node's headers from the network; most installations have them beside the program.
    local prefix
    prefix=$(dirname "$(dirname "$(node -p process.execPath)")")
    if [ -e "$prefix/include/node/node_version.h" ]; then export npm_config_nodedir=${npm_config_nodedir:-$prefix}; fi
    echo 'setup: npm ci (about a minute: zstd-napi may be compiled)' >&2
    npm ci --no-audit --no-fund --loglevel=error < /dev/null >&2
  fi
  if [ ! -e dist/cli/main.cjs ] || [ -n "$(find src package.json tsconfig*.json build.mjs -newer dist/cli/main.cjs -print -quit)" ]; then
    npm run --silent build >&2
  fi
}

case "${1:-}" in
  npm) node_packages ;;
  tools) packages_for 'e2fsprogs: mkfs.ext4 debugfs e2fsck' ;;
  ceph)
    packages_for 'ceph-mon: ceph-mon' 'ceph-mgr: ceph-mgr' 'ceph-osd: ceph-osd' 'ceph-common: ceph rbd rados' \
      'radosgw: radosgw radosgw-admin' 'qemu-utils: qemu-img qemu-io' 's3cmd: s3cmd' \
      'zstd: zstd' 'e2fsprogs: mkfs.ext4 debugfs e2fsck' 'xfsprogs: mkfs.xfs'
    if ! ldconfig -p | grep -q librbd.so.1; then echo 'setup: librbd.so.1 is missing (on Debian: apt-get install librbd1)' >&2; exit 1; fi
    /usr/bin/python3 -c 'import rados, rbd' || { echo 'setup: the Python module rbd is missing (on Debian: apt-get install python3-rbd)' >&2; exit 1; }
    ;;
  bench) packages_for 's3cmd: s3cmd' 'restic: restic' ;;
  *) echo 'setup.sh npm|tools|ceph|bench' >&2; exit 1 ;;
esac
