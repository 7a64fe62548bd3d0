"""What steps are computed with: engines, the processor, a GPU, and the cache of built steps."""

from __future__ import annotations

import ctypes
import os
import sys
import tempfile
from pathlib import Path

from rtsep import engines
from rtsep.doctor.finding import ADVICE, BROKEN, GOOD, Finding
from rtsep.engines import cache


def findings() -> list[Finding]:
    return [*_engines(engines.available()), _gpu(), kept(cache.folder())]


def _engines(available: dict[str, str | None]) -> list[Finding]:
    """One line for those that are there, and one for each that lacks something."""
    there = [name for name, reason in available.items() if reason is None]
    facts = {"engines": available}
    if engines.AUTO in there:
        found = [Finding("engines", GOOD, ", ".join(there), None, facts)]
    else:
        text = f"the default, {engines.AUTO}, is missing; there is {', '.join(there) or 'none'}"
        advice = "install it, as the next lines say"
        if there:
            advice += f", or use --engine {there[0]}"
        found = [Finding("engines", ADVICE if there else BROKEN, text, advice, facts)]
    for name, reason in available.items():
        if reason is not None:
            lacks, _, install = reason.partition(": ")
            # Nobody can install a GPU.
            state, advice = (ADVICE, install) if install else (GOOD, None)
            found.append(Finding(f"engine {name}", state, lacks, advice))
    return found


def _gpu() -> Finding:
    """NVIDIA's, as its driver lists them."""
    names = {"linux": "libcuda.so.1", "win32": "nvcuda.dll"}
    try:
        driver = ctypes.CDLL(names[sys.platform])
    except (KeyError, OSError):
        text = "no NVIDIA driver: engines for processors need none"
        return Finding("gpu", GOOD, text, None, {"gpus": []})
    count = ctypes.c_int(0)
    code = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    if code or not count.value:
        text = f"an NVIDIA driver, and no GPU that answers (code {code})"
        advice = "`nvidia-smi` says more; engines for processors need none"
        return Finding("gpu", ADVICE, text, advice, {"gpus": []})
    gpus = [_named(driver, k) for k in range(count.value)]
    return Finding("gpu", GOOD, ", ".join(gpus), None, {"gpus": gpus})


def _named(driver, index: int) -> str:
    device, name, size = ctypes.c_int(0), ctypes.create_string_buffer(256), ctypes.c_size_t(0)
    driver.cuDeviceGet(ctypes.byref(device), index)
    driver.cuDeviceGetName(name, len(name), device)
    driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
    return f"{name.value.decode(errors='replace')} ({size.value / 2**30:.0f} GB)"


def kept(folder: Path) -> Finding:
    """Where built engines and compiled callbacks are kept."""
    files = [file for file in folder.rglob("*") if file.is_file()] if folder.is_dir() else []
    megabytes = sum(file.stat().st_size for file in files) / 1e6
    facts = {"cache": str(folder), "cache_mb": round(megabytes, 1)}
    there = next(path for path in (folder, *folder.absolute().parents) if os.path.lexists(path))
    try:
        with tempfile.TemporaryFile(dir=there):
            pass
    except OSError as error:
        advice = "make it writable, or set RTSEP_CACHE_DIR to a folder that is"
        text = f"{folder}: {error.strerror}; every start builds its engine anew"
        return Finding("cache", ADVICE, text, advice, facts)
    return Finding("cache", GOOD, f"{folder}, {megabytes:.0f} MB", None, facts)
