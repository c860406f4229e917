#!/bin/sh
# The shape of the tree and of the library that was built: direction of includes, file sizes and openings, the public
# header in every dialect, exported and imported symbols, no mutable globals, size. Run from the project's root.
# BUILD: the build folder. A check whose tool is missing, or that a sanitizer's build makes meaningless, is skipped.
BUILD=${BUILD:-build}
NM=${NM:-nm} STRIP=${STRIP:-strip} SIZE=${SIZE:-size}
LC_ALL=C
export LC_ALL
work=$(mktemp -d "${TMPDIR:-/tmp}/quern-tree.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
: >"$work/results"

# check NAME: passes when standard input is empty; what comes in are the offences.
check() {
  sed 's/^/  /' >"$work/found"
  if [ -s "$work/found" ]; then
    head -n 20 "$work/found"
    echo "FAIL $1"
  else
    echo "ok   $1"
  fi | tee -a "$work/results"
}
skip() { echo "skip $1"; }

find include kernels src tests bench examples tools .ci -type f \
  \( -name '*.[ch]' -o -name '*.sh' -o -name '*.py' -o -path '.ci/*' \) 2>/dev/null | sort >"$work/files"
grep '\.[ch]$' "$work/files" >"$work/sources"
grep -E '^(include|kernels|src)/' "$work/sources" >"$work/library"

# ---- the sources ----
{ sh tools/check_includes.sh; [ $? -le 1 ] || echo "tools/check_includes.sh broke"; } 2>&1 | check includes
# The checker must see an offence.
mkdir -p "$work/bad/kernels" "$work/bad/src/base" "$work/bad/src/cli"
echo '#include "base/env.h"' >"$work/bad/kernels/x.c"
echo '#include "model/model.h"' >"$work/bad/src/base/y.c"
echo '#include <quern.h>' >"$work/bad/src/cli/z.c"
(root=$PWD && cd "$work/bad" && sh "$root/tools/check_includes.sh") >"$work/seen" 2>&1
for offence in kernels/x.c src/base/y.c src/cli/z.c; do
  grep -q "^$offence:1: " "$work/seen" || echo "$offence was not refused"
done | check includes_refused

sed 's,.*/,,' "$work/library" | sort | uniq -d | check unique_basenames

# A table made by a script of the tree says so in its first lines and may be long.
while read -r f; do
  if head -n 3 "$f" | grep -q 'made by tools/'; then
    script=$(sed -n '1,3s,.*made by \(tools/[A-Za-z0-9_./]*[A-Za-z0-9_]\).*,\1,p' "$f" | head -n 1)
    [ -f "$script" ] || echo "$f: made by $script, which is not in the tree"
  else
    n=$(awk 'END { print NR }' "$f")
    [ "$n" -le 600 ] || echo "$f: $n lines, 600 at most"
  fi
done <"$work/files" | check file_lengths

while read -r f; do
  case $(head -n 1 "$f") in
    '/*'* | '//'*) ;;
    *) echo "$f: does not open with a comment that says its job" ;;
  esac
done <"$work/sources" | check opening_comments

# Brackets keep these lines from finding themselves; /home/someone/ is what tests call a path of somebody else's.
xargs grep -nE '(/[h]ome/|/[U]sers/|/[r]oot/|/[w]ork/|/tmp/[w]/)' <"$work/files" |
  grep -v '/[h]ome/someone/' | check machine_paths
grep -nE '(/[h]ome/|/[U]sers/|/[r]oot/|/[w]ork/|/tmp/[w]/)' Makefile *.md docs/*.md models/NOTICE 2>/dev/null | check machine_paths_in_pages
xargs grep -nE '(^|[^A-Z_])(TO[D]O|FIX[M]E|XX[X])([^A-Za-z_]|$)' <"$work/files" | check unfinished_marks
xargs grep -nE '[[:blank:]]+$' <"$work/sources" | check trailing_blanks

# ---- the public header, alone, in every dialect ----
printf '#include "quern.h"\nint main(void) { return quern_version() != QUERN_VERSION_NUMBER; }\n' >"$work/alone.c"
cp "$work/alone.c" "$work/alone.cc"
first() { for c; do command -v "${c%% *}" >/dev/null 2>&1 && { echo "$c"; return; }; done; }
cc=$(first "${CC:-gcc}" gcc cc clang)
cxx=$(first "${CXX:-g++}" g++ c++ clang++)
for std in c99 c11; do
  $cc -std=$std -pedantic -Wall -Wextra -Wconversion -Wundef -Wstrict-prototypes -Werror -Iinclude -fsyntax-only \
    "$work/alone.c" 2>&1 | check "header_$std"
done
if [ -n "$cxx" ]; then
  $cxx -std=c++11 -pedantic -Wall -Wextra -Wconversion -Wundef -Werror -Iinclude -fsyntax-only "$work/alone.cc" 2>&1 |
    check header_cxx11
else
  skip "header_cxx11: no C++ compiler"
fi

# ---- the library ----
so=$BUILD/libquern.so lib=$BUILD/libquern.a
if [ ! -f "$so" ] || [ ! -f "$lib" ]; then
  echo "$so and $lib are not built" | check library_is_there
elif ! command -v "$NM" >/dev/null 2>&1 || ! $NM -D "$so" >"$work/dynamic" 2>/dev/null; then
  skip "symbols: no $NM that reads $so"
else
  # A symbol's version, name@@NODE, is not its name; a node itself is no symbol (A). _init and the like are the linker's.
  sed 's/@.*//' "$work/dynamic" | awk '$2 ~ /^[A-Z]$/ && $2 != "A" && $2 != "U" && $2 != "W" && $3 !~ /^quern_|^(_init|_fini|_edata|_end|__bss_start)$/ { print $3 }' |
    grep -vE '^(__)?(a|t|ub|l)san' | check exports_only_quern
  # Every function that the header declares is there.
  sed -n 's/^QUERN_API .*[ *]\(quern_[a-z0-9_]*\)(.*/\1/p' include/quern.h | sort >"$work/declared"
  awk '$2 == "T" { sub(/@.*/, "", $3); print $3 }' "$work/dynamic" | sort >"$work/exported"
  [ -s "$work/declared" ] || echo "no declarations found in quern.h" >>"$work/missing"
  comm -23 "$work/declared" "$work/exported" >>"$work/missing"
  check exports_all_declared <"$work/missing"

  awk '$1 == "U" || $1 == "w" { sub(/@.*/, "", $2); print $2 }' "$work/dynamic" | sort -u >"$work/imports"
  if grep -qE '^__(asan|tsan|ubsan|msan)_' "$work/imports"; then
    skip "imports, globals, size: a sanitizer's build"
  else
    # The library never ends the process, prints, reads the environment or depends on the locale.
    grep -xE 'abort|_?exit|_Exit|quick_exit|(__)?(v?f?d?printf|v?s?n?printf)(_chk)?|puts|fputs|putchar|putc|fputc|fwrite|perror|(secure_)?getenv|setenv|setlocale|newlocale|uselocale|localeconv|nl_langinfo|strerror(_r)?|__xpg_strerror_r|strto[dfl]|strtold|ato[fil]|__isoc99_sscanf|sscanf|__ctype_(b|tolower|toupper)_loc|toupper|tolower|strcoll|signal|sigaction|system|popen|stdout|stderr' \
      "$work/imports" | check imports_nothing_forbidden
    # Results do not depend on the C library's mathematics. sqrt, fma and rounding are exact by definition.
    grep -xE '(exp|exp2|exp10|expm1|log|log2|log10|log1p|pow|sin|cos|tan|sincos|asin|acos|atan|atan2|sinh|cosh|tanh|erf|erfc|cbrt|hypot|rsqrt|tgamma|lgamma)f?' \
      "$work/imports" | check imports_no_inexact_math
    # Memory comes from one place (base/env.c), so that the caller's allocator gets every request.
    $NM -A -u "$lib" 2>/dev/null | awk '$NF ~ /^(malloc|calloc|realloc|reallocarray|aligned_alloc|posix_memalign|memalign|strdup|strndup|free)$/ && $0 !~ /[:\/]env\.o:/ { print }' | check one_allocator
    # No mutable globals: two contexts share nothing.
    if command -v "$SIZE" >/dev/null 2>&1; then
      $SIZE -A "$lib" | awk '/^[^ ]+ +\(ex / || / \(ex / { object = $1 }
        $1 ~ /^\.(data|bss|tdata|tbss)(\..*)?$/ && $1 !~ /^\.data\.rel\.ro/ && $2 > 0 { print object ": " $2 " bytes in " $1 }' |
        check no_mutable_globals
    else
      skip "no_mutable_globals: no $SIZE"
    fi
    if $STRIP -o "$work/stripped.so" "$so" 2>/dev/null; then
      n=$(wc -c <"$work/stripped.so")
      most=1245000 # of gcc's; clang unrolls more. Attention over caches is 110,000 in five sets, tokenizers and tables of characters 60,000, choosing and learning 45,000, transforms of inputs and their search 95,000, products of 6 bits and of steps 60,000
      if grep -q 'clang version' "$so"; then most=1480000; fi
      { [ "$n" -lt $most ] || echo "$so: $n bytes stripped, $most at most"; } | check size_of_the_library
    else
      skip "size_of_the_library: no $STRIP that reads $so"
    fi
  fi
fi

passed=$(grep -c '^ok ' "$work/results") failed=$(grep -c '^FAIL ' "$work/results")
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
