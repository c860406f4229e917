#!/bin/sh
# The Python wheel: pip makes it without a network, it installs into a fresh virtual environment, and the tests of
# examples/python pass on what was installed. Run from the project's root. BUILD, MODEL: as in the Makefile. PYTHON: a
# python3, used when it has numpy, venv and pip.
. tests/report.sh

if instrumented; then
  skip "the wheel: a sanitizer's or an emulated build"
  finish
fi
if ! "$PYTHON" -c 'import numpy, venv, ensurepip' 2>/dev/null; then
  skip "the wheel: no $PYTHON with numpy, venv and pip"
  finish
fi
case $MODEL in /*) model=$MODEL ;; *) model=$PWD/$MODEL ;; esac
case $BUILD in /*) library=$BUILD/libquern.so ;; *) library=$PWD/$BUILD/libquern.so ;; esac
mkdir -p "$work/home" "$work/wheels"
clean() { env -i PATH="$PATH" HOME="$work/home" PIP_NO_INDEX=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PYTHONDONTWRITEBYTECODE=1 "$@"; }

clean "$PYTHON" -m venv "$work/venv" >"$work/out" 2>&1
report fresh_environment $? "$work/out"
clean QUERN_LIBRARY="$library" "$work/venv/bin/python" -m pip wheel -q --no-deps -w "$work/wheels" ./examples/python >"$work/out" 2>&1
report wheel $? "$work/out"
clean "$work/venv/bin/python" -m pip install -q --no-deps "$work/wheels"/quern-*.whl >"$work/out" 2>&1
report installs $? "$work/out"
# The tests, away from the tree, so that `quern` is the installed one; numpy, which cannot be fetched here, is lent.
mkdir -p "$work/tree/examples/python"
cp examples/python/test_quern.py examples/python/test_decoder.py "$work/tree/examples/python"
cp examples/passages.txt "$work/tree/examples"
lent=$("$PYTHON" -c 'import numpy, os; print(os.path.dirname(os.path.dirname(numpy.__file__)))')
cd "$work/tree" || exit 1
clean PYTHONPATH="$lent" "$work/venv/bin/python" -c 'import quern; print(quern.__file__)' >"$work/out" 2>&1 &&
  grep -q "^$work/venv/" "$work/out"
report the_installed_one $? "$work/out"
clean PYTHONPATH="$lent" "$work/venv/bin/python" examples/python/test_quern.py "$model" >"$work/out" 2>&1
report its_tests $? "$work/out"
clean PYTHONPATH="$lent" "$work/venv/bin/python" examples/python/test_decoder.py "$model" >"$work/out" 2>&1
report its_tests_of_decoders $? "$work/out"
clean "$work/venv/bin/python" -m pip uninstall -q -y quern >"$work/out" 2>&1 && [ ! -e "$work"/venv/lib/python*/site-packages/quern ]
report uninstalls $? "$work/out"
finish
