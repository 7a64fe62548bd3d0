"""How many streams one core holds within the deadline, by batch.

    python benchmarks/streams.py [--models NAME ...] [--ms 4] [--seconds 3] [--out FILE.json]

Rows of a batch are streams of their own. For each engine and precision the batch doubles until the
99th percentile of a paced step passes the chunk's time; then the gap is halved until it is narrow.
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402 - the libraries read these variables when they are loaded
from parts import RESULTS, Report, chunk_of, kinds, model_path  # noqa: E402

from rtsep import benchmark, engines  # noqa: E402

MOST = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=["convtasnet", "convtasnet/published-16k"])
    parser.add_argument("--engines", nargs="+", default=["native", "onnxruntime"])
    parser.add_argument("--precisions", nargs="+", help="default: all")
    parser.add_argument("--ms", type=float, default=4, help="of a chunk, about")
    parser.add_argument("--seconds", type=float, default=3, help="of each batch")
    parser.add_argument("--most", type=int, default=MOST, help="streams that are tried")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "streams.json")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    report = Report(options.out, options.resume, ms=options.ms, cores=1)
    for name in options.models:
        path = model_path(name)
        spec = engines.spec_of(path)
        chunk = chunk_of(spec, options.ms)
        for engine, precision in kinds(options.engines, options.precisions):
            key = {"name": name, "engine": engine, "precision": precision, "chunk": chunk}
            report.row(key, lambda path=path, key=key: streams(path, key, options))
    report.write()


def streams(path: str, key: dict, options: argparse.Namespace) -> dict:
    """The most streams that went well, and every batch that was tried."""
    tried: dict[int, dict] = {}

    def good(batch: int) -> bool:
        tried[batch] = batched(path, key, batch, options.seconds)
        return tried[batch]["step_ms"]["p99"] <= tried[batch]["chunk_ms"]

    low, high = 0, 1
    while high <= options.most and good(high):
        low, high = high, 2 * high
    # Within an eighth: a batch is built for each.
    while low and high - low > max(1, low // 8) and high <= options.most:
        middle = (low + high) // 2
        low, high = (middle, high) if good(middle) else (low, middle)
    return {"streams": low, "batches": [tried[batch] for batch in sorted(tried)]}


def batched(path: str, key: dict, batch: int, seconds: float) -> dict:
    engine = engines.build(
        path, key["engine"], chunk=key["chunk"], batch=batch, precision=key["precision"]
    )
    spec = engine.spec
    interval = spec.chunk / spec.rate
    rng = np.random.default_rng(0)
    mixture = rng.standard_normal((1, *spec.mixture_shape)).astype(np.float32) * 0.1
    step = benchmark.stepping(engine, mixture)
    begun, times = time.perf_counter(), []
    while time.perf_counter() < begun + 0.2 or len(times) < 5:
        times.append(step())
    if np.median(times) < interval:
        count = max(20, round(seconds / interval))
        paced, _ = benchmark.pace(step, interval, count)
    else:
        paced = np.array(times)  # too slow to be paced
    engine.close()
    return {
        "batch": batch,
        "chunk_ms": 1e3 * interval,
        "step_ms": benchmark.percentiles(paced),
        "per_stream_ms": round(1e3 * float(np.median(paced)) / batch, 5),
    }


if __name__ == "__main__":
    main()
