"""Searches a text: example.py MODEL.qrn FILE QUESTION"""
import sys
try:
    import quern
except ImportError as missing:  # numpy, or the library
    sys.exit(f"example.py: {missing}")

if len(sys.argv) != 4:
    sys.exit(__doc__)
model_path, text_path, question = sys.argv[1:]
passages = open(text_path, encoding="utf-8").read().splitlines()

with quern.Model(model_path) as model:
    vectors = model.embed(passages)  # numpy float32 [n, 384]; keep it, and only questions remain to be embedded
    for score, index, passage in model.search(question, passages, k=3, vectors=vectors):
        print(f"{score:.3f}  line {index + 1}: {passage}")
