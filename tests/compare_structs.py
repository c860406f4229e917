"""compare_structs.py - holds the structs of the Python package against include/quern.h: every field's offset, every size.
From the project's root, with numpy: PYTHONPATH=examples/python compare_structs.py [CC]"""
import ctypes
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from quern import _library

NAMES = {"View": "quern_tensor_view", "StatsInfo": "quern_stats"}  # of others from the class's name


def c_name(name):
    return NAMES.get(name) or "quern" + re.sub("[A-Z]", lambda letter: "_" + letter[0].lower(), name)


def main() -> int:
    lines, ours = [], []
    for name, kind in vars(_library).items():
        if not isinstance(kind, type) or not issubclass(kind, ctypes.Structure) or not hasattr(kind, "_fields_"):
            continue
        struct = c_name(name)
        ours.append(f"{struct} {ctypes.sizeof(kind)}")
        lines.append(f'printf("{struct} %zu\\n", sizeof({struct}));')
        for field, _ in kind._fields_:
            ours.append(f"{struct}.{field} {getattr(kind, field).offset} {getattr(kind, field).size}")
            lines.append(f'printf("{struct}.{field} %zu %zu\\n", offsetof({struct}, {field}), '
                         f'sizeof((({struct} *)0)->{field}));')
    with tempfile.TemporaryDirectory() as folder:
        source, program = Path(folder, "structs.c"), Path(folder, "structs")
        source.write_text("#include <quern.h>\n#include <stdio.h>\nint main(void) {\n" + "\n".join(lines) + "\n}\n")
        subprocess.run([*(sys.argv[1:] or ["cc"]), "-Iinclude", "-o", str(program), str(source)], check=True)
        theirs = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout.splitlines()
    different = [f"{a}, in quern.h {b}" for a, b in zip(ours, theirs) if a != b]
    print("\n".join(different) or f"{len(ours)} fields and sizes are the same")
    return bool(different) or len(ours) < 50


if __name__ == "__main__":
    sys.exit(main())
