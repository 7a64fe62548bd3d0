"""From the start of `rtsep run` to its first sound, with the engine in the cache.

    python benchmarks/startup.py [--model convtasnet] [--runs 7] [--out FILE.json]

Each run is a process of its own. The first sound is out when the clock has begun and the internal
latency has passed. One run before the measured ones fills the caches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

from rtsep import benchmark

RESULTS = Path(__file__).parent / "results" / "startup.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="convtasnet")
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    machine = benchmark.machine()
    first_sound(options.model)
    seconds = [first_sound(options.model) for _ in range(options.runs)]
    report = {
        "machine": machine,
        "versions": benchmark.versions(),
        "command": f"rtsep run --model {options.model}",
        "runs": options.runs,
        "seconds": {
            "min": round(min(seconds), 3),
            "median": round(statistics.median(seconds), 3),
            "max": round(max(seconds), 3),
        },
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")
    print(json.dumps(report["seconds"]))


def first_sound(model: str) -> float:
    """Seconds, from the start of the process, in one run of the demo."""
    command = [sys.executable, "-m", "rtsep", "run", "--model", model]
    command += ["--input", "demo", "--duration", "0.5", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)} ended with code {done.returncode}")
    summary = json.loads(done.stdout)
    return summary["start_s"] + summary["latency"]["internal"] / summary["rate"]


if __name__ == "__main__":
    main()
