#!/bin/sh
# The tests on an emulated AArch64, and the instructions of its 8-bit products counted against their bars (docs/KERNELS.md).
# make check-qemu calls it: BUILD, the cross-compiled build; CROSS, QEMU, QEMU_X86, HOSTCC; TESTS, its test programs; X86_CHECKER,
# the kernel checker built for this machine, when that is an x86-64.
# Tests that start the command as a process of its own are left out: an emulator runs one program.
CROSS=${CROSS:-aarch64-linux-gnu-} QEMU=${QEMU:-qemu-aarch64} QEMU_X86=${QEMU_X86:-qemu-x86_64} HOSTCC=${HOSTCC:-cc}
export LC_ALL=C EMULATED=1 # tests leave out what the emulator cannot do
emulator="$QEMU -cpu max -L ${SYSROOT:-/usr/${CROSS%-}}"
failed=0

# ---- every test ----
programs=
for t in $TESTS; do case $t in */test_cli_*) ;; *) programs="$programs $t" ;; esac; done
# shellcheck disable=SC2086 # lists of words
BUILD=$BUILD RUN="$emulator" NM="${CROSS}nm" STRIP="${CROSS}strip" SIZE="${CROSS}size" \
  sh tests/run.sh $programs tests/test_tree.sh || failed=1

# ---- CPUs without the extensions must not meet their instructions ----
# older CPU EMULATOR CHECKER [SYSROOT]: some cases of every check, on the sets that this CPU has.
older() {
  if $2 -cpu "$1" ${4:+-L "$4"} "$3" --cases 5 >"$BUILD/cpu.log" 2>&1; then
    echo "ok   $1: $(tail -n 1 "$BUILD/cpu.log")"
  else
    tail -n 5 "$BUILD/cpu.log"
    echo "FAIL $1" && failed=1
  fi
}
for cpu in cortex-a57 cortex-a76; do older $cpu "$QEMU" "$BUILD/tests/test_kernels" "${SYSROOT:-/usr/${CROSS%-}}"; done
if [ -n "$X86_CHECKER" ] && command -v "$QEMU_X86" >/dev/null; then
  for cpu in Conroe Penryn Haswell; do older $cpu "$QEMU_X86" "$X86_CHECKER"; done
else
  echo "skip older x86-64: no $QEMU_X86, or another machine"
fi

# ---- instructions ----
plugin=$BUILD/libinsn.so
if ! $HOSTCC -O2 -shared -fPIC -o "$plugin" tests/qemu/insn.c; then
  echo "FAIL plugin" && exit 1
fi
# gate ISA BAR COLUMN PER [GROUP]: executed instructions of the tiles and of the packing, and the exact number of the wanted
# kind; with GROUP of 4-bit weights.
gate() {
  # shellcheck disable=SC2086 # lists of words, and one that may be absent
  if ! $emulator -plugin "$plugin" -d plugin "$BUILD/tests/one_gemm" "$1" 132 384 384 $5 2>"$BUILD/count.log"; then
    cat "$BUILD/count.log"
    echo "FAIL instructions of $1" && failed=1
    return
  fi
  awk -v isa="$1${5:+, 4 bits, groups of $5}" -v bar="$2" -v column="$3" -v per="$4" '
    $1 == "count" { wanted += $column }
    $1 == "count" && ($2 ~ /^qk_tile_/ || $2 ~ /^qk_packed_/) { n += $3 }
    $1 == "count" && ($2 ~ /^qk_/ || $2 ~ /^gemm_q8/) { whole += $3 }
    END {
      mac = 132 * 384 * 384
      good = n > 0 && n / mac <= bar && wanted == mac / per
      printf "%s instructions of %s: %.4f per multiply-add (%.4f at most), %.4f with the epilogue; dot or matrix: %d, MAC / %d is %d\n",
        good ? "ok  " : "FAIL", isa, n / mac, bar, whole / mac, wanted, per, mac / per
      exit !good
    }' "$BUILD/count.log" || failed=1
}
gate dotprod 0.080 4 16
gate i8mm 0.050 5 32
gate i8mm 0.080 5 32 32
gate i8mm 0.065 5 32 128
gate dotprod 0.150 4 16 32

[ $failed = 0 ] && echo "check-qemu: good" || echo "check-qemu: failed"
exit $failed
