#!/bin/sh
# What `make install` puts into a staging folder, or straight in its place, is whole and can be built against: with pkg-config
# and with CMake, shared and static, with nothing of this environment but PATH, whatever the umask; a staged folder may be
# moved; `make uninstall` leaves no file. The
# pages that the command makes of itself are well formed. Run from the project's root. BUILD, MODEL, CC: as in the
# Makefile.
. tests/report.sh

# clean COMMAND...: with a new home and no variable but PATH.
mkdir "$work/home"
clean() { env -i PATH="$PATH" HOME="$work/home" LC_ALL=C "$@"; }

if instrumented; then
  skip "installation: a sanitizer's or an emulated build"
  finish
fi
case $MODEL in /*) model=$MODEL ;; *) model=$PWD/$MODEL ;; esac
case $BUILD in /*) build=$BUILD ;; *) build=$PWD/$BUILD ;; esac
cc=${CC:-gcc}
have "${cc%% *}" || cc=cc

# ---- the pages ----
quern=$BUILD/quern
$quern --man >"$work/quern.1" 2>"$work/out"
for verb in $($quern --help | awk '/^Verbs:/ { on = 1; next } /^$/ { on = 0 } on { print $1 }'); do
  grep -q "^\.SS \"quern $verb\"" "$work/quern.1" || echo "the manual page lacks $verb"
  # Every option that --help tells is on the page and in each completion.
  for option in $($quern "$verb" --help | sed -n 's/^  .. *--\([a-z-]*\).*/\1/p; s/^  -., --\([a-z-]*\).*/\1/p'); do
    echo "$verb $option"
  done >"$work/options"
  [ -s "$work/options" ] || echo "no options of $verb found"
  while read -r v option; do
    grep -qF "\\-\\-$(echo "$option" | sed 's/-/\\-/g')" "$work/quern.1" || echo "the manual page lacks $v --$option"
    for shell in bash zsh fish; do
      $quern --completion $shell >"$work/c.$shell"
      grep -qE -e "(--|-l )$option" "$work/c.$shell" || echo "$shell's completion lacks $v --$option"
    done
  done <"$work/options"
done >>"$work/out"
[ ! -s "$work/out" ] && [ -s "$work/options" ]
report pages_name_every_option $? "$work/out"
if have groff; then
  groff -man -Tascii -ww "$work/quern.1" 2>&1 >/dev/null | cat >"$work/out"
  [ ! -s "$work/out" ]
  report man_page_formats $? "$work/out"
else
  skip "man_page_formats: no groff"
fi
if have bash; then
  # complete_at WORD...: what bash offers for the last word.
  complete_at() {
    bash -c '. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _quern; echo "${COMPREPLY[*]}"' - "$work/c.bash" "$@"
  }
  { [ "$(complete_at quern em)" = embed ] && [ "$(complete_at quern embed --format '')" = "jsonl tsv npy" ] &&
    [ "$(complete_at quern embed m.qrn --po)" = --pool ] && [ -z "$(complete_at quern embed '')" ]; } >"$work/out" 2>&1
  report bash_completes $? "$work/out"
else
  skip "bash_completes: no bash"
fi
for shell in zsh fish; do
  if have $shell; then
    $shell -n "$work/c.$shell" >"$work/out" 2>&1
    report ${shell}_parses $? "$work/out"
  else
    skip "${shell}_parses: no $shell"
  fi
done
! $quern --completion tcsh >"$work/out" 2>&1
report unknown_shell_is_refused $? "$work/out"

# ---- installing: -o takes what was built as it is ----
installer() {
  clean "${MAKE:-make}" --no-print-directory BUILD="$BUILD" CC="$cc" PREFIX=/opt/quern "$@" -o all
}
installer install DESTDIR="$work/staged" >"$work/out" 2>&1
report install $? "$work/out"
(cd "$work/staged" && find . ! -type d | sort) >"$work/list"
version=$($quern --version | awk '{ print $2 }')
for f in bin/quern include/quern.h lib/libquern.a lib/libquern.so lib/libquern.so.0 "lib/libquern.so.$version" \
  lib/pkgconfig/quern.pc lib/cmake/Quern/QuernConfig.cmake lib/cmake/Quern/QuernConfigVersion.cmake \
  share/man/man1/quern.1 share/bash-completion/completions/quern share/zsh/site-functions/_quern \
  share/fish/vendor_completions.d/quern.fish; do
  echo "./opt/quern/$f"
done | sort | diff - "$work/list" >"$work/out" 2>&1
report installed_files $? "$work/out"
grep -rlE "@[A-Z_]+@|$work" "$work/staged/opt/quern/lib/pkgconfig" "$work/staged/opt/quern/lib/cmake" >"$work/out" 2>&1
[ ! -s "$work/out" ]
report files_are_filled_in $? "$work/out"
clean "$work/staged/opt/quern/bin/quern" --version >"$work/out" 2>&1
report installed_command $? "$work/out"
if have readelf; then
  readelf -d "$work/staged/opt/quern/lib/libquern.so" >"$work/out" 2>&1 && grep -q 'SONAME.*\[libquern\.so\.0\]' "$work/out"
  report soname $? "$work/out"
else
  skip "soname: no readelf"
fi

# ---- building against it ----
# Moved to where it was not made for: nothing found may depend on the place.
mkdir -p "$work/moved" && cp -R "$work/staged/opt/quern" "$work/moved/quern"
root=$work/moved/quern
cp examples/c/search.c "$work/search.c"
# answers NAME COMMAND...: the program says which passage is meant.
answers() {
  name=$1
  shift
  clean "$@" "$model" "My faucet won't stop leaking" <examples/passages.txt >"$work/out" 2>&1 &&
    grep -q 'tap drips' "$work/out"
  report "$name" $? "$work/out"
}

if have pkg-config; then
  pc() { clean PKG_CONFIG_PATH="$root/lib/pkgconfig" pkg-config --define-variable=prefix="$root" "$@"; }
  [ "$(pc --modversion quern)" = "$version" ]
  report pkg_config_version $?
  # shellcheck disable=SC2046
  (cd "$work" && clean $cc -O1 -o by_pkg search.c $(pc --cflags --libs quern)) >"$work/out" 2>&1
  report pkg_config_builds $? "$work/out"
  answers pkg_config_runs env LD_LIBRARY_PATH="$root/lib" "$work/by_pkg"
  # shellcheck disable=SC2046
  (cd "$work" && clean $cc -O1 -o by_pkg_static search.c $(pc --cflags quern) "$root/lib/libquern.a" \
    $(pc --static --libs-only-l quern | sed 's/-lquern//') -pthread) >"$work/out" 2>&1
  report pkg_config_builds_static $? "$work/out"
  answers pkg_config_runs_static "$work/by_pkg_static"
  if have go && [ "$(go env CGO_ENABLED 2>/dev/null)" = 1 ]; then
    # Always the same place: go keeps what pkg-config said, and would not ask again.
    go_root=$build/go/installed
    rm -rf "$go_root" && mkdir -p "$build/go" && cp -R "$root" "$go_root"
    printf '#!/bin/sh\nexec pkg-config --define-variable=prefix="%s" "$@"\n' "$go_root" >"$work/pkg-config"
    chmod +x "$work/pkg-config"
    (cd examples/go && clean GOCACHE="$build/go/cache" GOPATH="$build/go/path" GOFLAGS=-mod=mod GOPROXY=off CC="$cc" \
      PKG_CONFIG="$work/pkg-config" PKG_CONFIG_PATH="$go_root/lib/pkgconfig" \
      go build -tags quern_pkgconfig -o "$work/by_go" ./search) >"$work/out" 2>&1
    report go_builds $? "$work/out"
    answers go_runs env LD_LIBRARY_PATH="$go_root/lib" "$work/by_go"
  else
    skip "go: none with cgo"
  fi
else
  skip "pkg-config: none here"
fi

if have cmake; then
  mkdir "$work/cmake"
  cat >"$work/cmake/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.10)
project(user C)
find_package(Quern 0.1 REQUIRED)
add_executable(shared ../search.c)
target_link_libraries(shared Quern::quern)
add_executable(static ../search.c)
target_link_libraries(static Quern::quern_static)
END
  (cd "$work/cmake" && clean CC="${cc%% *}" cmake -DCMAKE_PREFIX_PATH="$root" . && clean cmake --build .) >"$work/out" 2>&1
  report cmake_builds $? "$work/out"
  answers cmake_runs "$work/cmake/shared"
  answers cmake_runs_static "$work/cmake/static"
  mkdir "$work/later"
  sed 's/Quern 0.1/Quern 9/' "$work/cmake/CMakeLists.txt" >"$work/later/CMakeLists.txt"
  ! (cd "$work/later" && clean CC="${cc%% *}" cmake -DCMAKE_PREFIX_PATH="$root" .) >"$work/out" 2>&1 &&
    grep -q "$version" "$work/out"
  report cmake_refuses_another_version $? "$work/out"
else
  skip "cmake: none here"
fi

# ---- straight into its place, by somebody whose files nobody else may read: what is installed everybody may ----
place=$work/place
(umask 077 && installer install PREFIX="$place") >"$work/out" 2>&1
report install_in_place $? "$work/out"
find "$place" \( -type d ! -perm -755 \) -o \( -type f ! -perm -644 \) -o \( -type f \( -path '*/bin/*' -o -name '*.so.*' \) ! -perm -755 \) \
  >"$work/out" 2>&1
[ ! -s "$work/out" ] && [ -f "$place/lib/pkgconfig/quern.pc" ]
report everybody_may_read_it $? "$work/out"
if have pkg-config; then
  pc() { clean PKG_CONFIG_PATH="$place/lib/pkgconfig" pkg-config "$@"; }
  # shellcheck disable=SC2046
  (cd "$work" && clean $cc -O1 -o in_place search.c $(pc --cflags --libs quern)) >"$work/out" 2>&1
  report in_place_pkg_config_builds $? "$work/out"
  answers in_place_pkg_config_runs env LD_LIBRARY_PATH="$place/lib" "$work/in_place"
fi
if have cmake; then
  mkdir "$work/cmake_in_place"
  cp "$work/cmake/CMakeLists.txt" "$work/cmake_in_place"
  (cd "$work/cmake_in_place" && clean CC="${cc%% *}" cmake -DCMAKE_PREFIX_PATH="$place" . && clean cmake --build .) >"$work/out" 2>&1
  report in_place_cmake_builds $? "$work/out"
  answers in_place_cmake_runs "$work/cmake_in_place/shared"
fi
installer uninstall PREFIX="$place" >"$work/out" 2>&1
find "$place" ! -type d >"$work/out"
[ ! -s "$work/out" ]
report in_place_uninstall_leaves_nothing $? "$work/out"

installer uninstall DESTDIR="$work/staged" >"$work/out" 2>&1
report uninstall $? "$work/out"
find "$work/staged" ! -type d >"$work/out"
[ ! -s "$work/out" ]
report uninstall_leaves_nothing $? "$work/out"
finish
