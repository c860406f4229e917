#!/bin/sh
# The library as one file (make amalgamation): it compiles by the one command that it names, and by strict ones, without a
# warning, exports what the library exports, and its embeddings of the shipped model are the library's, to the byte, on
# every kernel set. Run from the project's root. BUILD, MODEL, CC: as in the Makefile.
CC=${CC:-gcc}
LC_ALL=C
export LC_ALL
. tests/report.sh

cp "$BUILD/quern.c" "$BUILD/quern.h" "$work" || exit 1
# Nothing of the tree is left in it but its own header.
grep -n '#[ ]*include "' "$work/quern.c" | grep -v '"quern.h"' >"$work/out"
[ ! -s "$work/out" ]
report needs_its_header_alone $? "$work/out"

(cd "$work" && $CC -O2 -ffp-contract=off -c quern.c) >"$work/out" 2>&1 && [ ! -s "$work/out" ]
report one_command $? "$work/out"
(cd "$work" && $CC -std=gnu11 -Wall -Wextra -Wundef -Wstrict-prototypes -Werror -O0 -ffp-contract=off -fsyntax-only quern.c) \
  >"$work/out" 2>&1
report strict_warnings $? "$work/out"

if $NM "$work/quern.o" >"$work/symbols" 2>/dev/null && command -v readelf >/dev/null 2>&1; then
  readelf -sW "$work/quern.o" | awk '$5 == "GLOBAL" && $6 == "DEFAULT" && $7 != "UND" && $8 !~ /^quern_/ { print $8 }' >"$work/out"
  [ ! -s "$work/out" ]
  report exports_only_quern $? "$work/out"
  sed -n 's/^QUERN_API .*[ *]\(quern_[a-z0-9_]*\)(.*/\1/p' include/quern.h | sort >"$work/declared"
  awk '$2 == "T" { print $3 }' "$work/symbols" | sort | comm -23 "$work/declared" - >"$work/out"
  [ ! -s "$work/out" ] && [ -s "$work/declared" ]
  report has_all_declared $? "$work/out"
else
  skip "symbols: no nm and readelf"
fi

cat >"$work/dump.c" <<'END'
#include <quern.h>
#include <stdio.h>
#include <string.h>
/* Every line's embedding as the bytes of its floats, by the kernel set of that name. */
int main(int argc, char **argv) {
  quern_context_options o;
  quern_context *c = NULL;
  quern_model *m = NULL;
  quern_session *s = NULL;
  static float x[4096];
  char line[4096], why[512] = "";
  uint32_t width = 0;
  int ok = argc == 3;
  quern_context_options_init(&o, sizeof o);
  o.isa = argc == 3 ? argv[2] : NULL;
  if (argc == 2) {
    for (uint32_t i = 0; quern_isa_name(i); i++) puts(quern_isa_name(i));
    return 0;
  }
  ok = ok && !quern_context_create(&c, &o) && !quern_model_open(&m, c, argv[1], NULL) && !quern_session_create(&s, m, NULL);
  while (ok && fgets(line, sizeof line, stdin)) {
    ok = !quern_embed(s, line, strlen(line), x, 4096, &width) && fwrite(x, sizeof *x, width, stdout) == width;
  }
  if (!ok && c) quern_context_error(c, why, sizeof why);
  if (!ok) fprintf(stderr, "dump: %s\n", why);
  quern_session_free(s), quern_model_free(m), quern_context_free(c);
  return !ok;
}
END
$CC -I"$work" -o "$work/one" "$work/dump.c" "$work/quern.o" -lm -pthread >"$work/out" 2>&1
report links $? "$work/out"
$CC -Iinclude -o "$work/library" "$work/dump.c" "$BUILD/libquern.a" -lm -pthread >"$work/out" 2>&1
report links_library $? "$work/out"
"$work/library" "$MODEL" >"$work/sets" && "$work/one" "$MODEL" | cmp - "$work/sets" >"$work/out" 2>&1
report kernel_sets $? "$work/out"
head -n 12 examples/passages.txt >"$work/texts"
n=$(($(wc -l <"$work/texts") * 384 * 4))
while read -r isa; do
  "$work/library" "$MODEL" "$isa" <"$work/texts" >"$work/want" 2>"$work/out" &&
    "$work/one" "$MODEL" "$isa" <"$work/texts" >"$work/got" 2>>"$work/out" &&
    cmp "$work/want" "$work/got" >>"$work/out" 2>&1 && [ "$(wc -c <"$work/got")" -eq "$n" ]
  report "same_bytes_$isa" $? "$work/out"
done <"$work/sets"
finish
