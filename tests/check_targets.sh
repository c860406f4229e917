#!/bin/sh
# Everything compiles for Android, macOS and iOS by the make variables of docs/KERNELS.md, without a warning, as far as clang
# without their headers can tell: those of another C library for AArch64 stand in. What Apple's systems lack is not asked
# for. Nothing is linked or run. Run from the project's root. BUILD: as in the Makefile; objects go to $BUILD-NAME and are
# kept. CLANG, SYSROOT: a clang, and where the headers are.
CLANG=${CLANG:-clang}
SYSROOT=${SYSROOT:-/usr/aarch64-linux-gnu}
MAKE=${MAKE:-make}
. tests/report.sh

if ! have "$CLANG"; then
  skip "other targets: no $CLANG"
  finish
fi
if [ ! -f "$SYSROOT/include/stdio.h" ]; then
  skip "other targets: no headers of a C library for AArch64 in $SYSROOT/include (Debian: libc6-dev-arm64-cross)"
  finish
fi
builtin=$("$CLANG" -print-resource-dir)/include
include="-nostdinc -isystem $builtin"
# What Linux alone has is no header on Apple's systems; clang's own name for a qualifier there is an attribute of the C library's.
for f in sys/auxv.h sys/sendfile.h sys/epoll.h sys/syscall.h sys/prctl.h malloc.h linux/limits.h; do
  mkdir -p "$work/apple/$(dirname $f)"
  echo '#error "no such header on this system"' >"$work/apple/$f"
done
linux="$include -isystem $SYSROOT/include"
apple="$include -isystem $work/apple -isystem $SYSROOT/include -U__nonnull"
echo 'int main(void) { return 0; }' >"$work/empty.c"

# target NAME TRIPLE INCLUDES: builds objects; kernel sets for AArch64 are in.
target() {
  if ! "$CLANG" --target="$2" -c -o "$work/empty.o" "$work/empty.c" 2>/dev/null; then
    skip "$1: this clang has no target $2"
    return 1
  fi
  ar=ar
  have llvm-ar && ar=llvm-ar
  "$MAKE" --no-print-directory CC="$CLANG --target=$2 $3" AR=$ar BUILD="$BUILD-$1" CROSS= SAN= objects >"$work/out" 2>&1
  report "${1}_compiles" $? "$work/out"
  if have llvm-nm; then
    llvm-nm "$BUILD-$1/libquern.a" >"$work/symbols" 2>/dev/null
    for set in neon dotprod i8mm; do grep -qE " [DRS] _?qk_isa_$set$" "$work/symbols" || echo "no kernel set $set"; done >"$work/out"
    [ ! -s "$work/out" ]
    report "${1}_has_its_kernels" $? "$work/out"
  else
    skip "${1}_has_its_kernels: no llvm-nm"
  fi
}
# portable NAME: nothing that Linux or its C library alone has is called.
portable() {
  have llvm-nm || return
  llvm-nm -u "$BUILD-$1/libquern.a" "$BUILD-$1"/src/cli/*.o 2>/dev/null |
    grep -xE ' *U _(getauxval|sched_[gs]etaffinity|pthread_[gs]etaffinity_np|memrchr|mempcpy|strchrnul|rawmemchr|qsort_r|fallocate|posix_fallocate|pipe2|dup3|accept4|renameat2|copy_file_range|sendfile|mremap|memfd_create|syscall|prctl|gettid|get_nprocs|secure_getenv|canonicalize_file_name|asprintf|clock_nanosleep|pthread_tryjoin_np|sem_timedwait|epoll_.*|eventfd|inotify_.*|signalfd|timerfd_.*)' |
    sort -u >"$work/out"
  [ ! -s "$work/out" ]
  report "${1}_calls_nothing_of_linux" $? "$work/out"
}

target android aarch64-linux-android24 "$linux"
# -mcpu, as documented: what an iOS build knows of its CPU is what the compiler is told.
target macos arm64-apple-macos11 "$apple" && portable macos
target ios "arm64-apple-ios14 -mcpu=apple-a14" "$apple" && portable ios

# The stand-in can tell: a header of Linux's is an offence on Apple's systems, a warning is an error.
printf '#include <sys/auxv.h>\nint main(void) { return 0; }\n' >"$work/bad.c"
# shellcheck disable=SC2086 # lists of words
! "$CLANG" --target=arm64-apple-macos11 $apple -fsyntax-only "$work/bad.c" >"$work/out" 2>&1 && grep -q 'no such header' "$work/out"
report offence_is_seen $? "$work/out"
finish
