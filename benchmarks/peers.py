"""What people use today, against ours: interleaved in one run on one core.

    scripts/peers                         # once: installs the peers into .peers
    python benchmarks/peers.py [--only NAME ...] [--seconds 20] [--resume] [--out FILE.json]

Each form is a process of its own; all of a comparison share one core, and one steps at a time, in
an order drawn anew each turn. "warm" are groups of steps of one form, "paced" single steps, one per
chunk of time, between which the others have used the caches. Weights are the peer's own where its
checkpoint can be read (Demucs), else random ones of the same sizes: the same work.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from parts import RESULTS, Report, model_path

from rtsep import benchmark, models
from rtsep.errors import Failure

HERE = Path(__file__).parent
PEERS = HERE.parent / ".peers" / "bin" / "python"
WORKER = str(HERE / "peer_worker.py")
GROUP = 10
PRECISIONS = ("float32", "bfloat16", "int8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=COMPARISONS, default=list(COMPARISONS))
    parser.add_argument("--seconds", type=float, default=20, help="of each comparison")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS / "peers.json")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    report = Report(options.out, options.resume, cores=1)
    for name in options.only:
        with tempfile.TemporaryDirectory() as folder:
            report.row(
                {"name": name},
                lambda name=name, folder=folder: compare(name, Path(folder), options.seconds),
            )
    report.write()


def compare(name: str, folder: Path, seconds: float) -> dict:
    with ExitStack() as stack:
        forms: dict[str, Form] = {}
        missing: dict[str, str] = {}
        peers, model, chunk = COMPARISONS[name](folder)
        for label, python, arguments in peers:
            try:
                forms[label] = stack.enter_context(Form(python, arguments))
            except Failure as failure:
                missing[label] = str(failure)
        path = model(folder) if callable(model) else model_path(model)
        for precision in PRECISIONS:
            arguments = ["ours", path, "native", precision, str(chunk)]
            forms[f"native {precision}"] = stack.enter_context(Form(sys.executable, arguments))
        arguments = ["ours", path, "onnxruntime", "float32", str(chunk)]
        forms["onnxruntime float32"] = stack.enter_context(Form(sys.executable, arguments))
        interval = chunk / next(iter(forms.values())).rate
        warm = measure(forms, GROUP, 0.0, seconds / 2)
        paced = measure(forms, 1, interval, seconds / 2)
    peer = next((label for label, _, _ in peers if label in forms), None)
    rows = []
    for label in forms:
        row = {"form": label, "warm_ms": summary(warm[label]), "paced_ms": summary(paced[label])}
        if peer is not None:
            row["warm_times_faster"] = ratio(warm[peer], warm[label])
            row["paced_times_faster"] = ratio(paced[peer], paced[label])
        rows.append(row)
    return {"chunk": chunk, "against": peer, "forms": rows, "missing": missing}


class Form:
    """A worker process that steps when told to; `with` ends it."""

    def __init__(self, python: str | Path, arguments: list[str]) -> None:
        if not Path(python).exists():
            raise Failure(f"{python} is missing: scripts/peers installs it")
        self._process = subprocess.Popen(
            [str(python), WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )
        said = json.loads(self._process.stdout.readline() or '{"error": "it ended"}')
        if "error" in said:
            self.close()
            raise Failure(said["error"])
        self.chunk, self.rate = said["chunk"], said["rate"]

    def step(self, count: int) -> list[float]:
        """Seconds of each."""
        self._process.stdin.write(f"{count}\n")
        self._process.stdin.flush()
        return [1e-9 * taken for taken in json.loads(self._process.stdout.readline())]

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()

    def __enter__(self) -> Form:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def measure(forms: dict, group: int, interval: float, seconds: float) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {label: [] for label in forms}
    order, shuffle = list(forms), random.Random(0).shuffle
    end = due = time.perf_counter()
    end += seconds
    while time.perf_counter() < end or len(times[order[0]]) < 3:
        shuffle(order)
        for label in order:
            due = max(due + interval, time.perf_counter())
            while interval and (wait := due - time.perf_counter()) > 0:
                time.sleep(wait)
            taken = forms[label].step(group)
            times[label] += taken[1:] if group > 1 else taken
    return times


def summary(times: list[float]) -> dict:
    return benchmark.percentiles(np.array(times)) | {"steps": len(times)}


def ratio(peer: list[float], other: list[float]) -> float:
    return round(float(np.median(peer) / np.median(other)), 2)


def _convtasnet(folder: Path):
    peers = [
        ("conventional", sys.executable, ["conventional"]),
        ("asteroid, whole receptive field", PEERS, ["asteroid"]),
    ]
    return peers, "convtasnet/published-16k", 128


def _demucs(hidden: int):
    def comparison(folder: Path):
        weights = folder / "peer.th"

        def model(folder: Path) -> str:
            if not weights.exists():
                return model_path(f"demucs/dns{hidden}")
            out = folder / "ours.safetensors"
            command = [sys.executable, "-m", "rtsep", "import", str(weights), "--out", str(out)]
            subprocess.run([*command, "--format", "denoiser"], check=True, stdout=sys.stderr)
            return str(out)

        peers = [("DemucsStreamer", PEERS, ["denoiser", str(hidden), str(weights)])]
        return peers, model, 256

    return comparison


def _openunmix(folder: Path):
    peers = [("openunmix, one window", PEERS, ["openunmix"])]
    return peers, "openunmix/published", 1024


def _nussl(folder: Path):
    params = models.configurations("maskinference")["nussl-8k"]
    window, hop, rate = params["window"], params["hop"], params["rate"]
    settings = {"features": window // 2 + 1, "hidden": params["hidden"], "rate": rate}
    settings |= {"layers": params["layers"], "hop": hop}
    peers = [("nussl, one frame", PEERS, ["nussl", json.dumps(settings)])]
    return peers, "maskinference/nussl-8k", hop


def _hstasnet(folder: Path):
    return [("hs-tasnet", PEERS, ["hstasnet"])], "hstasnet/published", 512


COMPARISONS = {
    "convtasnet": _convtasnet,
    "demucs48": _demucs(48),
    "demucs64": _demucs(64),
    "openunmix": _openunmix,
    "maskinference": _nussl,
    "hstasnet": _hstasnet,
}


if __name__ == "__main__":
    main()
