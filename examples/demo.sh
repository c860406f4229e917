#!/bin/sh
# Asks the shipped model a few questions about examples/passages.txt. Called by `make demo`; also by hand, with your own
# questions:  sh examples/demo.sh "Why is the sky blue?"
# BUILD: where the command is (build). MODEL: the .qrn file. Plain POSIX sh.
BUILD=${BUILD:-build}
MODEL=${MODEL:-models/all-MiniLM-L6-v2.int8.qrn}
TEXT=examples/passages.txt

for need in "$BUILD/quern" "$MODEL" "$TEXT"; do
  if [ ! -f "$need" ]; then
    echo "demo: $need is missing; run this from the project's root, after \`make\`" >&2
    exit 1
  fi
done
if [ $# = 0 ]; then
  set -- "My faucet won't stop leaking" \
    "Why do I cry in the kitchen?" \
    "What makes that loud bang in a storm?" \
    "How can I stay safe when the ocean drags me away?" \
    "How can an AI model be made smaller?"
fi

bold='' dim='' green='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR:-}" ] && [ "${TERM:-dumb}" != dumb ]; then
  esc=$(printf '\033')
  bold="${esc}[1m" dim="${esc}[2m" green="${esc}[32m" plain="${esc}[0m"
fi

# Milliseconds on some clock; whole seconds where date has no %N.
now_ms() {
  t=$(date +%s%N)
  case $t in
    *[!0-9]* | ?????????? | ???????????) echo $(($(date +%s) * 1000)) ;;
    *) echo $((t / 1000000)) ;;
  esac
}

out=$(mktemp "${TMPDIR:-/tmp}/quern-demo.XXXXXX") || exit 1
trap 'rm -f "$out"' EXIT
trap 'exit 130' INT
lines=$(awk 'END { print NR }' "$TEXT")
echo "Searching $TEXT ($lines passages) with $MODEL"
echo "${dim}The score is the cosine between meanings, 1 at most. No words need to match.${plain}"

for question; do
  echo
  echo "${bold}? $question${plain}"
  start=$(now_ms)
  "$BUILD/quern" search "$MODEL" "$TEXT" "$question" -k 3 --quiet >"$out" || exit 1
  end=$(now_ms)
  # Each line: score, line number, text. The text is wrapped at 96 columns.
  awk -F '\t' -v bold="$bold" -v green="$green" -v plain="$plain" '
    NF >= 3 {
      n = split($3, word, " ")
      line = ""
      start = NR == 1 ? bold : ""
      head = sprintf("  %s%6.3f%s  ", green, $1, plain)
      for (i = 1; i <= n; i++) {
        if (line != "" && length(line) + length(word[i]) + 1 > 86) {
          print head start line plain
          head = "          "
          line = word[i]
        } else line = line == "" ? word[i] : line " " word[i]
      }
      print head start line plain
    }' "$out"
  echo "${dim}  $((end - start)) ms: the model opened, $lines passages and the question embedded, the best picked${plain}"
done
