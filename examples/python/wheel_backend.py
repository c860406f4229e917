"""wheel_backend.py - makes the wheel of the package quern (PEP 517), with Python's own library alone: no other package is
fetched, so it works without a network. The shared library lies in the package.

QUERN_LIBRARY: a libquern.so to put in; else `make` builds the one of the tree that this file lies in.
"""
import base64
import hashlib
import os
import re
import subprocess
import sysconfig
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]


def _version() -> str:
    number = int(re.search(r"QUERN_VERSION_NUMBER (\d+)u", (ROOT / "include" / "quern.h").read_text())[1])
    return f"{number // 10000}.{number // 100 % 100}.{number % 100}"


def _library() -> bytes:
    given = os.environ.get("QUERN_LIBRARY")
    if not given:
        subprocess.run(["make", "-C", str(ROOT), "BUILD=build", "build/libquern.so"], check=True)
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / "libquern.so"
        source = Path(given) if given else ROOT / "build" / "libquern.so"
        try:
            subprocess.run(["strip", "--strip-unneeded", "-o", str(stripped), str(source)], check=True)
        except (OSError, subprocess.CalledProcessError):
            return source.read_bytes()  # only larger
        return stripped.read_bytes()


def _metadata() -> str:
    return (f"Metadata-Version: 2.1\nName: quern\nVersion: {_version()}\n"
            "Summary: Inference runtime for integer-quantized transformers\nLicense: Apache-2.0\n"
            "Requires-Python: >=3.8\nRequires-Dist: numpy\n")


def get_requires_for_build_wheel(config_settings=None):
    return []


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    tag = "py3-none-" + re.sub(r"[-.]", "_", sysconfig.get_platform())
    info = f"quern-{_version()}.dist-info"
    files = {
        **{f"quern/{path.name}": path.read_bytes() for path in sorted((HERE / "quern").glob("*.py"))},
        "quern/libquern.so": _library(),
        "quern/py.typed": b"",
        f"{info}/LICENSE": (ROOT / "LICENSE").read_bytes(),
        f"{info}/METADATA": _metadata().encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: quern\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
    }
    record = ""
    for name, data in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        record += f"{name},sha256={digest},{len(data)}\n"
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()
    wheel = f"quern-{_version()}-{tag}.whl"
    with zipfile.ZipFile(Path(wheel_directory) / wheel, "w", zipfile.ZIP_DEFLATED) as out:
        for name, data in files.items():
            entry = zipfile.ZipInfo(name)  # a fixed time: the same files give the same wheel
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o755 if name.endswith(".so") else 0o644) << 16
            out.writestr(entry, data)
    return wheel
