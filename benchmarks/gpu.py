"""What there is to do on a machine with a GPU: train in slices, compare engines, time them.

    python benchmarks/gpu.py --recipe convtasnet --data DATA --work WORK [--minutes 8] [--resume]
    python benchmarks/gpu.py --recipe convtasnet --time-only [--work WORK] [--out FILE.json]

A slice ends after `--minutes` (at most nine) with its state in WORK; `--resume` trains the next one
and does nothing once the recipe's steps are done. Then every engine for GPUs is compared with eager
on the CPU, on every architecture; a step of the trained model is timed in them, in eager PyTorch
and compiled, chunk in, stems out, state kept on the device, the copies from and to the host
included; and last, how many streams one step takes within a chunk's time. `--dry-run` does a few
steps of everything on the CPU, with eager as the engine.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rtsep import benchmark
from rtsep.training import recipe as recipes
from rtsep.training.memory import be_frugal

be_frugal()

import numpy as np  # noqa: E402 - the settings above are for libraries yet to be loaded
import torch  # noqa: E402

from rtsep import checkpoints, engines, models  # noqa: E402
from rtsep.engines import accuracy  # noqa: E402
from rtsep.errors import Failure  # noqa: E402
from rtsep.training.loop import STATE, Options  # noqa: E402
from rtsep.training.run import run  # noqa: E402

LIMIT_MINUTES = 9
RESULTS = Path(__file__).parent / "results" / "gpu.json"
ENGINES = {
    "cuda": ("cudagraph", "tensorrt", "onnxruntime-tensorrt", "onnxruntime-cuda"),
    "cpu": ("eager",),
}
BATCHES = (1, 16, 64, 256, 1024)

Step = Callable[[np.ndarray], np.ndarray]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="convtasnet")
    parser.add_argument("--data", type=Path, help="the data folder; without it nothing is trained")
    parser.add_argument("--work", type=Path, default=Path("training"), help="state, logs, weights")
    parser.add_argument("--cache", type=Path, help="folder of the decoded recordings")
    parser.add_argument("--minutes", type=float, default=8, help=f"at most {LIMIT_MINUTES}")
    parser.add_argument("--workers", type=int, default=8, help="processes that make mixtures")
    parser.add_argument("--resume", action="store_true", help="go on where the last slice ended")
    parser.add_argument("--time-only", action="store_true", help="train nothing")
    parser.add_argument("--chunks", type=float, nargs="+", default=[4, 8, 16], help="in ms")
    parser.add_argument("--steps", type=int, default=1000, help="timed per form and chunk")
    parser.add_argument("--archs", nargs="*", default=models.architectures(), help="to compare")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--dry-run", action="store_true", help="a few steps, on the CPU")
    options = parser.parse_args()
    if not 0 < options.minutes <= LIMIT_MINUTES:
        parser.error(f"--minutes {options.minutes:g}: more than 0, at most {LIMIT_MINUTES}")
    if not options.dry_run and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU: --dry-run tries the script without")
    device = "cpu" if options.dry_run else "cuda"
    plan = recipes.read(options.recipe)
    weights = options.work / f"{plan.name}.safetensors"
    report = {"machine": benchmark.machine(), "versions": benchmark.versions(), "device": device}
    if device == "cuda":
        report["gpu"] = torch.cuda.get_device_name()
    if options.data is not None and not options.time_only:
        report["training"] = train(plan, weights, device, options)
    report["agreement"] = agreement(device, options)
    report["results"] = timings(plan, weights, device, options)
    report["streams"] = streams(plan, weights, device, options)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(options.out)


def train(plan: recipes.Recipe, weights: Path, device: str, options: argparse.Namespace) -> dict:
    """One slice."""
    dry = options.dry_run
    settings = Options(
        options.work,
        slice_minutes=options.minutes,
        stop_after=2 if dry else None,
        score_minutes=options.minutes / 2,
        workers=0 if dry else options.workers,
        compiled=not dry,
        device=device,
        log_steps=1 if dry else 100,
    )
    if dry:
        mixing = replace(plan.mixing, seconds=1.0)
        plan = replace(plan, mixing=mixing, optimiser=replace(plan.optimiser, batch=2))
    begun = time.monotonic()
    resume = options.resume and (options.work / STATE).exists()
    state = run(plan, options.data, weights, settings, cache=options.cache, resume=resume, say=say)
    # A slice that ends before the training does has saved its state; the weights are kept here.
    checkpoints.save(
        state.average,
        weights,
        name=plan.name,
        card=plan.card | {"trained": {"steps": state.step, "minutes": state.seconds / 60}},
    )
    return {
        "steps": state.step,
        "of": plan.optimiser.steps,
        "minutes": round(state.seconds / 60, 2),
        "slice_minutes": round((time.monotonic() - begun) / 60, 2),
    }


def timings(
    plan: recipes.Recipe, weights: Path, device: str, options: argparse.Namespace
) -> list[dict]:
    """A row per chunk and form."""
    network = trained(plan, weights)
    model = copy.deepcopy(network).to(device).requires_grad_(False)
    forms = {"eager": eager, "compiled": compiled}
    if options.dry_run:
        del forms["compiled"]
    there = usable(device)
    forms |= {f"{name} {precision}": engine(network, name, precision) for name, precision in there}
    steps = 5 if options.dry_run else options.steps
    rows = []
    for milliseconds in options.chunks:
        hops = max(1, round(milliseconds * model.rate / 1000 / model.hop))
        chunk = hops * model.hop
        for name, make in forms.items():
            try:
                step = make(model, chunk, device)
            except Failure as failure:
                say(f"{name}, chunk {chunk}: {failure}")
                continue
            seconds = measure(step, chunk, model.channels, steps)
            p50, p99 = np.percentile(seconds, [50, 99]) * 1e3
            rows.append(
                {
                    "model": plan.name,
                    "form": name,
                    "chunk": chunk,
                    "rate": model.rate,
                    "steps": steps,
                    "step_ms": {
                        "p50": round(float(p50), 4),
                        "p99": round(float(p99), 4),
                        "max": round(float(seconds.max()) * 1e3, 4),
                    },
                }
            )
            say(f"{name}, chunk {chunk}: p50 {p50:.3f} ms, p99 {p99:.3f} ms")
    return rows


def measure(step: Step, chunk: int, channels: int, steps: int) -> np.ndarray:
    """Seconds of each of `steps` steps, after a tenth as many that don't count."""
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((1, chunk, channels), dtype=np.float32) * np.float32(0.05)
    for _ in range(max(steps // 10, 3)):
        step(sound)
    seconds = []
    for _ in range(steps):
        begun = time.perf_counter()
        step(sound)
        seconds.append(time.perf_counter() - begun)
    return np.array(seconds)


def eager(model: torch.nn.Module, chunk: int, device: str) -> Step:
    return _stateful(model, model.step, device)


def compiled(model: torch.nn.Module, chunk: int, device: str) -> Step:
    return _stateful(model, torch.compile(model.step, dynamic=False, fullgraph=True), device)


def _stateful(model: torch.nn.Module, function: Callable, device: str) -> Step:
    state, _ = model.initial(1)

    @torch.inference_mode()
    def step(sound: np.ndarray) -> np.ndarray:
        nonlocal state
        stems, state = function(torch.from_numpy(sound).to(device), state)
        return stems.cpu().numpy()

    return step


def engine(network: torch.nn.Module, name: str, precision: str) -> Callable[..., Step]:
    """One of rtsep's own, timed as the others are."""

    def make(model: torch.nn.Module, chunk: int, device: str) -> Step:
        built = engines.build(network, name, chunk=chunk, precision=precision, progress=say)
        stems = np.empty(built.spec.stems_shape, np.float32)

        def step(sound: np.ndarray) -> np.ndarray:
            built.process(np.ascontiguousarray(sound.transpose(0, 2, 1)), stems)
            return stems

        return step

    return make


def usable(device: str) -> list[tuple[str, str]]:
    """Engines that are there for the device, and their precisions."""
    found, there = [], engines.available()
    for name in ENGINES[device]:
        if there[name] is not None:
            say(f"{name}: {there[name]}")
            continue
        found += [(name, kind) for kind in engines.precisions(name) if kind != "float64"]
    return found


def agreement(device: str, options: argparse.Namespace) -> list[dict]:
    """How far each engine is from eager on the CPU, on each architecture's low-latency form."""
    rows = []
    for arch in options.archs[: 1 if options.dry_run else None]:
        torch.manual_seed(0)
        network = models.create(arch).eval()
        chunk = engines.default_chunk(network.hop, network.rate)
        steps = 4 if options.dry_run else max(8, network.rate // chunk)
        shape = (1, network.channels, steps * chunk)
        sound = np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(0.1)
        expected = accuracy.stream(engines.build(network, "eager", chunk=chunk), sound)
        for name, precision in usable(device):
            row = {"architecture": arch, "engine": name, "precision": precision, "chunk": chunk}
            try:
                built = engines.build(network, name, chunk=chunk, precision=precision)
                found = accuracy.difference(expected, accuracy.stream(built, sound))
                row |= {"ratio_db": round(min(found.ratio, 200.0), 1), "error": found.error}
                built.close()
                say(f"{arch}, {name} {precision}: {found}")
            except Failure as failure:
                row["failed"] = str(failure)
                say(f"{arch}: {failure}")
            rows.append(row)
    return rows


def streams(
    plan: recipes.Recipe, weights: Path, device: str, options: argparse.Namespace
) -> list[dict]:
    """A step of more and more streams, until one takes longer than its chunk."""
    network = trained(plan, weights)
    chunk = network.hop * max(1, round(8 * network.rate / 1000 / network.hop))
    rows = []
    for name, precision in usable(device):
        for batch in BATCHES[: 1 if options.dry_run else None]:
            made = dict(chunk=chunk, batch=batch, precision=precision)
            try:
                built = engines.build(network, name, progress=say, **made)
            except (Failure, torch.cuda.OutOfMemoryError) as failure:
                say(f"{name} {precision}, {batch} streams: {failure}")
                break
            step = benchmark.stepping(built, np.zeros((1, *built.spec.mixture_shape), np.float32))
            count = 5 if options.dry_run else 200
            seconds, _ = benchmark.loop(step, chunk / network.rate, count)
            built.close()
            step = benchmark.percentiles(seconds[count // 10 :])
            rows.append({"engine": name, "step_ms": step, **made})
            say(f"{name} {precision}, {batch} streams: p50 {step['p50']:.3f} ms")
            if step["p99"] > 1e3 * chunk / network.rate:
                break
    return rows


def trained(plan: recipes.Recipe, weights: Path) -> torch.nn.Module:
    """The model of a slice, or one with random weights, on the CPU."""
    if weights.exists():
        return checkpoints.load(weights)
    return models.create(plan.arch, **plan.params).eval()


def say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    main()
