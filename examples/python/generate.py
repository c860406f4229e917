"""Continues a text, or answers what a user says, as it comes: generate.py MODEL.qrn TEXT [--chat]"""
import sys
try:
    import quern
except ImportError as missing:  # numpy, or the library
    sys.exit(f"generate.py: {missing}")

arguments = [a for a in sys.argv[1:] if a != "--chat"]
if len(arguments) != 2:
    sys.exit(__doc__)
model_path, text = arguments
prompt = [{"role": "user", "content": text}] if "--chat" in sys.argv else text

with quern.Model(model_path) as model, model.decoder() as decoder:
    generation = decoder.generate(prompt, max_new=200, sampling=quern.Sampling(temperature=0.7, top_p=0.9, seed=1))
    try:
        for piece in generation:
            print(piece, end="", flush=True)
    except KeyboardInterrupt:  # the generation has ended
        pass
    print()
    print(f"({len(generation.ids)} tokens, {generation.reason or 'interrupted'})", file=sys.stderr)
