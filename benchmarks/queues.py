"""How short the queue may be: `rtsep run`, paced for a minute, at one queue after the other.

    python benchmarks/queues.py [--seconds 60] [--block 64] [--rate 48000] [--out FILE.json]

Each run is `rtsep run --json` on the demo, repeated to the length; what it reports is kept: the
latency, part by part, the step times, and the misses with their causes.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtsep import benchmark, demo

RESULTS = Path(__file__).parent / "results" / "queues.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="convtasnet")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--block", type=int, default=64)
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--queues", type=int, nargs="*", help="in blocks; default: a range")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    report = {
        "machine": benchmark.machine(),
        "versions": benchmark.versions(),
        "seconds": options.seconds,
        "results": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        write_sound(sound, options.rate, options.seconds)
        # The queue that a run takes by itself first.
        for blocks in [None, *(options.queues or (1, 2, 3, 4, 6))]:
            summary = run(sound, options, blocks)
            kept = ("rate", "chunk", "block", "seconds", "latency", "step_ms", "rtf", "misses")
            row = {key: summary[key] for key in kept} | {"default": blocks is None}
            report["results"].append(row)
            ms = 1e3 * row["latency"]["internal"] / row["rate"]
            print(f"queue {row['latency']['queue']}: {ms:.2f} ms, {row['misses']}", flush=True)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


def write_sound(path: Path, rate: int, seconds: float) -> None:
    """The demo mixture at `rate`, again and again, for `seconds`."""
    mixture, own_rate = soundfile.read(demo.path(), dtype="float32")
    mixture = soxr.resample(mixture, own_rate, rate)
    soundfile.write(path, np.resize(mixture, round(seconds * rate)), rate, subtype="FLOAT")


def run(sound: Path, options: argparse.Namespace, blocks: int | None) -> dict:
    """What one run reports."""
    command = [sys.executable, "-m", "rtsep", "run", "--model", options.model, "--json"]
    command += ["--input", str(sound), "--block", str(options.block)]
    if blocks is not None:
        command += ["--queue", str(blocks * options.block)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with code {done.returncode}")
    return json.loads(done.stdout)


if __name__ == "__main__":
    main()
