"""A long run, every late step counted.

    python benchmarks/soak.py [--minutes 30] [--model convtasnet] [--engine auto] [--out FILE.json]

`rtsep run --json` on the demo, repeated to the length, on the simulated clock in real time: the
same callback and worker as on a device. What it reports is kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from parts import RESULTS
from queues import write_sound

from rtsep import benchmark

KEPT = ("model", "engine", "precision", "engine_reason", "rate", "chunk", "block", "seconds")
KEPT += ("latency", "deadline_ms", "step_ms", "callback_ms", "rtf", "misses", "clock_stalls")
KEPT += ("granted",)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--model", default="convtasnet")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--rate", type=int, default=48000)
    parser.add_argument("--out", type=Path, default=RESULTS / "soak.json")
    options = parser.parse_args()
    report = {"machine": benchmark.machine(), "versions": benchmark.versions()}
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder) / "sound.wav"
        write_sound(sound, options.rate, 60 * options.minutes)
        command = [sys.executable, "-m", "rtsep", "run", "--model", options.model, "--json"]
        command += ["--engine", options.engine, "--input", str(sound), "--output", "none"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with code {done.returncode}")
    summary = json.loads(done.stdout)
    report["results"] = [{key: summary[key] for key in KEPT}]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["results"][0]))


if __name__ == "__main__":
    main()
