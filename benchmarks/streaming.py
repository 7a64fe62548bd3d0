"""Conv-TasNet of the published size: our engines against the conventional streaming form.

    python benchmarks/streaming.py [--seconds 180] [--chunks 2 8 16] [--out FILE.json]

One process, one thread, the same seeded weights. The forms take turns, step by step in an order
drawn anew each round, so that whatever else the machine does meets all of them alike. "paced"
steps come once per chunk of time (others' weights and waiting have emptied the caches, as in live
use); "warm" ones in groups of twenty of the same form.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

import numpy as np  # noqa: E402 - the libraries read these variables when they are loaded
import torch  # noqa: E402
from conventional import Conventional  # noqa: E402

import rtsep  # noqa: E402
from rtsep import benchmark, engines  # noqa: E402

SIZE = dict(filters=512, kernel=32, bottleneck=128, hidden=512, skip=128, taps=3)
DEPTH = dict(blocks=8, repeats=3)
RATE = 16000
GROUP = 20
ENGINES = ("eager", "onnxruntime", "native")
RESULTS = Path(__file__).parent / "results" / "streaming.json"

Step = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=180, help="of measuring, in all")
    parser.add_argument("--chunks", type=int, nargs="+", default=[2, 8, 16], help="in ms")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine = benchmark.machine()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = rtsep.create("convtasnet", rate=RATE, **SIZE, **DEPTH).eval()
    share = options.seconds / len(options.chunks) / 2
    results, agreement = [], {}
    for milliseconds in options.chunks:
        chunk = RATE * milliseconds // 1000
        forms = make_forms(model, chunk)
        for name, error in compare(forms, chunk).items():
            agreement[name] = max(error, agreement.get(name, 0.0))
        for paced in (True, False):
            times = (measure_paced if paced else measure_warm)(forms, chunk, share)
            for name, seconds in times.items():
                results.append(summary(name, chunk, paced, np.array(seconds)))
                print(json.dumps(results[-1]))
    report = {
        "machine": machine,
        "versions": benchmark.versions(),
        "model": {"arch": "convtasnet", "rate": RATE, **SIZE, **DEPTH},
        "agreement": agreement,
        "results": results,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(f"written to {options.out}")


def make_forms(model, chunk: int) -> dict[str, Step]:
    """Name to step: a chunk of mono sound (chunk,) in, stems (stems, chunk) out."""
    network = Conventional(stems=len(model.stems), **SIZE, **DEPTH).eval()
    network.load_from(model)
    forms: dict[str, Step] = {"conventional": _conventional(network)}
    for name in ENGINES:
        forms[name] = _engine(engines.build(model, name, chunk=chunk, progress=print))
    return forms


def _conventional(network: Conventional) -> Step:
    state = network.initial()

    def step(x: np.ndarray) -> np.ndarray:
        nonlocal state
        with torch.inference_mode():
            y, state = network(torch.from_numpy(x)[None, None], state)
        return y[0].numpy()

    return step


def _engine(engine: engines.Engine) -> Step:
    stems = np.empty(engine.spec.stems_shape, np.float32)

    def step(x: np.ndarray) -> np.ndarray:
        engine.process(x[None, None], stems)
        return stems[0, :, 0]

    return step


def compare(forms: dict[str, Step], chunk: int) -> dict[str, float]:
    """By how much each form's second of sound differs from the conventional one, relative."""
    rng = np.random.default_rng(1)
    outputs: dict[str, list[np.ndarray]] = {name: [] for name in forms}
    for _ in range(RATE // chunk):
        x = rng.standard_normal(chunk).astype(np.float32) * 0.1
        for name, step in forms.items():
            outputs[name].append(step(x).copy())
    # The conventional form has garbage before the first frame is complete: one stride.
    first = SIZE["kernel"] // 2
    whole = {name: np.concatenate(y, -1)[:, first:] for name, y in outputs.items()}
    reference = whole.pop("conventional")
    scale = np.abs(reference).max()
    return {name: float(np.abs(y - reference).max() / scale) for name, y in whole.items()}


def measure_paced(forms: dict[str, Step], chunk: int, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in forms}
    x = np.random.default_rng(2).standard_normal(chunk).astype(np.float32) * 0.1
    order, shuffle = list(forms), random.Random(0).shuffle
    end, interval = time.perf_counter() + seconds, chunk / RATE
    due = time.perf_counter()
    while due < end or len(times[order[0]]) < 5:
        shuffle(order)
        for name in order:
            # A form that is slower than real time puts the next turn off, not on top of itself.
            due = max(due + interval, time.perf_counter())
            while (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            times[name].append(timed(forms[name], x))
    return times


def measure_warm(forms: dict[str, Step], chunk: int, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {name: [] for name in forms}
    x = np.random.default_rng(2).standard_normal(chunk).astype(np.float32) * 0.1
    order, shuffle = list(forms), random.Random(0).shuffle
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or not times[order[0]]:
        shuffle(order)
        for name in order:
            forms[name](x)
            times[name] += [timed(forms[name], x) for _ in range(GROUP)]
    return times


def timed(step: Step, x: np.ndarray) -> float:
    before = time.perf_counter()
    step(x)
    return time.perf_counter() - before


def summary(form: str, chunk: int, paced: bool, times: np.ndarray) -> dict:
    low, p25, p75 = np.percentile(times, [0, 25, 75]) * 1e3
    spread = {"min": round(low, 4), "p25": round(p25, 4), "p75": round(p75, 4)}
    return {
        "form": form,
        "chunk": chunk,
        "chunk_ms": 1e3 * chunk / RATE,
        "paced": paced,
        "steps": len(times),
        "step_ms": benchmark.percentiles(times) | spread,
        "rtf": round(float(np.median(times)) * RATE / chunk, 4),
    }


if __name__ == "__main__":
    main()
