#!/bin/sh
# Holds the rooms of docs/ARCHITECTURE.md apart: reads the #include "..." lines of the tree and prints each one that
# goes against the direction of dependencies as "FILE:LINE: ROOM may not include NAME". Exit 1 when there is one.
# Run from the project's root. POSIX sh and awk.
#
# A room is kernels, include, tests, bench, examples, cli, or src's folder. The table lists, for each room, the rooms it
# may include; one exact header can stand for a room. Every room may include its own headers.
find include kernels src tests bench examples -name '*.[ch]' 2>/dev/null | sort | xargs awk '
  BEGIN {
    may["include"] = ""
    may["kernels"] = ""
    may["base"] = "include"
    may["format"] = "include base kernels/layout.h"
    may["text"] = "include base"
    may["model"] = "include base format text kernels/layout.h"
    may["run"] = "include base model kernels"
    may["import"] = "include base model run format text"
    may["quant"] = "include base model run format text import kernels/layout.h"
    may["api"] = "include base run quant import model format text"
    may["cli"] = "include"
    may["cli/bench"] = "include kernels"
    may["cli/answers"] = "include src/base/utf8.h src/text/unicode.h"
    may["bench"] = "include kernels"
    may["examples"] = "include"
    may["tests"] = "*"
    for (room in may) known[room] = 1
  }
  function room_of(path,   part) {
    split(path, part, "/")
    return part[1] == "src" ? part[2] : part[1]
  }
  # A name as written in an include line, as a path from the root: "base/env.h" is src/base/env.h.
  function resolve(name, from,   part) {
    if (name == "quern.h") return "include/quern.h"
    split(name, part, "/")
    if (part[1] in known && part[1] !~ /^(include|kernels|tests|bench|examples)$/) return "src/" name
    if (index(name, "/") == 0) {
      sub(/[^\/]*$/, "", from)
      return from name
    }
    return name
  }
  /^[ \t]*#[ \t]*include[ \t]*"/ {
    split($0, quoted, "\"")
    target = resolve(quoted[2], FILENAME)
    room = room_of(FILENAME)
    if (FILENAME ~ /^src\/cli\/[a-z_]*bench[a-z_]*\.[ch]$/) rule = may["cli/bench"]
    else if (FILENAME == "src/cli/eval_answers.c") rule = may["cli/answers"]
    else if (room in may) rule = may[room]
    else {
      print FILENAME ": the room " room " is not in the table of tools/check_includes.sh"
      bad = 1
      next
    }
    to = room_of(target)
    if (rule == "*" || to == room) next
    allowed = 0
    n = split(rule, item, " ")
    for (i = 1; i <= n; i++) if (item[i] == to || item[i] == target) allowed = 1
    if (!allowed) {
      print FILENAME ":" FNR ": " room " may not include " quoted[2]
      bad = 1
    }
  }
  # Angle brackets around one of our own would slip past the table; kernels know the C library alone.
  /^[ \t]*#[ \t]*include[ \t]*<(quern\.h|base\/|kernels\/)/ && FILENAME !~ /^examples\// {
    print FILENAME ":" FNR ": write our own headers in quotes"
    bad = 1
  }
  END { exit bad }'
