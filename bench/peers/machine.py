"""machine.py - what a result has to say about the machine it was taken on."""
import datetime
import os
import platform
import re

FEATURES = ("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16", "asimddp",
            "i8mm", "bf16")


def cpu_info():
    """The first processor of /proc/cpuinfo: its name, and its features as the kernel names them."""
    values = {}
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as f:
            for line in f:
                key, _, value = line.partition(":")
                values.setdefault(key.strip(), value.strip())
    except OSError:
        pass
    flags = (values.get("flags") or values.get("Features") or "").split()
    name = values.get("model name") or platform.processor() or platform.machine()
    family = ", ".join(f"{k} {values[k]}" for k in ("cpu family", "model") if k in values)
    return name + (f" ({family})" if family else ""), flags


def cores(allowed):
    """The allowed CPUs, those first that share no core with one before them."""
    first, second, seen = [], [], set()
    for cpu in sorted(allowed):
        try:
            with open(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", encoding="ascii") as f:
                core = f.read().strip()
        except OSError:
            core = str(cpu)
        (second if core in seen else first).append(cpu)
        seen.add(core)
    return first + second


def pin(threads):
    """Keeps this process and its children on as many CPUs as threads; their numbers."""
    allowed = os.sched_getaffinity(0)
    if threads > len(allowed):
        raise SystemExit(f"--threads {threads}: this process may use {len(allowed)} CPUs")
    chosen = cores(allowed)[:threads]
    os.sched_setaffinity(0, chosen)
    return chosen


def add_load_after(described, threads):
    """And whether other work ran: the load average counts the comparison's own threads too."""
    described["load_after"] = os.getloadavg()[0]
    described["busy"] = described["load_before"] > 1 or described["load_after"] > threads + 1


def describe(cpus):
    name, flags = cpu_info()
    now = datetime.datetime.now(datetime.timezone.utc)
    return {"date": f"{now:%Y-%m-%d %H:%M} UTC", "cpu": name, "features": [f for f in FEATURES if f in flags], "cpus": cpus,
            "system": f"{platform.system()} {re.sub(r'-.*', '', platform.release())} {platform.machine()}",
            "python": platform.python_version(), "load_before": os.getloadavg()[0]}
