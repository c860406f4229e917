#!/bin/sh
# The bindings in examples/, each built without a network, tested and asked a question; a language whose tools are not
# here is skipped. Run from the project's root. BUILD, MODEL: as in the Makefile.
. tests/report.sh

# answers NAME COMMAND...: the program says which passage is meant.
answers() {
  name=$1
  shift
  "$@" "$model" "My faucet won't stop leaking" <examples/passages.txt >"$work/out" 2>&1 && grep -q 'tap drips' "$work/out"
  report "$name" $? "$work/out"
}

if instrumented; then
  skip "the bindings: a sanitizer's or an emulated build"
  finish
fi
case $MODEL in /*) model=$MODEL ;; *) model=$PWD/$MODEL ;; esac
case $BUILD in /*) build=$BUILD ;; *) build=$PWD/$BUILD ;; esac

if have cargo && cargo --version >/dev/null 2>&1; then
  rust() { (cd examples/rust && QUERN_LIB_DIR=$build QUERN_MODEL=$model CARGO_TARGET_DIR=$build/rust cargo "$@" --offline -q); }
  rust test >"$work/out" 2>&1
  report rust_tests $? "$work/out"
  rust build --examples >"$work/out" 2>&1
  report rust_example_builds $? "$work/out"
  answers rust_example "$build/rust/debug/examples/search"
else
  skip "rust: no cargo"
fi

cc=${CC:-gcc}
have "${cc%% *}" || cc=cc
if have go && [ "$(go env CGO_ENABLED 2>/dev/null)" = 1 ]; then
  # Nothing is fetched, and nothing is kept outside of the build folder. -count=1: the library is no input that go knows.
  golang() {
    (cd examples/go && GOCACHE=$build/go/cache GOPATH=$build/go/path GOFLAGS=-mod=mod GOPROXY=off GOTOOLCHAIN=local CC=$cc \
      CGO_LDFLAGS=-L$build QUERN_MODEL=$model go "$@")
  }
  golang vet ./... >"$work/out" 2>&1
  report go_vet $? "$work/out"
  golang test -count=1 -timeout 180s ./... >"$work/out" 2>&1
  report go_tests $? "$work/out"
  golang build -o "$work/go_search" ./search >"$work/out" 2>&1
  report go_example_builds $? "$work/out"
  answers go_example "$work/go_search"
else
  skip "go: no go with cgo"
fi

# Where node keeps its headers: beside it, or where its package says.
headers=${NODE_HEADERS:-$(node -p 'require("path").resolve(process.execPath, "../../include/node")' 2>/dev/null)}
if have node && [ -f "$headers/node_api.h" ]; then
  $cc -O2 -Wall -Wextra -Werror -shared -fPIC -Iinclude -I"$headers" -o "$work/quern.node" examples/node/addon.c \
    "$BUILD/libquern.a" -lm -pthread >"$work/out" 2>&1
  report node_addon_builds $? "$work/out"
  QUERN_ADDON=$work/quern.node node examples/node/test.js "$model" >"$work/out" 2>&1
  report node_tests $? "$work/out"
  answers node_example env QUERN_ADDON="$work/quern.node" node examples/node/search.js
else
  skip "node: no node with its headers"
fi

java_home=${JAVA_HOME:-$(java -XshowSettings:properties -version 2>&1 | sed -n 's/^ *java\.home = //p')}
if have javac && have java && [ -f "$java_home/include/jni.h" ]; then
  $cc -O2 -Wall -Wextra -Werror -shared -fPIC -Iinclude -I"$java_home/include" -I"$java_home/include/linux" \
    -o "$work/libquern_jni.so" examples/java/quern_jni.c "$BUILD/libquern.a" -lm -pthread >"$work/out" 2>&1
  report java_library_builds $? "$work/out"
  javac -Xlint:all -Werror -d "$work/classes" examples/java/*.java >"$work/out" 2>&1
  report java_compiles $? "$work/out"
  java -Djava.library.path="$work" -cp "$work/classes" Test "$model" >"$work/out" 2>&1
  report java_tests $? "$work/out"
  answers java_example java -Djava.library.path="$work" -cp "$work/classes" Search
else
  skip "java: no javac with jni.h"
fi
finish
