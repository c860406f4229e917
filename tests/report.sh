# report.sh - what test scripts share, read by them (`. tests/report.sh`) from the project's root: a folder of their own, which goes with
# them, counts, and the last line for tests/run.sh. BUILD, MODEL: as in the Makefile. Plain POSIX sh.
BUILD=${BUILD:-build}
MODEL=${MODEL:-models/all-MiniLM-L6-v2.int8.qrn}
NM=${NM:-nm}
PYTHON=${PYTHON:-python3}
work=$(mktemp -d "${TMPDIR:-/tmp}/quern-$(basename "$0" .sh).XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0

# report NAME CODE [OUTPUT]
report() {
  if [ "$2" = 0 ]; then
    echo "ok   $1"
    passed=$((passed + 1))
  else
    [ ! -s "${3:-/dev/null}" ] || sed 's/^/  /' "$3" | tail -n 20
    echo "FAIL $1"
    failed=$((failed + 1))
  fi
}
skip() { echo "skip $1"; }
# instrumented: the build is a sanitizer's, or its programs run in an emulator.
instrumented() { [ -n "${RUN:-}" ] || $NM -u "$BUILD/libquern.a" 2>/dev/null | grep -qE ' U __(asan|tsan|ubsan|msan)_'; }
have() { command -v "$1" >/dev/null 2>&1; }
finish() {
  echo "$passed passed, $failed failed"
  [ "$failed" = 0 ]
  exit
}
