"""Finds out what runs a model best on this machine: engine, precision, chunk and queue.

Every engine and precision steps at every chunk, one step per chunk of time, in turns whose order is
drawn anew each round, so that whatever else the machine does meets all alike. What differs too much
from eager on the demo is refused. Then real runs, the smallest latency first, show which chunk and
queue go without a miss.
"""

from __future__ import annotations

import datetime
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace

import numpy as np

from rtsep import benchmark, engines
from rtsep.engines import accuracy, cache, tuned
from rtsep.errors import Failure, WrongCall
from rtsep.spec import ModelSpec

LEAST_DB = 30.0
_CHUNKS_MS = (2, 4, 8, 16)
_DEMO_SECONDS = 4
_BLOCK = 64
# Queues that are tried, as parts of what a run takes by itself.
_QUEUE_BLOCKS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """An engine at one precision and chunk; `refused` says why it may not win."""

    engine: str
    precision: str
    chunk: int
    ratio_db: float = 0.0
    error: float = 0.0
    step_ms: dict[str, float] | None = None
    misses: int = 0
    refused: str | None = None


@dataclass(frozen=True)
class Tuned:
    trials: tuple[Trial, ...]
    runs: tuple[dict, ...]
    record: tuned.Record

    def as_json(self) -> dict:
        return {
            "trials": [asdict(trial) for trial in self.trials],
            "runs": list(self.runs),
            "chosen": asdict(self.record),
        }


def tune(
    model: str,
    *,
    names: Sequence[str] | None = None,
    precisions: Sequence[str] | None = None,
    chunks: Sequence[int] | None = None,
    seconds: float = 5.0,
    least_db: float = LEAST_DB,
    live: bool = True,
    say: Say = lambda text: None,
) -> Tuned:
    """Measures, stores the winners for `--engine auto`, and tells all that was found.

    `seconds` is for each chunk, and for each live run. Without `live` no queue is looked for, and
    the chunk is the usual one where that is among the `chunks`. Raises `WrongCall` for what can't
    be asked, `Failure` where nothing may win.
    """
    if seconds <= 0:
        raise WrongCall(f"{seconds:g} seconds: it must be more than 0")
    spec = engines.spec_of(model)
    sizes = sorted(set(chunks or _chunks(spec)))
    trials: list[Trial] = []
    for chunk in sizes:
        trials += _at_chunk(model, spec, chunk, _cases(names, precisions), seconds, least_db, say)
    choices = [choice for chunk in sizes if (choice := _winner(trials, chunk))]
    if not choices:
        reasons = "; ".join(sorted({f"{t.engine}: {t.refused}" for t in trials if t.refused}))
        raise Failure(f"no engine can run {spec.name} well enough here: {reasons or 'too slow'}")
    usual = engines.default_chunk(spec.hop, spec.rate)
    chosen = min(choices, key=lambda choice: abs(choice.chunk - usual))
    runs: list[dict] = []
    if live:
        best = None
        for i, choice in enumerate(choices):
            queue, latency = _queue(model, spec, choice, seconds, runs, say)
            choices[i] = choice = replace(choice, queue_ms=queue)
            if queue is not None and (best is None or latency < best):
                best, chosen = latency, choice
    record = tuned.Record(
        model=spec.name,
        processor=cache.processor(),
        date=datetime.date.today().isoformat(),
        chunk=chosen.chunk,
        choices=tuple(choices),
    )
    try:
        tuned.write(spec.digest, record)
    except OSError as error:
        raise Failure(f"can't keep it in {cache.folder()}: {error.strerror or error}") from None
    return Tuned(tuple(trials), tuple(runs), record)


def _chunks(spec: ModelSpec) -> list[int]:
    """Multiples of the hop near the usual lengths, and the hop itself."""
    near = [spec.hop * max(1, round(ms * spec.rate / 1000 / spec.hop)) for ms in _CHUNKS_MS]
    return [spec.hop, *near]


def _cases(
    names: Sequence[str] | None, precisions: Sequence[str] | None
) -> Iterable[tuple[str, str]]:
    there = engines.available()
    for name in names or [name for name, missing in there.items() if missing is None]:
        if name not in there:
            raise WrongCall(f"no engine {name!r}; there is {', '.join(there)}")
        if there[name] is not None:
            raise Failure(f"engine {name}: {there[name]}")
        for precision in engines.precisions(name):
            # What is finer than float32 is for checks.
            if precision in (precisions or [precision]) and precision != "float64":
                yield name, precision


def _at_chunk(model, spec, chunk, cases, seconds, least_db, say) -> list[Trial]:
    trials, made = [], {}
    for name, precision in cases:
        trial = Trial(name, precision, chunk)
        say(f"chunk {chunk}: building {name} in {precision}")
        try:
            made[trial] = engines.build(
                model, name, chunk=chunk, precision=precision, progress=lambda text: None
            )
        except WrongCall:
            raise
        except Failure as failure:
            trials.append(replace(trial, refused=str(failure)))
    try:
        say(f"chunk {chunk}: comparing with eager")
        mixture = demo_sound(spec)
        reference = engines.build(model, "eager", chunk=chunk)
        expected = accuracy.stream(reference, mixture)
        reference.close()
        found = {
            trial: accuracy.difference(expected, accuracy.stream(engine, mixture))
            for trial, engine in made.items()
        }
        say(f"chunk {chunk}: timing {len(made)} engines, {seconds:g} s")
        times = _in_turns(made, mixture, chunk / spec.rate, seconds)
    finally:
        for engine in made.values():
            engine.close()
    for trial, taken in times.items():
        apart = found[trial]
        refused = None
        if apart.ratio < least_db:
            refused = f"{apart.ratio:.1f} dB from eager, less than {least_db:g}"
        trials.append(
            replace(
                trial,
                ratio_db=round(min(apart.ratio, 200.0), 1),
                error=apart.error,
                step_ms=benchmark.percentiles(taken),
                misses=int((taken > chunk / spec.rate).sum()),
                refused=refused,
            )
        )
    return trials


def demo_sound(spec: ModelSpec, seconds: float = _DEMO_SECONDS) -> np.ndarray:
    """(1, channels, samples): the demo's beginning at the model's rate."""
    import soundfile
    import soxr

    from rtsep import demo

    sound, rate = soundfile.read(demo.path(), dtype="float32", always_2d=True)
    sound = soxr.resample(sound[: round(seconds * rate)].mean(1), rate, spec.rate)
    return np.array(np.broadcast_to(sound, (1, spec.channels, len(sound))), np.float32, order="C")


def _in_turns(made: dict, mixture: np.ndarray, interval: float, seconds: float) -> dict:
    """Seconds of each paced step, by trial."""
    times: dict = {trial: [] for trial in made}
    order, shuffle = list(made), random.Random(0).shuffle
    chunk = round(next(iter(made.values())).spec.chunk) if made else mixture.shape[-1]
    count = max(1, mixture.shape[-1] // chunk)
    chunks = np.stack(np.split(mixture[..., : count * chunk], count, axis=-1))
    steps = {trial: benchmark.stepping(engine, chunks) for trial, engine in made.items()}
    end, due, turn = time.perf_counter() + seconds, time.perf_counter(), 0
    while made and (due < end or turn < 3):
        shuffle(order)
        for trial in order:
            # A slow one puts the next turn off, not on top of itself.
            due = max(due + interval, time.perf_counter())
            while (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            times[trial].append(steps[trial]())
        turn += 1
    return {trial: np.array(taken) for trial, taken in times.items()}


def _winner(trials: Sequence[Trial], chunk: int) -> tuned.Choice | None:
    """The fastest at a chunk; None where none is accurate enough."""
    there = [t for t in trials if t.chunk == chunk and t.refused is None and t.step_ms]
    if not there:
        return None
    best = min(there, key=lambda trial: trial.step_ms["p50"])
    return tuned.Choice(
        engine=best.engine,
        precision=best.precision,
        chunk=chunk,
        ratio_db=best.ratio_db,
        p50_ms=best.step_ms["p50"],
        versions=tuned.versions(best.engine),
    )


def _queue(model, spec, choice, seconds, runs, say) -> tuple[float | None, float]:
    """The shortest queue that ran without a miss, in ms, and the latency of that run."""
    for blocks in _QUEUE_BLOCKS:
        say(f"chunk {choice.chunk}: a run with a queue of {blocks * _BLOCK} samples")
        command = [sys.executable, "-m", "rtsep", "run", "--model", str(model), "--json"]
        command += ["--input", "demo", "--duration", f"{seconds:g}", "--block", str(_BLOCK)]
        command += ["--engine", choice.engine, "--precision", choice.precision]
        command += ["--chunk", str(choice.chunk), "--queue", str(blocks * _BLOCK)]
        done = subprocess.run(command, capture_output=True, text=True)
        try:
            summary = json.loads(done.stdout)
        except ValueError:
            raise Failure(done.stderr.strip().removeprefix("rtsep: ") or "a run failed") from None
        latency = 1e3 * summary["latency"]["internal"] / summary["rate"]
        queue = 1e3 * blocks * _BLOCK / summary["rate"]
        row = {"chunk": choice.chunk, "queue_ms": round(queue, 3), "latency_ms": round(latency, 3)}
        runs.append(row | {"misses": summary["misses"]["total"]})
        if not summary["misses"]["total"]:
            return round(queue, 3), latency
        if queue > 2e3 * choice.chunk / spec.rate + 4:
            break
    return None, 0.0
