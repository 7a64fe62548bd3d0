"""Predicted against measured latency, on a JACK server: `convtasnet` at blocks of 64 to 1024.

    scripts/audio && python benchmarks/latency.py [--seconds 60] [--engines NAME ...]
                                                  [--out FILE.json]

The first engine runs at every block, the others at one. Each run is alone, and again beside busy
neighbours (two Python threads in its own process, one process that copies memory). A card plays the
demo into the run, and hears on one output the mix, on another the voice. Predicted is what the
run's table says, and the one period that the server takes to hand over what a client hears from a
client that hears it. Measured is where the mix is, bit for bit, and where the voice resembles the
mixture most. What is kept: both, the latency's parts, the times of callbacks and steps as
histograms, and the misses. The card is that of the tests.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import soundfile
import soxr

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent / "tests" / "live"))

from jack_card import WHY_NOT  # noqa: E402

from rtsep import benchmark, demo, engines  # noqa: E402
from rtsep.audio.delay import locate  # noqa: E402
from rtsep.live.histogram import LEAST, PER_OCTAVE  # noqa: E402
from rtsep.live.layout import BINS, CALLBACK_HISTOGRAM, STEP_HISTOGRAM  # noqa: E402
from rtsep.live.options import Options  # noqa: E402

RATE = 48000
OTHERS = 128  # the block of all engines but the first


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="convtasnet")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--blocks", type=int, nargs="+", default=[64, 128, 256, 512, 1024])
    parser.add_argument("--engines", nargs="+", help="default: all that are there")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "latency.json")
    options = parser.parse_args()
    if WHY_NOT is not None:
        sys.exit(f"no measurement without a JACK server: {WHY_NOT}")
    report = {
        "machine": benchmark.machine(),
        "versions": benchmark.versions(),
        "model": options.model,
        "rate": RATE,
        "seconds": options.seconds,
        "results": [],
    }
    sound = demo_sound(options.seconds)
    first, *others = options.engines or [
        name for name, why in engines.available().items() if not why
    ]
    cases = [(first, block) for block in options.blocks]
    cases += [(engine, OTHERS) for engine in others]
    for engine, block in cases:
        engines.build(options.model, engine, progress=print).close()  # it is cached for the runs
        for busy in (False, True):
            row = measure(options.model, engine, sound, block, busy)
            report["results"].append(row)
            print(
                f"{engine}, block {block}{' busy' if busy else ''}: predicted {row['predicted']}, "
                f"measured mix {row['measured_mix']} voice {row['measured_voice']}, "
                f"{row['misses']}, callback {row['callback_ms']}, step {row['step_ms']}",
                flush=True,
            )
            options.out.parent.mkdir(parents=True, exist_ok=True)
            options.out.write_text(json.dumps(report, indent=2) + "\n")


def demo_sound(seconds: float) -> np.ndarray:
    """The demo mixture (samples, 1), again and again."""
    mixture, own_rate = soundfile.read(demo.path(), dtype="float32")
    mixture = soxr.resample(mixture, own_rate, RATE)
    return np.resize(mixture, round(seconds * RATE))[:, None].astype(np.float32)


def measure(model: str, engine: str, sound: np.ndarray, block: int, busy: bool) -> dict:
    """One run on a server whose period is the block."""
    from jack_runs import play, wait_for
    from test_jack_neighbours import neighbours

    histograms = {}

    def meanwhile(session, cards):
        with neighbours() if busy else nullcontext():
            wait_for(lambda: cards[0].played >= len(sound), len(sound) / RATE + 20)
        for name, slot in (("callback", CALLBACK_HISTOGRAM), ("step", STEP_HISTOGRAM)):
            histograms[name] = histogram(session.block.i64[slot : slot + BINS])

    run = Options(
        model=model,
        engine=engine,
        blocks=block,
        routes={"mix": (0,), "voice": (1,)},
        fade_up=0.0,
        ceiling=None,
    )
    patience = len(sound) / RATE + 30
    played = play(block, sound, run, sinks=2, meanwhile=meanwhile, patience=patience)
    predicted = played.latency.total + block
    mix, voice = played.heard.T
    whole = mix[predicted : predicted + len(sound)]
    kept = ("latency", "deadline_ms", "callback_ms", "step_ms", "misses", "xruns", "rtf", "granted")
    return {
        "engine": engine,
        "block": block,
        "busy": busy,
        "predicted": predicted,
        "measured_mix": delay(sound[:, 0], mix),
        "measured_voice": delay(sound[:, 0], voice),
        "mix_bit_equal": bool(np.array_equal(whole, sound[: len(whole), 0])),
        "histograms_us": histograms,
    } | {key: played.summary[key] for key in kept}


def delay(x: np.ndarray, y: np.ndarray, seconds: float = 8.0) -> int:
    """By how many samples y is late against x: where they resemble each other most."""
    n = int(seconds * RATE)
    return round(locate(x[:n], y[:n], longest=n // 2, guard=RATE // 100).delay)


def histogram(counts: np.ndarray) -> dict[str, int]:
    """Upper edge of each bin in µs, and how often it was hit."""
    hit = np.flatnonzero(counts)
    return {f"{LEAST * 2 ** (k / PER_OCTAVE) / 1e3:.3g}": int(counts[k]) for k in hit}


if __name__ == "__main__":
    main()
