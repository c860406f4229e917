#!/bin/sh
# Prints the library as one C file that needs quern.h beside it:  amalgamate.sh FILE.c... >quern.c
# Run from the project's root. POSIX sh and awk.
#
# Headers come first, each once. Headers in a folder of kernels/ are templates, written over what an ISA's file defines:
# they are put into each file that includes them. What a file or its templates define for themselves alone (static
# functions and objects, types, enum constants) under a name that another file uses too gets the file's name as a
# suffix; their macros end with the file. Members (.x, ->x), strings and comments are left alone. Functions that the
# library's files share stay hidden.
exec awk '
  function exists(path,   line, r) {
    r = (getline line < path)
    close(path)
    return r >= 0
  }
  # The lines of a file: text[path, 1 ... lines[path]]; guard[path]: its include guard, or "".
  function load(path,   line, n, part) {
    if (path in lines) return
    guard[path] = ""
    while ((getline line < path) > 0) {
      text[path, ++n] = line
      if (guard[path] == "" && line ~ /^#ifndef [A-Z0-9_]+$/) guard[path] = substr(line, 9)
      else if (guard[path] == "" && line ~ /^[ \t]*#/) guard[path] = "-"
    }
    if (guard[path] == "-") guard[path] = ""
    lines[path] = n + 0
    close(path)
  }
  # "base/env.h" as a path from the root; "" for quern.h, which stays a file of its own.
  function resolve(name, from) {
    if (name == "quern.h") return ""
    sub(/[^\/]*$/, "", from)
    if (exists("src/" name)) return "src/" name
    if (exists(name)) return name
    if (exists(from name)) return from name
    print "amalgamate: " name " is not there" > "/dev/stderr"
    exit 1
  }
  function is_local(line) { return line ~ /^[ \t]*#[ \t]*include[ \t]*"/ }
  function is_system(line) { return line ~ /^[ \t]*#[ \t]*include[ \t]*</ }
  function is_template(path) { return path ~ /^kernels\/[^\/]+\// }
  function quoted(line,   part) {
    split(line, part, "\"")
    return part[2]
  }

  # Appends the lines of path, which stand under `deep` conditions, to out[unit, ...]. System headers under none move to
  # the top. unit
  # "": a shared header. Templates are put in where they are included.
  function expand(path, unit, deep,   i, line, target) {
    load(path)
    if (guard[path] != "") deep--
    put(unit, "/* ---- " path " ---- */")
    for (i = 1; i <= lines[path]; i++) {
      line = text[path, i]
      if (is_local(line)) {
        target = resolve(quoted(line), path)
        if (target != "" && is_template(target) && !((unit, target) in inside)) {
          load(target)
          if (guard[target] != "") inside[unit, target] = 1
          expand(target, unit, deep)
        }
        continue
      }
      if (is_system(line)) {
        sub(/[ \t]*\/\*.*$/, "", line)
        if (deep > 0) {
          put(unit, "#pragma GCC visibility push(default)")
          put(unit, line)
          put(unit, "#pragma GCC visibility pop")
        } else if (!(line in included)) {
          included[line] = 1
          system_headers = system_headers line "\n"
        }
        continue
      }
      if (line ~ /^[ \t]*#[ \t]*if/) deep++
      if (line ~ /^[ \t]*#[ \t]*endif/) deep--
      put(unit, line)
    }
  }
  function put(unit, line) { out[unit, ++size[unit]] = line }

  # The shared headers that path needs, before what needs them.
  function hoist(path,   i, target) {
    load(path)
    for (i = 1; i <= lines[path]; i++) {
      if (!is_local(text[path, i])) continue
      target = resolve(quoted(text[path, i]), path)
      if (target == "" || (target in hoisted)) continue
      hoisted[target] = 1
      hoist(target)
      if (!is_template(target)) expand(target, "", 0)
    }
  }

  # The next token of `rest` into `token`, its kind into `kind`: i(dentifier), s(pace, comment, literal), p(unctuation).
  # in_comment carries over the end of a line.
  function next_token(   at) {
    if (in_comment) {
      at = index(rest, "*/")
      kind = "s"
      if (!at) return take(length(rest))
      in_comment = 0
      return take(at + 1)
    }
    if (match(rest, /^[A-Za-z_][A-Za-z0-9_]*/)) {
      kind = "i"
      return take(RLENGTH)
    }
    kind = "s"
    if (match(rest, /^[ \t]+/)) return take(RLENGTH)
    if (match(rest, /^[0-9][A-Za-z0-9_.]*/)) return take(RLENGTH)
    if (match(rest, /^"([^"\\]|\\.)*"/)) return take(RLENGTH)
    if (match(rest, /^\047([^\047\\]|\\.)*\047/)) return take(RLENGTH)
    if (substr(rest, 1, 2) == "//") return take(length(rest))
    if (substr(rest, 1, 2) == "/*") {
      in_comment = 1
      return take(2)
    }
    kind = "p"
    return take(substr(rest, 1, 2) == "##" || substr(rest, 1, 2) == "->" ? 2 : 1)
  }
  function take(n) {
    token = substr(rest, 1, n)
    rest = substr(rest, n + 1)
  }

  # ---- what a unit defines for itself alone ----
  function define(unit, name) {
    if (name == "" || (name in keyword) || ((unit, name) in own)) return
    own[unit, name] = 1
    owners[name]++
  }
  function fresh() { named = equals = pointer = is_typedef = is_static = 0; last = "" }
  function name_it(unit) {
    if (!named && (is_static || is_typedef)) define(unit, last)
    named = 1
  }
  function scan(unit,   i, line, directive, continued, previous, j) {
    fresh()
    depth = parens = attribute = in_comment = enum_body = 0
    tag_of = ""
    for (i = 1; i <= size[unit]; i++) {
      line = out[unit, i]
      rest = line
      directive = continued || (!in_comment && line ~ /^[ \t]*#/)
      continued = directive && line ~ /\\$/
      if (directive) {
        if (match(line, /^#[ \t]*define[ \t]+[A-Za-z_][A-Za-z0-9_]*/)) {
          name = substr(line, 1, RLENGTH)
          sub(/.*[ \t]/, "", name)
          if (name !~ /^_/) macros[unit, name] = 1
          if (line ~ /^#define [A-Z_]+ static /) static_macro[name] = 1
        }
        previous = ""
        while (rest != "") {
          next_token()
          if (token == "##" && previous != "") define(unit, previous)
          if (kind != "s") previous = kind == "i" && !pasted ? token : ""
          if (kind != "s") pasted = token == "##"
        }
        continue
      }
      while (rest != "") {
        next_token()
        if (kind == "s") continue
        if (depth == 0 && kind == "i") {
          if (token == "__attribute__") attribute = 1
          else if (attribute) continue
          else if (parens == 0) {
            if (token == "static" || token == "typedef" || (token in static_macro)) {
              fresh()
              if (token == "typedef") is_typedef = 1
              else is_static = 1
            } else if (token == "struct" || token == "union" || token == "enum") tag_of = token
            else {
              if (tag_of != "" && tag_of !~ / /) tag_of = tag_of " " token
              last = token
            }
          } else if (pointer) {
            last = token
            pointer = 0
            name_it(unit)
          }
        } else if (kind == "i") {
          if (enum_body == depth && depth > 0 && (before == "{" || before == ",")) define(unit, token)
        } else if (token == "(") {
          if (attribute) attribute++
          else if (depth == 0 && parens++ == 0 && !named) {
            if ((unit, last) in macros) {
              # A macro of its own at file scope defines what its first argument names.
              match(rest, /^[A-Za-z0-9_]*/)
              name = substr(rest, 1, RLENGTH)
              if (!((unit, name) in macros)) define(unit, name)
            } else if (rest ~ /^[ \t]*\*/) pointer = 1
            else name_it(unit)
          }
        } else if (token == ")") {
          if (attribute > 1 && --attribute == 1) attribute = 0
          else if (depth == 0 && parens > 0) parens--
        } else if (attribute) {
        } else if (token == "{") {
          if (depth++ == 0) {
            body = (before == ")" && named && !equals) ? "function" : "other"
            if (tag_of != "" && !equals && body == "other") {
              split(tag_of, part, " ")
              if (part[1] == "enum") enum_body = 1
              define(unit, part[2])
            }
            tag_of = ""
          }
        } else if (token == "}") {
          if (--depth == 0) {
            enum_body = 0
            if (body == "function") fresh()
          }
        } else if (depth == 0 && parens == 0) {
          if (token == "=" || token == "[") {
            if (token == "=") equals = 1
            name_it(unit)
          } else if (token == ",") {
            name_it(unit)
            named = equals = 0
          } else if (token == ";") {
            name_it(unit)
            fresh()
            tag_of = ""
          }
        }
        before = token
      }
    }
  }

  function emit(unit, suffix,   i, before, line, type, deep) {
    in_comment = deep = type = 0
    for (i = 1; i <= size[unit]; i++) {
      rest = out[unit, i]
      line = ""
      while (rest != "") {
        next_token()
        if (kind == "i" && before != "." && before != "->" && before != "##" && ((unit, token) in own) && owners[token] > 1 &&
            !(members[deep] && rest ~ /^[ \t]*(\[|[;,:])/))
          token = token "__" suffix (rest ~ /^##/ ? "_" : "")
        if (token == "struct" || token == "union") type = 1
        else if (token == "{") {
          members[++deep] = type
          type = 0
        } else if (token == "}") deep--
        else if (kind == "p") type = 0
        line = line token
        if (kind != "s") before = token
      }
      print line
    }
  }

  BEGIN {
    n = split("void int char short long float double signed unsigned const volatile struct union enum static inline " \
              "extern typedef restrict register return sizeof", word, " ")
    for (i = 1; i <= n; i++) keyword[word[i]] = 1
    for (f = 1; f < ARGC; f++) hoist(ARGV[f])
    scan("")
    for (key in own) delete own[key]
    for (key in owners) delete owners[key]
    for (key in macros) delete macros[key]
    for (f = 1; f < ARGC; f++) {
      expand(ARGV[f], ARGV[f], 0)
      scan(ARGV[f])
    }
    print "/* quern.c - Quern, the whole library in one file, made by tools/amalgamate.sh from its source tree. Compile it with"
    print " *"
    print " *   cc -O2 -ffp-contract=off -c quern.c"
    print " *"
    print " * and link with -lm -pthread. The kernels name the instructions they use themselves: no -march is needed. Without"
    print " * -ffp-contract=off results would depend on the compiler. SPDX-License-Identifier: Apache-2.0 */"
    print "#if defined(__linux__) && !defined(_GNU_SOURCE)"
    print "#define _GNU_SOURCE 1"
    print "#endif"
    printf "%s", system_headers
    print "#include \"quern.h\""
    print "#pragma GCC diagnostic push"
    print "#pragma GCC diagnostic ignored \"-Wunused-function\""
    print "#pragma GCC visibility push(hidden)"
    emit("", "")
    for (f = 1; f < ARGC; f++) {
      suffix = ARGV[f]
      sub(/.*\//, "", suffix)
      sub(/\.c$/, "", suffix)
      emit(ARGV[f], suffix)
      count = 0
      for (key in macros) {
        split(key, part, SUBSEP)
        if (part[1] == ARGV[f]) names[++count] = part[2]
      }
      # In a fixed order: the order of an awk array is nobody\047s.
      for (i = 2; i <= count; i++) {
        name = names[i]
        for (j = i - 1; j > 0 && names[j] > name; j--) names[j + 1] = names[j]
        names[j + 1] = name
      }
      for (i = 1; i <= count; i++) print "#undef " names[i]
    }
    print "#pragma GCC visibility pop"
    print "#pragma GCC diagnostic pop"
  }' "$@"
