"""Answers what a user says, as it comes: generate.py MODEL.qrn TEXT"""
import sys
try:
    import quern
except ImportError as missing:  # numpy, or the library
    sys.exit(f"generate.py: {missing}")

if len(sys.argv) != 3:
    sys.exit(__doc__)
messages = [{"role": "user", "content": sys.argv[2]}]  # a text would be continued, token ids too

with quern.Model(sys.argv[1]) as model, model.decoder() as decoder:
    for text in decoder.generate(messages, max_new=200, sampling=quern.Sampling(temperature=0.7, top_p=0.9, seed=1)):
        print(text, end="", flush=True)
    print()
