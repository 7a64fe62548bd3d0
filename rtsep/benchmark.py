"""Measures engines step by step: each case in a process of its own, paced as live sound is.

A loop that steps again and again finds the weights in the processor's cache. A live worker waits
for each chunk, and what ran meanwhile has taken their place: so steps are paced, one per chunk of
time, unless a hot loop is asked for and named as such.
"""

from __future__ import annotations

import gc
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from rtsep.errors import Failure, WrongCall

Step = Callable[[], float]
"""Does something, and says how many seconds it took."""

_LIBRARIES = ("rtsep", "numpy", "torch", "onnxruntime", "llvmlite")
_WARM_UP = 20
_WARM = 200


def measure(
    model: str,
    engine: str = "auto",
    chunk: int | None = None,
    *,
    seconds: float = 10.0,
    paced: bool = True,
    precision: str | None = None,
    beside: bool = False,
) -> dict:
    """One case in a fresh process with one thread: a row of `results`.

    Keys: model, engine, precision, chunk (samples), rate, paced, steps, step_ms, rtf (compute time
    over audio time), misses (steps that were done later than a chunk's time after their chunk was
    there), load_s (from the cache, libraries included), build_s (what a first build took; None
    where there was none), memory_mb (the process's peak), warm_ms (a few steps one after the
    other), and with `beside` stalls_ms: what a loop of the same length, half an interval later,
    took (what that is longer than its median is the machine's).
    """
    if seconds <= 0:
        raise WrongCall(f"{seconds:g} seconds: it must be more than 0")
    case = dict(
        model=str(model),
        engine=engine,
        chunk=chunk,
        seconds=seconds,
        paced=paced,
        precision=precision,
        beside=beside,
    )
    result = _in_own_process(case)
    built = None
    if result.pop("built"):
        # It had to be compiled first, which took its own time and memory.
        built = result["load_s"]
        result = _in_own_process(case)
        result.pop("built")
    return result | {"build_s": built}


def machine() -> dict:
    """What the figures were taken on, and how busy it was (processes running, last minute)."""
    from rtsep.engines.cache import processor
    from rtsep.engines.native.processor import here

    return {
        "processor": " ".join(processor().split()[:-1]),
        "core": here().name,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "system": platform.platform(),
    }


def versions() -> dict:
    found = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    return found


def percentiles(times: np.ndarray) -> dict[str, float]:
    """Seconds to a summary in ms."""
    p50, p99, p999 = np.percentile(times, [50, 99, 99.9])
    named = {"p50": p50, "p99": p99, "p999": p999, "max": times.max()}
    return {name: round(float(value) * 1e3, 4) for name, value in named.items()}


def stepping(engine, sound: np.ndarray) -> Step:
    """Steps an engine on each chunk of `sound` (chunks, *mixture_shape) in turn, and round again.

    Raises what the engine raises.
    """
    from rtsep.engines import calls
    from rtsep.machine import timed

    errors: list[BaseException] = []
    call = calls.of(engine, errors.append)
    scratch, turn = np.zeros(2, np.int64), 0

    def step() -> float:
        nonlocal turn
        call.mixture[...] = sound[turn % len(sound)]
        turn += 1
        took = timed(*call.by_address, scratch)
        if errors:
            raise errors.pop()
        return 1e-9 * took

    return step


def pace(step: Step, interval: float, count: int) -> tuple[np.ndarray, int]:
    """Steps once per `interval` seconds: what each took, and how many were late.

    Late is what ends more than an interval after it was due.
    """
    times, late = np.empty(count), 0
    start = time.perf_counter() + interval
    for index in range(count):
        due = start + index * interval
        while (wait := due - time.perf_counter()) > 0:
            time.sleep(wait)
        times[index] = step()
        late += time.perf_counter() > due + interval
    return times, late


def pace_beside(
    step: Step, interval: float, count: int, busy: float
) -> tuple[np.ndarray, int, np.ndarray]:
    """As `pace`; half an interval later each time something of a known length, `busy` seconds.

    The third array is how long that took: what it takes longer, the machine's own stalls added.
    """
    stalls = np.empty(count)
    turn = -1

    def either() -> float:
        nonlocal turn
        turn += 1
        if not turn % 2:
            return step()
        before = time.perf_counter()
        while time.perf_counter() < before + busy:
            pass
        stalls[turn // 2] = time.perf_counter() - before
        return 0.0

    times, _ = pace(either, interval / 2, 2 * count)
    steps = times[::2]
    return steps, int((steps > interval).sum()), stalls


def loop(step: Step, interval: float, count: int) -> tuple[np.ndarray, int]:
    """Steps again and again; late is what takes longer than an interval."""
    times = np.array([step() for _ in range(count)])
    return times, int((times > interval).sum())


def _in_own_process(case: dict) -> dict:
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "rtsep.benchmark", json.dumps(case)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=os.environ | alone)
    try:
        result = json.loads(done.stdout)
    except ValueError:
        raise Failure(f"the measured process ended with code {done.returncode}") from None
    if "error" in result:
        raise (WrongCall if result["code"] == WrongCall.exit_code else Failure)(result["error"])
    return result


def _run(case: dict) -> dict:
    """In the measured process."""
    heard = []

    def progress(text: str) -> None:
        heard.append(text)
        print(f"rtsep: {text}", file=sys.stderr)

    start = time.perf_counter()
    from rtsep import engines

    engine = engines.build(
        case["model"],
        case["engine"],
        chunk=case["chunk"],
        precision=case["precision"],
        progress=progress,
    )
    load = time.perf_counter() - start
    spec = engine.spec
    interval = spec.chunk / spec.rate
    count = max(1, round(case["seconds"] / interval))
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((64, *spec.mixture_shape)).astype(np.float32) * 0.1
    step = stepping(engine, sound)
    for _ in range(_WARM_UP):
        step()
    gc.collect()
    gc.freeze()
    warm, _ = loop(step, interval, min(count, _WARM))
    stalls = None
    if not case["paced"]:
        times, misses = loop(step, interval, count)
    elif case.get("beside"):
        busy = min(float(np.median(warm)), interval / 4)
        times, misses, stalls = pace_beside(step, interval, count, busy)
    else:
        times, misses = pace(step, interval, count)
    return {
        "model": spec.model,
        "engine": spec.engine,
        "precision": spec.precision,
        "chunk": spec.chunk,
        "rate": spec.rate,
        "paced": case["paced"],
        "steps": count,
        "step_ms": percentiles(times),
        "warm_ms": percentiles(warm),
        "stalls_ms": None if stalls is None else percentiles(stalls),
        "reason": spec.reason,
        "rtf": round(float(times.sum()) / (count * interval), 5),
        "misses": int(misses),
        "load_s": round(load, 3),
        "memory_mb": _peak_memory(),
        "built": bool(heard),
    }


def _peak_memory() -> float | None:
    """Megabytes that this process held at most; None where the system does not tell."""
    try:
        # Since the program was started: rusage would count the parent's pages from before.
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError):
        pass
    try:
        import resource
    except ImportError:
        return None
    scale = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale / 2**20, 1)


if __name__ == "__main__":
    try:
        answer = _run(json.loads(sys.argv[1]))
    except Failure as failure:
        answer = {"error": str(failure), "code": failure.exit_code}
    except KeyboardInterrupt:
        sys.exit(130)
    print(json.dumps(answer))
