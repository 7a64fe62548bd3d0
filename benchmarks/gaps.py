"""Why a step takes longer than its floor: the same step in four situations, in turns.

    python benchmarks/gaps.py [--seconds 4] [--resume] [--out FILE.json]

"warm" is step after step. "cold" is that too, but before each step twice as much memory is read as
the second cache holds, and "far" twice as much as the last one holds, so that weights and state
come from the next one, or from memory. "awake" is one step per chunk of time, while the core waits
without ever resting; "paced" is how it is live: the core sleeps until a chunk is there. What
"paced" takes longer than "awake" is the price of a core at rest; what "cold" and "far" take longer
than "warm" is the price of distance, and "awake" shows which of them a step pays.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402 - the libraries read these variables when they are loaded
from floors import Floors, measure  # noqa: E402
from parts import RESULTS, Report, chunk_of, model_path  # noqa: E402

from rtsep import benchmark, checkpoints, costs, engines  # noqa: E402

SITUATIONS = ("warm", "cold", "far", "awake", "paced")
# A model, a precision, and about how many milliseconds a chunk lasts.
CASES = (
    ("convtasnet", "float32", 4.0),
    ("convtasnet", "int8", 4.0),
    ("convtasnet/published-16k", "float32", 8.0),
    ("convtasnet/published-16k", "int8", 8.0),
    ("hstasnet/low-latency", "float32", 2.9),
    ("hstasnet/low-latency", "int8", 2.9),
)
_TURNS = 8
_MOST = 128 << 20  # bytes of a last cache: others use it too


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", help="default: all that are compared")
    parser.add_argument("--seconds", type=float, default=4, help="of each situation")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "gaps.json")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    floors = measure()
    report = Report(options.out, options.resume, floors=floors.as_json())
    for name, precision, ms in CASES:
        if name in (options.models or [name]):
            key = {"name": name, "engine": "native", "precision": precision, "ms": ms}
            report.row(key, lambda key=key: case(key, floors, options.seconds))
    report.write()


def case(key: dict, floors: Floors, seconds: float) -> dict:
    path = model_path(key["name"])
    spec = engines.spec_of(path)
    chunk = chunk_of(spec, key["ms"])
    engine = engines.build(path, key["engine"], chunk=chunk, precision=key["precision"])
    interval = chunk / spec.rate
    rng = np.random.default_rng(0)
    mixture = rng.standard_normal((1, *engine.spec.mixture_shape)).astype(np.float32) * 0.1
    # Ones: memory that was never written to is one page of zeros, however much of it is read.
    sizes = floors.sizes["2"], min(max(floors.sizes.values()), _MOST)
    near, far = (np.ones(2 * size // 4, np.float32) for size in sizes)
    step = benchmark.stepping(engine, mixture)
    count = max(2, round(seconds / interval / _TURNS))
    times: dict[str, list[np.ndarray]] = {situation: [] for situation in SITUATIONS}
    for _ in range(_TURNS):
        times["warm"].append(each(step, count))
        times["cold"].append(each(step, count, near.sum))
        times["far"].append(each(step, count // 4 + 1, far.sum))
        times["awake"].append(each(step, count, _waiting(interval)))
        times["paced"].append(benchmark.pace(step, interval, count)[0])
    engine.close()
    cost = costs.measure(checkpoints.load(path))
    return {
        "chunk": chunk,
        "chunk_ms": 1e3 * interval,
        "floor_ms": floors.step_ms(cost, chunk, spec.rate, key["precision"]),
        "memory_floor_ms": floors.step_ms(cost, chunk, spec.rate, key["precision"], "memory"),
        "step_ms": {name: benchmark.percentiles(np.concatenate(t)) for name, t in times.items()},
    }


def each(
    step: benchmark.Step, count: int, before: Callable[[], object] = lambda: None
) -> np.ndarray:
    """Seconds of each of `count` steps, after something that does not count."""
    times = np.empty(count)
    for index in range(count):
        before()
        times[index] = step()
    return times


def _waiting(interval: float) -> Callable[[], object]:
    """What comes back once per interval, and never rests until then."""

    def dues() -> Iterator[None]:
        due = time.perf_counter()
        while True:
            due += interval
            while time.perf_counter() < due:
                pass
            yield

    ticks = dues()
    return lambda: next(ticks)


if __name__ == "__main__":
    main()
