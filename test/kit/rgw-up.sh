#!/usr/bin/env bash
# Starts radosgw, a real S3 server, on a free loopback port against the cluster that ceph-up.sh made in DIR. Prints the
# environment that the AWS SDK reads. ceph-down.sh stops it.
#   eval "$(test/kit/rgw-up.sh /tmp/my-ceph)"
set -euo pipefail
DIR=$(cd "${1:?the folder of the cluster}" && pwd)
export CEPH_CONF=$DIR/ceph.conf
NAME=client.rgw.test
RGW=$DIR/rgw
started=$SECONDS
mkdir -p "$RGW/data"
as=(); [ "$(id -u)" != 0 ] || as=(--setuser root --setgroup root)
ask() { timeout 60 ceph --connect-timeout 30 "$@"; }
trap 'status=$?; [ $status = 0 ] || { echo "rgw-up: failed, see $RGW/radosgw.log" >&2; kill "$(cat "$DIR/run/radosgw.pid" 2> /dev/null)" 2> /dev/null; }; exit $status' EXIT

ask auth get-or-create $NAME mon 'allow rw' osd 'allow rwx' mgr 'allow rw' -o "$RGW/keyring" >&2
# Its pools are made here, with few PGs.
for pool in .rgw.root default.rgw.{log,control,meta,buckets.index,buckets.data,buckets.non-ec}; do
  ask osd pool create "$pool" 4 4 >&2
done

# Without tcp_nodelay every answer that is not the first of its connection waits 40 ms for an acknowledgement.
PORT=$(node -e 'const s = require("node:net").createServer(); s.listen(0, "127.0.0.1", () => { console.log(s.address().port); s.close(); });')
ENDPOINT=http://127.0.0.1:$PORT
radosgw -c "$CEPH_CONF" -n $NAME --keyring "$RGW/keyring" "${as[@]}" --rgw-data "$RGW/data" \
  --rgw-frontends "beast endpoint=127.0.0.1:$PORT tcp_nodelay=1" --log-file "$RGW/radosgw.log" --admin-socket "$DIR/run/radosgw.asok" \
  --pid-file "$DIR/run/radosgw.pid" --rgw-dns-name localhost >&2
answers() { node -e 'fetch(process.argv[1]).then(() => process.exit(0), () => process.exit(1))' "$ENDPOINT/"; }
for _ in $(seq 200); do
  if answers; then break; fi
  sleep 0.3
done
answers

user=$(timeout 60 radosgw-admin user create --uid rbdelta --display-name rbdelta 2> /dev/null)
read -r key secret < <(node -e 'const [k] = JSON.parse(process.argv[1]).keys; console.log(k.access_key, k.secret_key)' "$user")

echo "rgw-up: ready after $((SECONDS - started)) s at $ENDPOINT" >&2
echo "export AWS_ACCESS_KEY_ID=$key AWS_SECRET_ACCESS_KEY=$secret AWS_REGION=us-east-1 AWS_ENDPOINT_URL=$ENDPOINT"
