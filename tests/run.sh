#!/bin/sh
# Runs test programs and scripts, each of which ends with "N passed, N failed", and prints the sum. RUN: a wrapper (qemu, valgrind).
passed=0 failed=0
for t in "$@"; do
  name=$(basename "$t")
  case $t in
    *.sh) out=$(sh "$t" 2>&1); code=$? ;;
    *) out=$($RUN "$t" 2>&1); code=$? ;;
  esac
  line=$(printf '%s\n' "$out" | grep -E '^[0-9]+ passed, [0-9]+ failed$' | tail -n 1)
  p=${line%% passed*} f=${line##*, } f=${f%% failed*}
  if [ -z "$line" ] || { [ $code -ne 0 ] && [ "$f" = 0 ]; }; then
    p=${p:-0} f=$((${f:-0} + 1))
    printf '%s\n' "$out" | tail -n 20
    echo "$name: ended with code $code"
  elif [ "$f" != 0 ]; then
    printf '%s\n' "$out" | grep -v '^ok '
  fi
  echo "$name: $p passed, $f failed" >&2
  passed=$((passed + p)) failed=$((failed + f))
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
