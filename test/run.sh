#!/usr/bin/env bash
# All checks and tests, with all their set-up, from a fresh clone: npm packages; as root on Debian also Ceph and radosgw
# from apt, a cluster of one node on loopback in a temporary folder, gone again at the end. Where Ceph cannot be
# installed, the suites that need it are skipped, and named at the end; with CI=true that is a failure.
#   ./test/run.sh                           everything
#   ./test/run.sh test/interop -t striped   only these tests: arguments are vitest's
#   RBDELTA_TEST_ROUNDS=500 RBDELTA_TEST_SEED=7 ./test/run.sh test/random
# The last line counts tests, and types, lint and format as one each.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kit=test/kit
unset RBDELTA_DIR RBDELTA_TEST_CEPH RBDELTA_TEST_S3 CEPH_CONF CEPH_ARGS CEPH_KEYRING
for name in ${!AWS_*}; do unset "$name"; done

temp=$(mktemp -d "${TMPDIR:-/tmp}/rbdelta-test.XXXXXX")
running=
clean() {
  trap - EXIT INT TERM
  # vitest and all that its tests started are a process group
  if [ -n "$running" ]; then
    kill -TERM -- "-$running" 2> /dev/null
    for _ in $(seq 30); do kill -0 -- "-$running" 2> /dev/null && sleep 0.1; done
    kill -KILL -- "-$running" 2> /dev/null
  fi
  [ ! -e "$temp/ceph" ] || $kit/ceph-down.sh "$temp/ceph"
  rm -rf "$temp"
}
trap clean EXIT
trap 'clean; exit 130' INT
trap 'clean; exit 143' TERM

$kit/setup.sh npm || { echo '0 passed, 1 failed'; exit 1; }

skipped=()
if ! $kit/setup.sh ceph; then
  skipped+=('every suite on a real Ceph and on real S3: it is not installed, and only root on Debian can install it here')
elif ! lines=$($kit/ceph-up.sh "$temp/ceph" 2> "$temp/up.log"); then
  cat "$temp/up.log" >&2
  skipped+=('every suite on a real Ceph and on real S3: the cluster did not start, see above')
else
  eval "$lines"
  export RBDELTA_TEST_CEPH=1
  if lines=$($kit/rgw-up.sh "$temp/ceph" 2>> "$temp/up.log"); then
    eval "$lines"
    export RBDELTA_TEST_S3=1
  else
    tail -5 "$temp/up.log" >&2
    skipped+=('every suite on real S3: radosgw did not start, see above')
  fi
  grep ready "$temp/up.log"
fi

passed=0
failed=0
problems=()
if [ $# = 0 ]; then
  for check in types lint format; do
    if npm run --silent "$check"; then passed=$((passed + 1)); else failed=$((failed + 1)); problems+=("npm run $check"); fi
  done
fi

mkdir "$temp/tmp"
set -m
TMPDIR=$temp/tmp node node_modules/.bin/vitest run --reporter=default --reporter=json --outputFile.json="$temp/result.json" "$@" < /dev/null &
running=$!
set +m
wait $running
status=$?
running=

# Numbers from vitest's own result; a file that could not run at all, and a failure that no test owns, count as one each.
count=$(node -e '
  const [path, status] = process.argv.slice(1);
  let r; try { r = JSON.parse(require("fs").readFileSync(path, "utf8")); } catch { r = { testResults: [] }; }
  const tests = r.testResults.flatMap((file) => file.assertionResults.map((test) => ({ ...test, file: file.name })));
  const of = (...states) => tests.filter((test) => states.includes(test.status));
  const broken = r.testResults.filter((file) => file.status === "failed" && !file.assertionResults.some((test) => test.status === "failed"));
  const skips = of("pending", "skipped", "todo", "disabled");
  let failed = of("failed").length + broken.length;
  if (failed === 0 && (status !== "0" || tests.length === 0)) failed = 1;
  console.log(of("passed").length, failed, skips.length);
  const byFile = Map.groupBy?.(skips, (t) => t.file) ?? skips.reduce((m, t) => m.set(t.file, [...(m.get(t.file) ?? []), t]), new Map());
  for (const [file, list] of byFile) console.log(`${list.length} of ${require("path").relative(".", file)}, the first: ${list[0].fullName}`);
' "$temp/result.json" "$status")
read -r tests_passed tests_failed tests_skipped <<< "$count"
passed=$((passed + tests_passed))
failed=$((failed + tests_failed))

for problem in "${problems[@]}"; do echo "FAILED: $problem"; done
for reason in "${skipped[@]}"; do echo "SKIPPED: $reason"; done
tail -n +2 <<< "$count" | sed 's/^/SKIPPED: /'
if [ "${CI:-}" = true ] && [ $# = 0 ] && [ $((${#skipped[@]} + tests_skipped)) -gt 0 ]; then
  echo 'FAILED: with CI=true nothing may be skipped'
  failed=$((failed + 1))
fi
clean
echo "took $SECONDS s"
if [ "$tests_skipped" -gt 0 ]; then echo "$passed passed, $failed failed, $tests_skipped skipped"; else echo "$passed passed, $failed failed"; fi
[ "$failed" = 0 ]
