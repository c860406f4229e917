#!/bin/sh
# The pages and the examples agree: README's programs are the files in examples/ to the letter, they compile and give
# sensible answers, and no link between pages leads nowhere. Run from the project's root. BUILD,
# MODEL: as in the Makefile. PYTHON: a python3, used when it has numpy.
. tests/report.sh

# block LANGUAGE N: the Nth fenced block of that language in README.md.
block() {
  awk -v open="\`\`\`$1" -v want="$2" '
    $0 == open { n++; inside = n == want; next }
    /^```/ { inside = 0 }
    inside' README.md
}

block c 1 >"$work/search.c"
cmp "$work/search.c" examples/c/search.c >"$work/out" 2>&1
report readme_c_program $? "$work/out"
block c 2 >"$work/generate.c"
cmp "$work/generate.c" examples/c/generate.c >"$work/out" 2>&1
report readme_c_program_of_decoders $? "$work/out"
block python 1 >"$work/example.py"
cmp "$work/example.py" examples/python/example.py >"$work/out" 2>&1
report readme_python_program $? "$work/out"
block python 2 >"$work/generate.py"
cmp "$work/generate.py" examples/python/generate.py >"$work/out" 2>&1
report readme_python_program_of_decoders $? "$work/out"

# [text](target) in every page: the file must be there; #anchors and URLs are not followed.
for page in README.md CONTRIBUTING.md docs/*.md bench/*.md; do
  [ -f "$page" ] || continue
  grep -oE '\]\([^) ]+\)' "$page" | sed 's/^](//; s/)$//; s/#.*//' | sort -u | while read -r target; do
    case $target in '' | http:* | https:*) continue ;; esac
    [ -e "$(dirname "$page")/$target" ] || echo "$page: $target is not there"
  done
done >"$work/out"
[ ! -s "$work/out" ]
report links $? "$work/out"

# Every file that ARCHITECTURE.md names with its folder is there.
grep -oE '(src|kernels|include|tests|tools|examples|bench|models)/[A-Za-z0-9_./-]+' docs/ARCHITECTURE.md 2>/dev/null |
  sed 's/[.,]$//' | sort -u | while read -r f; do [ -e "$f" ] || echo "docs/ARCHITECTURE.md: $f is not there"; done >"$work/out"
[ ! -s "$work/out" ]
report architecture_names_real_files $? "$work/out"

n=$(awk 'END { print NR }' examples/passages.txt)
awk 'length($0) < 40 || /\t/ { print FILENAME ":" FNR ": short, or with a tab" }' examples/passages.txt >"$work/out"
[ ! -s "$work/out" ] && [ "$n" -ge 100 ] && [ "$n" -le 200 ]
report passages $? "$work/out"


if instrumented; then
  skip "the programs: a sanitizer's or an emulated build"
  finish
fi

# An installed library is a header, an archive and one command.
cc=${CC:-gcc}
command -v "${cc%% *}" >/dev/null 2>&1 || cc=cc
for f in search batch generate; do
  $cc -std=c99 -pedantic -Wall -Wextra -Werror -Iinclude -o "$work/$f" "examples/c/$f.c" "$BUILD/libquern.a" -lm -pthread \
    >"$work/out" 2>&1
  report "compile_$f" $? "$work/out"
done
# As the pages say: README's command, and the examples' own Makefile.
$cc -Iinclude -o "$work/plain" examples/c/search.c "$BUILD/libquern.a" -lm -pthread >"$work/out" 2>&1 && [ ! -s "$work/out" ]
report compile_as_documented $? "$work/out"
case $BUILD in /*) build=$BUILD ;; *) build=$PWD/$BUILD ;; esac
mkdir "$work/build" && ln -s "$build/libquern.a" "$work/build/libquern.a"
"${MAKE:-make}" --no-print-directory -C examples/c CC="$cc" BUILD="$work/build" >"$work/out" 2>&1 &&
  [ -x "$work/build/examples/search" ] && [ -x "$work/build/examples/batch" ] && [ -x "$work/build/examples/generate" ]
report examples_makefile $? "$work/out"
"$work/search" "$MODEL" "My faucet won't stop leaking" <examples/passages.txt >"$work/out" 2>&1 &&
  grep -q 'tap drips' "$work/out"
report c_search $? "$work/out"
! "$work/search" "$MODEL.none" question <examples/passages.txt >"$work/out" 2>&1 && grep -q "$MODEL.none" "$work/out"
report c_search_names_a_missing_model $? "$work/out"
"$work/batch" "$MODEL" <examples/passages.txt >"$work/out" 2>&1 && grep -q "^$n texts, " "$work/out"
report c_batch $? "$work/out"

BUILD=$BUILD MODEL=$MODEL sh examples/demo.sh >"$work/out" 2>&1 &&
  grep -q 'tap drips' "$work/out" && [ "$(grep -c '^? ' "$work/out")" -ge 4 ]
report demo $? "$work/out"
# README's block of answers is what the demo prints.
sed -n '/^`make demo`/,/^## /p' README.md | sed -n '/^```$/,/^```$/p' | grep -v '^```' | grep . >"$work/readme"
[ "$(wc -l <"$work/readme")" -ge 4 ] && ! grep -vxFf "$work/out" "$work/readme" >"$work/differ"
report readme_demo $? "$work/differ"

if command -v "$PYTHON" >/dev/null 2>&1; then
  mkdir "$work/none" && echo 'raise ModuleNotFoundError("no numpy")' >"$work/none/numpy.py"
  for program in examples/python/example.py examples/python/generate.py "bench/peers --help"; do
    # shellcheck disable=SC2086 # a program and its argument
    ! PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=$work/none "$PYTHON" $program >"$work/out" 2>&1 &&
      [ "$(wc -l <"$work/out")" -eq 1 ] && grep -q 'needs numpy: pip install numpy' "$work/out"
    report "without_numpy_${program%% *}" $? "$work/out"
  done
fi
if "$PYTHON" -c 'import numpy' 2>/dev/null; then
  case $BUILD in /*) library=$BUILD/libquern.so ;; *) library=$PWD/$BUILD/libquern.so ;; esac
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library "$PYTHON" examples/python/test_quern.py "$MODEL" >"$work/out" 2>&1
  report python_binding $? "$work/out"
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library "$PYTHON" examples/python/test_decoder.py "$MODEL" >"$work/out" 2>&1
  report python_decoders $? "$work/out"
  # shellcheck disable=SC2086 # a compiler and its options
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library PYTHONPATH=examples/python "$PYTHON" tests/compare_structs.py $cc >"$work/out" 2>&1
  report python_structs $? "$work/out"
  # A decoder that is made here: C's program says what the command says, Python's says something.
  mkdir "$work/tiny"
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library PYTHONPATH=examples/python "$PYTHON" -c '
import sys
from test_decoder import quern, write_decoder
write_decoder(sys.argv[1])
quern.quantize(sys.argv[1], sys.argv[1] + ".qrn")' "$work/tiny" >"$work/out" 2>&1
  report tiny_decoder $? "$work/out"
  "$BUILD/quern" generate "$work/tiny.qrn" -p "the cat on the" -n 200 >"$work/wanted" 2>&1 &&
    "$work/generate" "$work/tiny.qrn" "the cat on the" >"$work/out" 2>&1 && cmp "$work/out" "$work/wanted"
  report c_generate $? "$work/out"
  ! "$work/generate" "$MODEL" "the cat on the" >"$work/out" 2>&1 && grep -q 'generate: .*decoders' "$work/out"
  report c_generate_refuses_an_encoder $? "$work/out"
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library "$PYTHON" examples/python/generate.py "$work/tiny.qrn" "the cat" >"$work/out" 2>&1 &&
    [ "$(wc -c <"$work/out")" -gt 10 ]
  report python_generate $? "$work/out"
  PYTHONDONTWRITEBYTECODE=1 QUERN_LIBRARY=$library "$PYTHON" examples/python/example.py "$MODEL" examples/passages.txt \
    "Why do I cry in the kitchen?" >"$work/out" 2>&1 && grep -q Onions "$work/out"
  report python_example $? "$work/out"
else
  skip "python: no $PYTHON with numpy"
fi
finish
