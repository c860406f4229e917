#!/bin/sh
# What `make lint` runs: formatting (clang-format), shell scripts (shellcheck), Python (compiles). A tool
# that is missing is named and skipped. Exit 1 when something is to be mended. Run from the project's root.
code=0
sources=$(find include kernels src tests bench examples tools -name '*.[ch]' | sort)
scripts=$(find tests examples tools .ci -name '*.sh' -o -path '.ci/run' | sort)

note() { echo "lint: $*"; code=1; }
have() { command -v "$1" >/dev/null 2>&1 || { echo "lint: no $1, skipped" >&2; false; }; }

sh tools/check_includes.sh || code=1
if have clang-format; then
  for f in $sources; do
    clang-format --style=file "$f" | cmp -s - "$f" || note "$f: make format"
  done
fi
if have shellcheck; then
  # shellcheck disable=SC2086
  shellcheck -S warning $scripts || code=1
fi
if have python3; then
  find tools tests examples bench -name '*.py' | while read -r f; do
    python3 -c 'import ast, sys; ast.parse(open(sys.argv[1], encoding="utf-8").read(), sys.argv[1])' "$f" || exit 1
  done || code=1
fi
[ $code = 0 ] && echo "lint: clean"
exit $code
