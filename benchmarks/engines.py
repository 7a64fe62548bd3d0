"""Every engine in every precision: time per step paced and warm, misses, memory, and the floor.

    python benchmarks/engines.py [--models NAME ...] [--engines NAME ...] [--ms 4 8]
                                 [--seconds 10] [--rounds 1] [--resume] [--out FILE.json]

Each case is a process of its own with one thread. A paced step comes once per chunk of time; half a
chunk later something of the same length is timed, which shows how long the machine itself stalls.
`NAME` is a shipped model, a checkpoint, or ARCH/CONFIG with random weights. With `--rounds` more
than 1 all cases are measured again, in another order, and the round of the lowest median is kept.
"""

from __future__ import annotations

import argparse
import random
from functools import cache
from pathlib import Path

import numpy as np
from floors import measure
from parts import RESULTS, Report, chunk_of, kinds, model_path

from rtsep import benchmark, checkpoints, costs, engines
from rtsep.engines import accuracy
from rtsep.tuning import demo_sound

MODELS = ("convtasnet", "convtasnet/published-16k", "demucs/dns48", "hstasnet/low-latency")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--engines", nargs="+", help="default: all that are there")
    parser.add_argument("--precisions", nargs="+", help="default: all")
    parser.add_argument("--ms", type=float, nargs="+", default=[2, 8], help="chunks, about")
    parser.add_argument("--seconds", type=float, default=10, help="of each case")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "engines.json")
    options = parser.parse_args()
    floors = measure()
    report = Report(options.out, options.resume, floors=floors.as_json())
    cases = [
        (name, engine, precision, ms)
        for name in options.models
        for ms in options.ms
        for engine, precision in kinds(options.engines, options.precisions)
    ]
    needed: dict[str, costs.Costs] = {}
    for turn in range(options.rounds):
        order = cases[:]
        random.Random(turn).shuffle(order)
        for name, engine, precision, ms in order:
            path = model_path(name)
            spec = engines.spec_of(path)
            if name not in needed:
                needed[name] = costs.measure(checkpoints.load(path))
            chunk = chunk_of(spec, ms)
            key = {"name": name, "engine": engine, "precision": precision, "chunk": chunk}
            key["round"] = turn
            floor = floors.step_ms(needed[name], chunk, spec.rate, precision)

            def make(path=path, key=key, floor=floor) -> dict:
                row = case(path, key, options.seconds, floor)
                return row | {"ratio_db": ratio_db(path, key)}

            report.row(key, make)
    report.write()


def ratio_db(path: str, key: dict) -> float:
    """Signal to difference against eager, on the demo's first second."""
    mixture, expected = reference(path, key["chunk"])
    built = engines.build(path, key["engine"], chunk=key["chunk"], precision=key["precision"])
    found = accuracy.difference(expected, accuracy.stream(built, mixture))
    built.close()
    return round(min(found.ratio, 200.0), 1)


@cache
def reference(path: str, chunk: int) -> tuple[np.ndarray, np.ndarray]:
    """The demo's first second, and what eager makes of it."""
    mixture = demo_sound(engines.spec_of(path), 1)
    eager = engines.build(path, "eager", chunk=chunk)
    return mixture, accuracy.stream(eager, mixture)


def case(path: str, key: dict, seconds: float, floor: float) -> dict:
    row = benchmark.measure(
        path,
        key["engine"],
        key["chunk"],
        seconds=seconds,
        precision=key["precision"],
        beside=True,
    )
    paced, warm = (row[kind]["p50"] / floor for kind in ("step_ms", "warm_ms"))
    ratios = {"floor_ms": floor, "paced_floors": round(paced, 2), "warm_floors": round(warm, 2)}
    return {name: value for name, value in row.items() if name not in key} | ratios


if __name__ == "__main__":
    main()
