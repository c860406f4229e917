#!/bin/sh
# The scripts in bench/: the comparison with the shipped model and no other engine, and the report on its result and on
# the sample. Run from the project's root. BUILD, MODEL: as in the Makefile. PYTHON: a python3, used when it has numpy.
PYTHONDONTWRITEBYTECODE=1
export PYTHONDONTWRITEBYTECODE
. tests/report.sh

if instrumented; then
  skip "the measuring scripts: a sanitizer's or an emulated build"
  finish
fi
if ! command -v "$PYTHON" >/dev/null 2>&1; then
  skip "the measuring scripts: no $PYTHON"
  finish
fi

sample=bench/report/sample
# page FILE SHAPES...: well-formed, refers to nothing outside of itself, and has so many of each element: circle=30.
page() {
  "$PYTHON" - "$@" <<'END'
import sys
import xml.etree.ElementTree as tree
root = tree.parse(sys.argv[1]).getroot()
names = [e.tag.rsplit("}", 1)[-1] for e in root.iter()]
assert root.tag == "html" and "script" not in names
for e in root.iter():
    assert not {"src", "href"} & set(e.attrib), e.attrib
    for value in e.attrib.values():
        assert "nan" not in value.split() and "inf" not in value.split(), value
for wanted in sys.argv[2:]:
    name, least = wanted.split("=")
    assert names.count(name) >= int(least), (name, names.count(name))
END
}

"$PYTHON" bench/report --limits $sample/limits.json --kernels $sample/kernels.json --peers $sample/peers.json \
  -o "$work/sample.html" >"$work/out" 2>&1 && page "$work/sample.html" svg=3 circle=20 rect=10 table=3 >>"$work/out" 2>&1 &&
  grep -q 'The machine was busy' "$work/sample.html" && grep -q '<td>missed</td>' "$work/sample.html"
report report_of_the_sample $? "$work/out"

sed 's/"threads": *1/"threads": 2/' $sample/limits.json >"$work/limits.json"
! "$PYTHON" bench/report --limits "$work/limits.json" --kernels $sample/kernels.json -o "$work/none.html" >"$work/out" 2>&1 &&
  grep -q 'threads' "$work/out" && [ ! -e "$work/none.html" ]
report report_refuses_limits_of_more_threads $? "$work/out"
"$PYTHON" bench/report --mca $sample/mca.json $sample/mca-aarch64.json -o "$work/mca.html" >"$work/out" 2>&1 &&
  page "$work/mca.html" table=2 tr=30 >>"$work/out" 2>&1
report report_of_inner_loops $? "$work/out"
echo '{"isa":"avx2","kernels":[],"bars":[]}' >"$work/no.json"
! "$PYTHON" bench/report --mca "$work/no.json" -o "$work/none.html" >"$work/out" 2>&1 && grep -q 'no result of bench/mca.py' "$work/out"
report report_refuses_what_is_no_mca $? "$work/out"

# Products of an inner loop are those of a step, once or more: 4 rows, or 6 by 4 panels, by 16 channels by 4 inputs.
if command -v llvm-mca-19 >/dev/null && command -v objdump >/dev/null && [ "$(uname -m)" = x86_64 ]; then
  "$PYTHON" bench/mca.py --build "$BUILD" -o "$work/mca.json" >"$work/out" 2>&1 && "$PYTHON" - "$work/mca.json" >>"$work/out" 2>&1 <<'END'
import json
import sys
loops = {(r["isa"], r["function"], r["cpu"]): r for r in json.load(open(sys.argv[1]))["loops"]}
tile = loops["avx2", "qk_tile_4x1", "znver3"]
assert tile["multiply_adds"] % 256 == 0 and 0 < tile["bound_cycles"] <= tile["cycles"], tile
assert loops["avx512vnni", "qk_tile_6x4", "sapphirerapids"]["multiply_adds"] % 1536 == 0
END
  report inner_loops $? "$work/out"
else
  skip "inner_loops: no llvm-mca-19 or objdump, or another machine"
fi

! "$PYTHON" bench/report --peers $sample/limits.json -o "$work/none.html" >"$work/out" 2>&1 &&
  grep -q 'no result of bench/peers' "$work/out"
report report_refuses_what_is_no_comparison $? "$work/out"

BUILD=$BUILD "$PYTHON" bench/decoders --recipes "$MODEL" --peers "" --encode 2x16 --threads 1 --rounds 1 --repeat 1 \
  --out "$work/decoders" >"$work/out" 2>&1 && grep -q '^| 2 x 16 tokens | [0-9,.]* | 0\.' "$work/decoders.md" && grep -q '"open_ms"' "$work/decoders.json"
report decoders_take_a_file $? "$work/out"
! "$PYTHON" bench/decoders --recipes int4 --peers "" --out "$work/none" >"$work/out" 2>&1 && grep -q 'made of a --source' "$work/out"
report decoders_want_a_source $? "$work/out"

if ! "$PYTHON" -c 'import numpy' 2>/dev/null; then
  skip "the comparison: no $PYTHON with numpy"
  finish
fi

# Modules that cannot be imported stand for engines that are not installed, wherever this runs; a ctranslate2 that ends
# its process, for one that crashes.
mkdir "$work/absent"
echo 'import os; os.write(2, b"gone astray"); os._exit(7)' >"$work/absent/ctranslate2.py"
echo 'raise ImportError("not installed")' | tee "$work/absent/onnxruntime.py" >"$work/absent/llama_cpp.py"
peers() {
  PYTHONPATH=$work/absent "$PYTHON" bench/peers --quern "$BUILD/quern" --work "$work/models" --rounds 2 \
    --seconds 0 --loads 1 --pause 0 "$@" >"$work/out" 2>&1
}
head -n 5 examples/passages.txt >"$work/texts"
peers --qrn "$MODEL" --engines quern,onnxruntime,ctranslate2,llamacpp --variants int8 --cases 2x16,1x8 --text "$work/texts" \
  --out "$work/result"
report comparison $? "$work/out"
"$PYTHON" - "$work/result.json" >"$work/out" 2>&1 <<'END'
import json
import sys
result = json.load(open(sys.argv[1]))
quern, absent, crashed, uncompiled = result["rows"]
assert result["sizes"] == {"layers": 6, "width": 384, "ffn_width": 1536, "vocab": 30522}, result["sizes"]
assert result["machine"]["cpu"] and len(result["machine"]["cpus"]) == 1 and result["limits"]
assert (quern["engine"], quern["variant"]) == ("quern", "int8") and "unavailable" not in quern, quern
assert [(c["batch"], c["seq"], c["runs"]) for c in quern["cases"]] == [(2, 16, 4), (1, 8, 4)], quern["cases"]
for c in quern["cases"]:
    assert 0 < c["best_ms"] <= c["median_ms"] and 0 < c["fraction_of_peak"] < 1.2, c
    assert abs(c["tokens_per_second"] - c["batch"] * c["seq"] / c["best_ms"] * 1e3) < 1e-6 * c["tokens_per_second"], c
# Two products of [2 * 16 tokens] each: 6 layers of 2 (4 d d + 2 d f) + 4 s d operations a token.
c = quern["cases"][0]
ops = 32 * 6 * (2 * (4 * 384 * 384 + 2 * 384 * 1536) + 4 * 16 * 384)
assert abs(c["gops"] * c["best_ms"] * 1e6 / ops - 1) < 1e-9, c
assert 20e6 < quern["file_bytes"] < 30e6 and quern["load_ms"] > 0
assert quern["python_rss_bytes"] < quern["first_rss_bytes"] <= quern["peak_rss_bytes"] < 500e6, quern
for row in absent, uncompiled:
    assert "not installed" in row["unavailable"] and not row["cases"], row
assert crashed["unavailable"] == "ended with code 7: gone astray" and not crashed["cases"], crashed
assert result["texts"] == 5 and result["reference"] is None
END
report comparison_json $? "$work/out"
grep -q '^[0-9]*-[0-9]*-[0-9]* [0-9:]* UTC; .* thread' "$work/result.md" && grep -q '^Versions: .*quern [0-9.]' "$work/result.md" &&
  grep -q '^| quern int8 |' "$work/result.md" && grep -q '^| onnxruntime int8 | .*not installed' "$work/result.md" &&
  grep -q 'No cosines' "$work/result.md"
report comparison_table $?
"$PYTHON" bench/report --peers "$work/result.json" -o "$work/result.html" >"$work/out" 2>&1 &&
  page "$work/result.html" svg=2 rect=2 table=1 li=2 >>"$work/out" 2>&1
report report_of_the_comparison $? "$work/out"

# The engine's embeddings are the library's: pooled in numpy, so equal but for rounding.
QUERN_LIBRARY=$(cd "$BUILD" && pwd)/libquern.so "$PYTHON" - "$MODEL" "$work/models" >"$work/out" 2>&1 <<'END'
import glob
import sys
sys.path[:0] = ["bench/peers", "examples/python"]
import numpy as np
import engine
import quern
task = engine.Task(None, sys.argv[1], sys.argv[2], None, 1, 30522, [])
folder = glob.glob(sys.argv[2] + "/*/quern-int8")[0]
embed = engine.create("quern", task).load("int8", folder)
with quern.Model(sys.argv[1], threads=1) as model:
    for text in ("a cat on a mat", "If a tap drips, the rubber washer inside is usually worn."):
        own = embed(model.tokenize(text)[None].astype(np.int64))[0]
        assert np.abs(own - model.embed(text)).max() < 1e-6
END
report comparison_embeds_as_the_library $? "$work/out"

! peers --qrn "$work/none.qrn" --engines quern --out "$work/none" && grep -q 'none.qrn is not there' "$work/out" && [ ! -e "$work/none.md" ]
report comparison_names_a_missing_model $? "$work/out"
! peers --qrn "$MODEL" --engines quern --threads 100000 --out "$work/none" && grep -q 'may use [0-9]* CPUs' "$work/out"
report comparison_refuses_more_threads_than_cpus $? "$work/out"
! peers --qrn "$MODEL" --engines nobody --out "$work/none" && grep -q 'no engine nobody' "$work/out"
report comparison_names_an_unknown_engine $? "$work/out"
finish
