#!/bin/sh
# The command as scripts see it: verbs, exit codes, the shape of outputs, bad input, interrupts, full disks.
# Run from the project's root. BUILD: where the command is. MODEL: the shipped .qrn file. Plain POSIX sh.
BUILD=${BUILD:-build}
MODEL=${MODEL:-models/all-MiniLM-L6-v2.int8.qrn}
quern=$BUILD/quern
passed=0 failed=0
work=$(mktemp -d "${TMPDIR:-/tmp}/quern-cli.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
LC_ALL=C
export LC_ALL

ok() {
  echo "ok   $1"
  passed=$((passed + 1))
}
bad() {
  echo "FAIL $1"
  [ -z "${2:-}" ] || echo "  $2"
  [ ! -s "$work/out" ] || sed 's/^/  out: /' "$work/out" | cut -c1-200 | head -n 5
  [ ! -s "$work/err" ] || sed 's/^/  err: /' "$work/err" | cut -c1-200 | head -n 5
  failed=$((failed + 1))
}
# same NAME GOT WANTED
same() { if [ "$2" = "$3" ]; then ok "$1"; else bad "$1" "got '$2', wanted '$3'"; fi; }
# run CODE NAME ARGUMENTS...: standard input from $work/in; output in $work/out, $work/err. Returns 1 on a wrong code.
run() {
  want=$1 name=$2
  shift 2
  "$quern" "$@" <"$work/in" >"$work/out" 2>"$work/err"
  code=$?
  if [ $code = "$want" ]; then return 0; fi
  bad "$name" "exit code $code, wanted $want"
  return 1
}
# expect CODE NAME PATTERN ARGUMENTS...: also, some line of the output or the errors matches PATTERN.
expect() {
  pattern=$3
  code=$1 name=$2
  shift 3
  run "$code" "$name" "$@" || return
  if grep -qE -- "$pattern" "$work/out" "$work/err"; then ok "$name"; else bad "$name" "nothing matches $pattern"; fi
}
# json FILE: 0 when it is one or more lines each of which is a JSON value. Innermost values are folded until nothing is
# left to fold; what remains must be a bare value.
json() {
  sed -E 's/"([^"\\]|\\(["\\\/bfnrt]|u[0-9a-fA-F]{4}))*"/0/g
    s/(^|[^a-z])(true|false|null)([^a-z]|$)/\10\3/g
    s/(^|[^0-9.a-zA-Z-])-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?/\10/g
    :again
    s/\[(0(,0)*)?\]/0/g
    s/\{(0:0(,0:0)*)?\}/0/g
    tagain' "$1" | awk '$0 != "0" { bad = 1 } END { exit bad || NR == 0 }'
}
is_json() { if json "$work/out"; then ok "$1"; else bad "$1" "not JSON"; fi; }

if [ ! -x "$quern" ] || [ ! -f "$MODEL" ]; then
  echo "FAIL $quern or $MODEL is missing"
  echo "0 passed, 1 failed"
  exit 1
fi
: >"$work/in"

# ---- usage ----------------------------------------------------------------------------------------------------------
expect 0 version '^quern [0-9]+\.[0-9]+\.[0-9]+$' --version
expect 0 overview '^  embed ' --help
expect 2 no_verb 'needs a verb'
expect 2 unknown_verb 'unknown verb .translate.*embed' translate "$MODEL"
expect 2 suggested_verb "did you mean 'embed'" embd
for verb in quantize inspect verify tokenize embed search classify answer generate eval bench; do
  expect 0 "help_$verb" "^Usage: quern $verb " $verb --help
done
cp "$work/out" "$work/flag"
run 0 help_verb help bench && cmp -s "$work/out" "$work/flag" && ok help_verb || bad help_verb
expect 2 unknown_option 'did you mean --format' embed "$MODEL" --fromat=tsv
expect 2 unknown_letter 'unknown option -z' embed "$MODEL" -z
expect 2 bad_choice 'jsonl\|tsv\|npy' embed "$MODEL" --format csv
expect 2 missing_value '--format needs a value' embed "$MODEL" --format
expect 2 flag_with_value 'takes no value' embed "$MODEL" --quiet=1
expect 2 bad_number 'whole number' embed "$MODEL" --threads two
expect 2 number_range '1 to 1024' embed "$MODEL" --threads 0
expect 2 huge_number 'whole number' embed "$MODEL" --limit-bytes 99999999999999999999
expect 2 missing_argument 'needs: search MODEL FILE QUERY' search "$MODEL"
expect 2 extra_argument 'too many' verify "$MODEL" x
expect 2 npy_without_file 'needs -o' embed "$MODEL" --format npy
expect 2 above_positions 'at most 512' embed "$MODEL" --max-tokens 513
expect 2 eval_without_task 'needs --task' eval "$MODEL"
expect 2 unknown_isa "no kernel set 'nonesuch' here: .* has ref" embed "$MODEL" --isa nonesuch
expect 2 unknown_isa_bench "has ref" bench --kernels nothing --isa nonesuch
expect 1 byte_limit 'limit-bytes|limit' embed "$MODEL" --limit-bytes 1K

# ---- models that are none -------------------------------------------------------------------------------------------
size=$(wc -c <"$MODEL")
expect 0 verify_ok '^ok' verify "$MODEL"
run 0 verify_json verify "$MODEL" --json && is_json verify_json
expect 1 missing_model 'no/such.qrn: no such file' inspect no/such.qrn
expect 1 directory_model 'is a directory, not a .qrn file: .quern quantize. makes one' inspect "$work"
printf 'This is no model at all, but it is long enough to be looked at as if it were one. %200s' x >"$work/text.qrn"
expect 3 text_as_model 'text.qrn: not a .qrn' verify "$work/text.qrn"
printf '\014\0\0\0\0\0\0\0{"a":"bcdef"}' >"$work/model.safetensors"
expect 3 safetensors_as_model 'a safetensors file, not a .qrn file; make one with .quern quantize. of the directory' \
  verify "$work/model.safetensors"
printf 'GGUF\003\0\0\0' >"$work/model.gguf"
expect 3 gguf_as_model 'model.gguf: a GGUF file, not a .qrn file; make one with .quern quantize.' verify "$work/model.gguf"
: >"$work/empty.qrn"
expect 3 empty_model '.' verify "$work/empty.qrn"
head -c 1000 "$MODEL" >"$work/short.qrn"
expect 3 truncated_header '.' inspect "$work/short.qrn"
head -c $((size - 1)) "$MODEL" >"$work/short.qrn"
expect 3 truncated_end '.' inspect "$work/short.qrn"
# One byte of the weights changed, near the end: open does not read it, verify does.
head -c $((size - 100000)) "$MODEL" >"$work/flipped.qrn"
tail -c 100000 "$MODEL" | head -c 1 | tr '\000-\377' '\001-\377\000' >>"$work/flipped.qrn"
tail -c 99999 "$MODEL" >>"$work/flipped.qrn"
expect 3 flipped_byte 'checksum' verify "$work/flipped.qrn"
rm -f "$work"/*.qrn

# ---- inspect --------------------------------------------------------------------------------------------------------
expect 0 inspect 'embedding_width +384' inspect "$MODEL"
expect 0 inspect_tensors 'layers.5.ffn.down.weight +i8 +panels +384 x 1552' inspect "$MODEL" --tensors
expect 0 inspect_sites 'bits' inspect "$MODEL" --sites
run 0 inspect_json inspect "$MODEL" --tensors --sites --json && is_json inspect_json
for key in architecture recipe tokenizer bytes layers tensors sites; do
  if grep -q "\"$key\":" "$work/out"; then ok "inspect_json_$key"; else bad "inspect_json_$key"; fi
done

# ---- tokenize -------------------------------------------------------------------------------------------------------
printf 'hello world\n\nWindows\r\nlast' >"$work/in"
run 0 tokenize tokenize "$MODEL" && same tokenize "$(tr '\n' '|' <"$work/out")" '101 7592 2088 102|101 102|101 3645 102|101 2197 102|'
run 0 tokenize_file tokenize "$MODEL" "$work/in" && same tokenize_file "$(wc -l <"$work/out" | tr -d ' ')" 4
run 0 tokenize_plain tokenize "$MODEL" - --no-special && same tokenize_plain "$(tr '\n' '|' <"$work/out")" '7592 2088||3645|2197|'
run 0 tokenize_json tokenize "$MODEL" --json && is_json tokenize_json
printf '68656c6c6f20776f726c64\nff\n\n' >"$work/in"
run 0 tokenize_hex tokenize "$MODEL" --hex && same tokenize_hex "$(sed -n 1p "$work/out")" '101 7592 2088 102'
printf '0g\n' >"$work/in"
expect 1 tokenize_bad_hex 'line 1 .*hexadecimal' tokenize "$MODEL" --hex
printf 'abc\n' >"$work/in"
expect 1 tokenize_odd_hex 'line 1' tokenize "$MODEL" --hex
printf '101 7592 2088 102\n\n' >"$work/in"
run 0 detokenize tokenize "$MODEL" --detokenize && same detokenize "$(tr '\n' '|' <"$work/out")" 'hello world||'
expect 0 detokenize_special '\[CLS\] hello world' tokenize "$MODEL" --detokenize --keep-special
printf '30522\n' >"$work/in"
expect 1 detokenize_range 'line 1' tokenize "$MODEL" --detokenize
printf '7592 x\n' >"$work/in"
expect 1 detokenize_words 'line 1' tokenize "$MODEL" --detokenize

# ---- embed ----------------------------------------------------------------------------------------------------------
printf 'A cat sits on the mat.\n\nStock markets fell today.\r\nA cat sat on a rug.' >"$work/in"
run 0 embed embed "$MODEL" && is_json embed
same embed_rows "$(wc -l <"$work/out" | tr -d ' ')" 4
same embed_values "$(head -n 1 "$work/out" | tr ',' '\n' | wc -l | tr -d ' ')" 384
same embed_length "$(head -n 1 "$work/out" | tr -d '[]' | awk -F, '{ for (i = 1; i <= NF; i++) s += $i * $i; printf "%.4f", s }')" 1.0000
cp "$work/out" "$work/all"
for n in 1 2 3 4; do
  sed -n "${n}p" "$work/in" | "$quern" embed "$MODEL" --threads 1 2>/dev/null
done >"$work/out"
if cmp -s "$work/out" "$work/all"; then ok embed_alone_as_in_batch; else bad embed_alone_as_in_batch; fi
run 0 embed_tsv embed "$MODEL" --format=tsv && same embed_tsv "$(tr '\t' ',' <"$work/out" | cksum)" "$(tr -d '[]' <"$work/all" | cksum)"
run 0 embed_file embed "$MODEL" "$work/in" -o "$work/vectors" && cmp -s "$work/vectors" "$work/all" && ok embed_file || bad embed_file
run 0 embed_npy embed "$MODEL" --format npy -o "$work/vectors.npy"
same embed_npy_bytes "$(wc -c <"$work/vectors.npy" | tr -d ' ')" $((128 + 4 * 384 * 4))
same embed_npy_header "$(head -c 127 "$work/vectors.npy" | tail -c +11 | sed 's/ *$//')" "{'descr': '<f4', 'fortran_order': False, 'shape': (4, 384), }"
same embed_npy_magic "$(head -c 10 "$work/vectors.npy" | od -An -tx1 | tr -d ' \n')" 934e554d505901007600
: >"$work/in"
run 0 embed_nothing embed "$MODEL" && same embed_nothing "$(wc -c <"$work/out" | tr -d ' ')" 0
awk 'BEGIN { for (i = 0; i < 300; i++) print "line " i " of many" }' >"$work/in"
run 0 embed_many embed "$MODEL" && same embed_many "$(wc -l <"$work/out" | tr -d ' ')" 300
same embed_many_last "$(tail -n 1 "$work/out" | cksum)" "$(echo 'line 299 of many' | "$quern" embed "$MODEL" | cksum)"
awk 'BEGIN { for (i = 0; i < 300; i++) printf "word "; print "" }' >"$work/in"
expect 0 cut_reported '^1 of 1 texts was cut to 256 tokens' embed "$MODEL"
expect 0 cut_by_option '^1 of 1 texts was cut to 8 tokens' embed "$MODEL" --max-tokens 8
run 0 cut_quiet embed "$MODEL" --quiet && same cut_quiet "$(wc -c <"$work/err" | tr -d ' ')" 0
printf 'nul\0byte\n' >"$work/in"
run 0 nul_byte embed "$MODEL" && same nul_byte "$(wc -l <"$work/out" | tr -d ' ')" 1
printf 'hello\n' >"$work/in"
run 0 embed_raw embed "$MODEL" --no-normalize --pool cls && is_json embed_raw
expect 0 dashes '^\[' embed --quiet -- "$MODEL" -

# ---- files that cannot be read or written ---------------------------------------------------------------------------
expect 1 missing_file 'no/such' embed "$MODEL" no/such.txt
expect 1 directory_file 'directory' embed "$MODEL" "$work"
expect 1 unwritable_output 'no/such' embed "$MODEL" -o no/such/file
if [ -w /dev/full ]; then
  "$quern" embed "$MODEL" <"$work/in" >/dev/full 2>"$work/err"
  same full_code $? 1
  if grep -q 'cannot write standard output' "$work/err"; then ok full_message; else bad full_message; fi
  expect 1 full_file 'cannot write' embed "$MODEL" -o /dev/full
  [ -c /dev/full ] && ok full_is_left || bad full_is_left
fi
"$quern" embed "$MODEL" <"$work/in" >&- 2>"$work/err"
same closed_output $? 1
"$quern" embed "$MODEL" <"$work/in" -o "$work/closed" >&- 2>&-
same closed_output_unused "$? $(grep -c '^\[' "$work/closed")" '0 1'
"$quern" embed "$MODEL" <&- >"$work/out" 2>"$work/err"
same closed_input $? 1
echo old >"$work/kept"
printf 'fine\n' >"$work/in"
run 1 kept_on_failure embed "$MODEL" no/such.txt -o "$work/kept" && same kept_on_failure "$(cat "$work/kept")" old
ln -s kept "$work/link"
run 0 through_link embed "$MODEL" -o "$work/link" && [ -L "$work/link" ] && grep -q '^\[' "$work/kept" && ok through_link || bad through_link
: >"$work/err"
awk 'BEGIN { for (i = 0; i < 300; i++) print "line " i }' >"$work/many"
{ "$quern" embed "$MODEL" "$work/many" 2>"$work/err"; echo $? >"$work/code"; } | head -n 1 >"$work/out"
same closed_pipe_quiet "$(wc -c <"$work/err" | tr -d ' ')" 0
same closed_pipe_code "$(cat "$work/code")" 141

# ---- interrupts -----------------------------------------------------------------------------------------------------
awk 'BEGIN { for (i = 0; i < 300000; i++) print "a text that takes its time, number " i }' >"$work/many"
echo old >"$work/kept"
for signal in INT TERM; do
  timeout --foreground --preserve-status -s $signal 0.3 "$quern" embed "$MODEL" "$work/many" -o "$work/kept" 2>"$work/err"
  code=$?
  if [ $signal = INT ]; then same interrupted_code $code 130; else same terminated_code $code 143; fi
  same "left_as_it_was_$signal" "$(cat "$work/kept") $(ls "$work" | grep -c 'kept\.tmp')" 'old 0'
done
mkfifo "$work/pipe"
sleep 5 >"$work/pipe" &
feeder=$!
timeout --foreground --preserve-status -s INT 0.3 "$quern" embed "$MODEL" "$work/pipe" >"$work/out" 2>"$work/err"
same interrupted_while_waiting $? 130
kill $feeder 2>/dev/null

# ---- search ---------------------------------------------------------------------------------------------------------
printf 'The stock market fell.\nA kitten sleeps on the sofa.\nRain is expected.\n"Bricks",\tand mortar.\nBread is baked.\n' >"$work/lines"
: >"$work/in"
run 0 search search "$MODEL" "$work/lines" 'a cat at rest' -k 3
same search_rows "$(wc -l <"$work/out" | tr -d ' ')" 3
if head -n 1 "$work/out" | grep -qE "^0\.[0-9]{4}$(printf '\t')2$(printf '\t')A kitten sleeps on the sofa\.$"; then ok search_best; else bad search_best; fi
run 0 search_json search "$MODEL" "$work/lines" 'a cat at rest' --json && is_json search_json
if grep -q '"line":2,"text":"A kitten' "$work/out"; then ok search_json_keys; else bad search_json_keys; fi
same search_default_k "$(grep -o '"score"' "$work/out" | wc -l | tr -d ' ')" 5
printf 'same\nsame\nother\nsame\n' >"$work/in"
run 0 search_ties search "$MODEL" - same -k 3 && same search_ties "$(cut -f2 "$work/out" | tr '\n' ' ')" '1 2 4 '
: >"$work/in"
run 0 search_nothing search "$MODEL" - x --json && same search_nothing "$(cat "$work/out")" '[]'

# ---- eval -----------------------------------------------------------------------------------------------------------
printf 'id\tscore\tsentence1\tsentence2\n1\t5\tA man plays a guitar.\tA man is playing the guitar.\n2\t0.2\tA man plays a guitar.\tThe bread is in the oven.\n3\t3\tA dog runs in the park.\tA dog sleeps in the park.\r\n' >"$work/sts.tsv"
run 0 eval_sts eval "$MODEL" --task sts --data "$work/sts.tsv" --json && is_json eval_sts
if grep -q '"task":"sts".*"rows":3,"metrics":{"spearman":1,"pearson":0\.9' "$work/out"; then ok eval_sts_keys; else bad eval_sts_keys; fi
run 0 eval_self eval "$MODEL" --task sts --data "$work/sts.tsv" --json --reference "$MODEL" --limit 2
if grep -qE '"rows":2,.*"cosine":\{"mean":(1|0\.99999)[^}]*"p1":[^}]*"min":' "$work/out"; then ok eval_self; else bad eval_self; fi
expect 0 eval_table '^spearman +1\.0000' eval "$MODEL" --task sts --data "$work/sts.tsv"
printf 'score\tsentence1\n1\ta\n' >"$work/bad.tsv"
expect 1 eval_missing_column 'lacks the column sentence2; its first line names: score, sentence1' eval "$MODEL" --task sts --data "$work/bad.tsv"
printf 'score\tsentence1\tsentence2\n1\ta\n' >"$work/bad.tsv"
expect 1 eval_short_row 'line 2 .* 2 columns' eval "$MODEL" --task sts --data "$work/bad.tsv"
printf 'score\tsentence1\tsentence2\nhigh\ta\tb\n' >"$work/bad.tsv"
expect 1 eval_bad_score "line 2 .*'high'.*no number" eval "$MODEL" --task sts --data "$work/bad.tsv"
printf 'score\tsentence1\tsentence2\n' >"$work/bad.tsv"
expect 1 eval_no_rows 'no rows' eval "$MODEL" --task sts --data "$work/bad.tsv"
: >"$work/bad.tsv"
expect 1 eval_empty 'empty' eval "$MODEL" --task sts --data "$work/bad.tsv"
expect 1 eval_no_head 'no classification head: it is an embedder, take --task sts or retrieval' eval "$MODEL" --task classify --data "$work/sts.tsv"
expect 1 classify_no_head 'no classification head: it is an embedder, take quern embed or search' classify "$MODEL"

# Retrieval: 12 documents, the last 11 the same, so that equal scores rank by their order; metrics known by hand.
retrieval=$work/retrieval
mkdir "$retrieval"
{
  printf 'id\tlang\ttitle\ttext\nd0\ten\tBread\tis baked in the oven.\n'
  for n in 1 2 3 4 5 6 7 8 9 10 11; do printf 'd%s\ten\t\tA cat sleeps on the sofa.\n' $n; done
} >"$retrieval/corpus.tsv"
printf 'qid\ttext\nq1\tbaking bread\nq2\ta kitten on a couch\nq3\tnot judged\n' >"$retrieval/queries.tsv"
# eval_ranked NAME NDCG RECALL QUERY DOCUMENT RELEVANCE ...: one query's judgements and their metrics.
eval_ranked() {
  name=$1 wanted="$2 $3" query=$4
  shift 4
  printf 'qid\tdocid\trel\n' >"$retrieval/qrels.tsv"
  while [ $# -gt 0 ]; do
    printf '%s\t%s\t%s\n' "$query" "$1" "$2" >>"$retrieval/qrels.tsv"
    shift 2
  done
  run 0 "$name" eval "$MODEL" --task retrieval --data "$retrieval" || return
  same "$name" "$(awk '/^ndcg|^recall/ { print $2 }' "$work/out" | tr '\n' ' ')" "$wanted "
}
eval_ranked retrieval_first 1.0000 1.0000 q1 d0 1
eval_ranked retrieval_second 0.6309 1.0000 q2 d2 1 # 1 / log2 3
eval_ranked retrieval_tenth 0.2891 1.0000 q2 d10 1 # 1 / log2 11
eval_ranked retrieval_eleventh 0.0000 0.0000 q2 d11 1
eval_ranked retrieval_graded 0.8597 1.0000 q2 d1 1 d2 2 # (1 + 2 / log2 3) / (2 + 1 / log2 3)
eval_ranked retrieval_irrelevant 0.6309 1.0000 q2 d1 0 d2 1 d3 -1
eval_ranked retrieval_last_counts 1.0000 1.0000 q2 d1 0 d1 3
eval_ranked retrieval_half 0.6131 0.5000 q2 d1 1 d11 1 # 1 / (1 + 1 / log2 3)
eval_ranked retrieval_unknown_document 0.6131 0.5000 q2 d1 1 nowhere 1
same retrieval_unknown_told "$(grep -c 'of 2 judgements 0 name an unknown query .*, 1 an unknown document' "$work/err")" 1
printf 'note\trel\tdocid\tqid\n.\t1\td0\tq1\n.\t1\td2\tq2\n.\t0\td1\tq3\n.\t1\td1\tq9\n' >"$retrieval/qrels.tsv"
run 0 retrieval_json eval "$MODEL" --task retrieval --data "$retrieval" --json --reference "$MODEL" && is_json retrieval_json
if grep -qE '"task":"retrieval",.*"rows":2,"metrics":\{"ndcg_at_10":0\.8154648767[0-9]*,"recall_at_10":1\},"reference":\{"model":"[^"]*","ndcg_at_10":0\.8154648767[0-9]*,"recall_at_10":1,"cosine":\{"mean":(1|0\.99999)[^}]*"p1":[^}]*"min":' "$work/out"; then ok retrieval_keys; else bad retrieval_keys; fi
same retrieval_unknown_query "$(grep -c 'of 4 judgements 1 name an unknown query .*, 0 an unknown document' "$work/err")" 1
run 0 retrieval_limit eval "$MODEL" --task retrieval --data "$retrieval" --limit 1 --json
if grep -q '"rows":1,"metrics":{"ndcg_at_10":1,' "$work/out"; then ok retrieval_limit; else bad retrieval_limit; fi
expect 0 retrieval_cut 'cut to 4 tokens' eval "$MODEL" --task retrieval --data "$retrieval" --max-tokens 4
printf 'text\tid\nBread is baked in the oven.\td0\nA cat sleeps.\td2\n' >"$retrieval/corpus.tsv"
expect 0 retrieval_no_title '^ndcg_at_10 +1\.0000' eval "$MODEL" --task retrieval --data "$retrieval"
printf 'A dog barks.\td2\n' >>"$retrieval/corpus.tsv"
expect 1 retrieval_twice "line 4 of .*corpus.tsv: 'd2' was there before" eval "$MODEL" --task retrieval --data "$retrieval"
printf 'id\ttext\n' >"$retrieval/corpus.tsv"
expect 1 retrieval_no_documents 'corpus.tsv has no documents' eval "$MODEL" --task retrieval --data "$retrieval"
printf 'id\ttitle\nd0\tBread\n' >"$retrieval/corpus.tsv"
expect 1 retrieval_missing_column 'corpus.tsv lacks the column text' eval "$MODEL" --task retrieval --data "$retrieval"
rm "$retrieval/corpus.tsv"
expect 1 retrieval_missing_file 'retrieval/corpus.tsv: no such file' eval "$MODEL" --task retrieval --data "$retrieval"
awk 'BEGIN { print "id\ttext"; for (i = 0; i < 300000; i++) print i "\ta text that takes its time, number " i }' >"$retrieval/corpus.tsv"
timeout --foreground --preserve-status -s INT 0.5 "$quern" eval "$MODEL" --task retrieval --data "$retrieval" >"$work/out" 2>"$work/err"
same retrieval_interrupted "$? $(wc -c <"$work/out" | tr -d ' ')" '130 0'
awk 'BEGIN { print "qid\tdocid\trel"; for (i = 0; i < 20000; i++) print i "\t0\t1" }' >"$retrieval/qrels.tsv"
expect 1 retrieval_byte_limit '20000 queries need 32320000 bytes, above --limit-bytes' eval "$MODEL" --task retrieval --data "$retrieval" --limit-bytes 30M
expect 1 retrieval_no_queries 'no query of .*queries.tsv has a relevant document' eval "$MODEL" --task retrieval --data "$retrieval"

# ---- quantize, bench ------------------------------------------------------------------------------------------------
run 0 print_recipe quantize --print-recipe int8 && printf '%s\n' "$(tr -d ' \n' <"$work/out")" >"$work/compact" &&
  mv "$work/compact" "$work/out" && is_json print_recipe
expect 2 unknown_recipe "did you mean 'int8'" quantize --print-recipe int9
expect 2 quantize_without_output 'needs -o' quantize "$work"
for x in 0 -1 1.5 nan x 0.1x; do
  expect 2 "max_loss_$x" 'max-loss takes a number above 0 and at most 1' quantize "$work" -o "$work/x.qrn" --recipe auto --max-loss "$x"
done
expect 2 select_of_another_kind 'random\|longest\|outliers' quantize "$work" -o "$work/x.qrn" --select shortest
expect 2 max_loss_of_another 'auto.*not for mixed' quantize "$work" -o "$work/x.qrn" --recipe mixed --max-loss 0.1
expect 2 rows_without_text 'drawn from calibration text, and none is given' quantize "$work" -o "$work/x.qrn" --rows 8
expect 3 quantize_a_model 'not a GGUF file, but a model file that is made already' quantize "$MODEL" -o "$work/x.qrn"
expect 1 quantize_missing 'no/such' quantize no/such -o "$work/x.qrn"
expect 1 quantize_says_first_that_it_cannot_write 'none/x.qrn: .*folder does not exist' quantize no/such -o "$work/none/x.qrn"
mkdir "$work/source"
echo '{' >"$work/source/config.json"
expect 3 quantize_bad_config 'config.json' quantize "$work/source" -o "$work/x.qrn"
echo '{"model_type":"nonesuch"}' >"$work/source/config.json"
expect 3 quantize_unsupported 'nonesuch.*bert' quantize "$work/source" -o "$work/x.qrn"
same quantize_leaves_nothing "$(ls "$work" | grep -c 'x\.qrn')" 0
run 0 bench_json bench "$MODEL" --batch 2 --seq 16 --repeat 3 --json && is_json bench_json
for key in model isa threads batch seq tokens_per_second latency_ms p50 p99 load_ms peak_rss_bytes peak_gops fraction_of_peak; do
  grep -q "\"$key\":" "$work/out" || bad "bench_json_$key"
done
ok bench_json_keys
expect 0 bench_kernel 'gemm_q8 +m=4 n=384 k=384 .*GOPS' bench --kernels 'm=4 n=384 k=384'
run 0 bench_bars bench --kernels 'bar avx2 8 bit, one row, L3' --json && is_json bench_bars
expect 0 bench_bar_row '"case":"8 bit, one row, L3","isa":"avx2",.*"bar":0.9,("met":true|.*"reason":)' \
  bench --kernels 'bar avx2 8 bit, one row, L3' --json
expect 0 bench_counted_bar 'i8mm +8 bit, matrices .*at most \[1\]$' bench --kernels 'bar i8mm 8 bit, matrices'
expect 0 bench_counted_bars 'i8mm +\[1\] counted by make check-qemu' bench --kernels 'bar i8mm'
same bench_reasons_once "$(grep -c 'counted by' "$work/out")" 1
expect 1 bench_no_kernel 'nonesuch' bench --kernels nonesuch
expect 2 bench_long 'at most 512' bench "$MODEL" --seq 513
printf 'A line.\n\nAnd another one, that is longer.\n' >"$work/text"
run 0 bench_text bench "$MODEL" --text "$work/text" --repeat 2 --json && is_json bench_text
expect 0 bench_text_tokens '"lines":3,"bytes":39,"tokens":17,"repeat":2,"bytes_per_second":' bench "$MODEL" --text "$work/text" --repeat 2 --json
expect 0 bench_text_shown 'tokenizing +[0-9.]+ MB/s' bench "$MODEL" --text "$work/text" --repeat 2
: >"$work/in"
expect 1 bench_no_text 'standard input: no text' bench "$MODEL" --text -
expect 2 bench_text_alone 'only --repeat' bench "$MODEL" --text "$work/text" --seq 16

echo "$passed passed, $failed failed"
[ $failed = 0 ]
