#!/usr/bin/env bash
# Starts a Ceph cluster of one node on loopback: 1 mon, 1 mgr, 1 bluestore OSD on a sparse file, every file in DIR, free
# ports. Prints `export CEPH_CONF=…`. Pools: volumes, backups, data (8 PGs each). Stop it with ceph-down.sh DIR.
#   eval "$(test/kit/ceph-up.sh /tmp/my-ceph)"      progress goes to stderr; nothing stays running if it fails
set -euo pipefail
KIT=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "${1:?the folder of the new cluster}"
DIR=$(cd "$1" && pwd)
[ ! -e "$DIR/ceph.conf" ] || { echo "ceph-up: $DIR holds a cluster already" >&2; exit 17; }
trap 'status=$?; [ $status = 0 ] || { echo "ceph-up: failed, see $DIR/*.log" >&2; "$KIT/ceph-down.sh" "$DIR"; }; exit $status' EXIT
cd "$DIR"
mkdir -p run mon.a mgr.x osd.0
started=$SECONDS

# Run as root, daemons would become the user `ceph`, who may not enter DIR.
as=(); [ "$(id -u)" != 0 ] || as=(--setuser root --setgroup root)

# The monitor's two ports, chosen by the kernel; mgr and OSD look for free ones themselves.
ports() {
  node -e 'const net = require("node:net"); const a = net.createServer(), b = net.createServer();
    a.listen(0, "127.0.0.1", () => b.listen(0, "127.0.0.1", () => { console.log(a.address().port, b.address().port); a.close(); b.close(); }));'
}

configure() {
  read -r v2 v1 < <(ports)
  FSID=$(cat /proc/sys/kernel/random/uuid)
  cat > ceph.conf <<CONF
[global]
fsid = $FSID
mon host = v2:127.0.0.1:$v2/0,v1:127.0.0.1:$v1/0
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
mon warn on pool no app = false
run dir = $DIR/run
pid file = $DIR/run/\$name.pid
log file = $DIR/\$name.log
admin socket = $DIR/run/\$name.\$pid.asok
mon data = $DIR/mon.a
osd data = $DIR/osd.\$id
mgr data = $DIR/mgr.x
osd objectstore = bluestore
bluestore block size = ${CEPH_UP_BYTES:-$((40 << 30))}
bluestore block path =
osd memory target = 1610612736
osd max object name len = 1024
# Removed snapshots are trimmed at once: by default 5 s after each other on what says it is a rotating disk.
osd snap trim sleep = 0.001
osd delete sleep = 0.001
paxos propose interval = 0.05
mgr initial modules =
mgr/devicehealth/enable_monitoring = false
[mon]
admin socket = $DIR/run/\$name.asok
mon cluster log file = $DIR/cluster.log
mon data avail warn = 1
mon data avail crit = 0
[mgr]
admin socket = $DIR/run/\$name.asok
[osd]
admin socket = $DIR/run/\$name.asok
[client]
keyring = $DIR/keyring
admin socket =
log file =
pid file =
CONF
  monmaptool --create --clobber --fsid "$FSID" --addv a "[v2:127.0.0.1:$v2,v1:127.0.0.1:$v1]" monmap > /dev/null
}

ceph-authtool --create-keyring keyring --gen-key -n mon. --cap mon 'allow *' > /dev/null
ceph-authtool keyring --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'

# Another program may take a port between the choice and the start: then choose again.
for try in 1 2 3; do
  configure
  rm -rf mon.a && mkdir mon.a
  ceph-mon -c ceph.conf -i a --mkfs --monmap monmap --keyring keyring "${as[@]}" >&2
  if ceph-mon -c ceph.conf -i a "${as[@]}" >&2; then break; fi
  [ "$try" != 3 ]
done
export CEPH_CONF=$DIR/ceph.conf
ask() { timeout 60 ceph --connect-timeout 30 "$@"; }

ask auth get-or-create mgr.x mon 'allow profile mgr' osd 'allow *' mds 'allow *' -o mgr.x/keyring >&2
ceph-mgr -c ceph.conf -i x "${as[@]}" >&2

uuid=$(cat /proc/sys/kernel/random/uuid)
[ "$(ask osd new "$uuid")" = 0 ]
ask auth get-or-create osd.0 mon 'allow profile osd' mgr 'allow profile osd' osd 'allow *' -o osd.0/keyring >&2
ceph-osd -c ceph.conf -i 0 --mkfs --osd-uuid "$uuid" "${as[@]}" > osd-mkfs.log 2>&1 || { tail -5 osd-mkfs.log >&2; exit 1; }
ceph-osd -c ceph.conf -i 0 "${as[@]}" >&2

for pool in volumes backups data; do ask osd pool create "$pool" 8 8 >&2; done
waits=()
for pool in volumes backups data; do timeout 120 rbd pool init "$pool" >&2 & waits+=($!); done
for pid in "${waits[@]}"; do wait "$pid"; done

echo "ceph-up: ready after $((SECONDS - started)) s in $DIR" >&2
echo "export CEPH_CONF=$DIR/ceph.conf"
