"""Writes the tables of README.md from the measured results beside this file.

    python benchmarks/tables.py [--check] [README.md]

A table stands between `<!-- table:NAME -->` and `<!-- end -->`; NAME is one of `TABLES`. With
`--check` nothing is written, and the exit code is 1 where the README is out of date.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import engine_tables
from cells import line, machine

HERE = Path(__file__).parent
RESULTS = HERE / "results"
MARKED = re.compile(r"<!-- table:(\w+) -->\n.*?<!-- end -->", re.DOTALL)

FORMS = {
    "conventional": "conventional: channels first, stateful, eager PyTorch",
    "eager": "rtsep `eager` (the reference)",
    "onnxruntime": "rtsep `onnxruntime`",
    "native": "rtsep `native`: our own kernels",
}


def streaming(results: Path = RESULTS) -> str:
    """Step times of one model in all forms, paced, and how the median compares."""
    report = json.loads((results / "streaming.json").read_text())
    rows = [row for row in report["results"] if row["paced"]]
    chunks = sorted({row["chunk_ms"] for row in rows})
    lines = [
        line("", *(f"{chunk:g} ms chunks" for chunk in chunks)),
        line("---", *("---:" for _ in chunks)),
    ]
    steps = {(row["form"], row["chunk_ms"]): row["step_ms"] for row in rows}
    forms = dict.fromkeys(row["form"] for row in rows)
    for form in sorted(forms, key=lambda name: -steps[name, chunks[0]]["p50"]):
        cells = []
        for chunk in chunks:
            step = steps[form, chunk]
            faster = steps["conventional", chunk]["p50"] / step["p50"]
            ratio = f", **{faster:.1f}×**" if form != "conventional" else ""
            cells.append(f"{step['p50']:.2f} ({step['p99']:.2f}){ratio}")
        lines.append(line(FORMS.get(form, f"rtsep `{form}`"), *cells))
    note = (
        "Milliseconds per step, median (99th percentile), and how many times faster than the "
        f"conventional form; paced, one thread. {machine(report)}"
    )
    return "\n".join([*lines, "", note])


def startup(results: Path = RESULTS) -> str:
    """Seconds from the start of the process to the first sound."""
    report = json.loads((results / "startup.json").read_text())
    seconds = report["seconds"]
    return (
        f"`{report['command']}`: {seconds['median']:.2f} s from the start of the process to the "
        f"first sound (median of {report['runs']}; slowest {seconds['max']:.2f} s), engine cached. "
        f"{machine(report)}"
    )


def latency(results: Path = RESULTS) -> str:
    """Predicted against measured latency on a JACK server, alone and beside busy neighbours."""
    report = json.loads((results / "latency.json").read_text())
    rate = report["rate"]
    heads = ("engine", "block", "neighbours", "predicted", "measured", "callback, µs", "steps, ms")
    lines = [
        line(*heads, "deadline", "misses", "server's xruns"),
        line("---", "---:", "---", *("---:" for _ in range(7))),
    ]
    for row in report["results"]:
        call, step = row["callback_ms"], row["step_ms"]
        same = row["measured_mix"] == row["measured_voice"]
        apart = f"{row['measured_mix']} mix, {row['measured_voice']} voice"
        lines.append(
            line(
                f"`{row['engine']}`",
                f"{row['block']}",
                "busy" if row["busy"] else "none",
                f"{row['predicted']} ({1e3 * row['predicted'] / rate:.2f} ms)",
                f"{row['measured_mix']}" if same else apart,
                f"{1e3 * call['p50']:.1f} ({1e3 * call['p99']:.1f})",
                f"{step['p50']:.2f} ({step['p99']:.2f})",
                f"{row['deadline_ms']:.2f} ms",
                f"{row['misses']['total']}",
                f"{row['xruns']}",
            )
        )
    note = (
        f"`{report['model']}` at {rate} Hz on a JACK server whose period is the block, for "
        f"{report['seconds']:g} s each (`benchmarks/latency.py`): from what a client plays to what "
        "it hears, the block included that such a loop costs. Latencies in samples, times as "
        f"median (99th percentile). {machine(report)}"
    )
    return "\n".join([*lines, "", note])


def queues(results: Path = RESULTS) -> str:
    """Internal latency by queue, with the misses of a run at each."""
    report = json.loads((results / "queues.json").read_text())
    rows = sorted(report["results"], key=lambda row: (row["latency"]["queue"], row["default"]))
    parts = ("rebuffer", "queue", "resample", "model", "internal")
    lines = [
        line(*(f"{part}, ms" for part in parts), "real-time factor", "misses"),
        line(*("---:" for _ in range(len(parts) + 2))),
    ]
    for row in rows:
        cells = [f"{1e3 * row['latency'][part] / row['rate']:.2f}" for part in parts]
        cells[1] += " (default)" if row["default"] else ""
        cells[-1] = f"**{cells[-1]}**"
        causes = ", ".join(f"{cause} {n}" for cause, n in row["misses"]["causes"].items())
        missed = f"{row['misses']['total']}" + (f" ({causes})" if causes else "")
        lines.append(line(*cells, f"{row['rtf']:.3f}", missed))
    clean = [row for row in rows if not row["misses"]["total"]]
    first = rows[0]
    note = (
        f"`rtsep run` at {first['rate']} Hz, blocks of {first['block']} samples, paced for "
        f"{report['seconds']:g} s at each queue (`benchmarks/queues.py`). "
    )
    if clean:
        least = clean[0]["latency"]["internal"]
        note += (
            f"The smallest internal latency that ran without a miss: {least} samples, "
            f"{1e3 * least / first['rate']:.2f} ms. "
        )
    return "\n".join([*lines, "", note + machine(report)])


def full_band(results: Path = RESULTS) -> str:
    """How far the voice above the model's band is from the clean one, by what is done there."""
    report = json.loads((results / "full_band.json").read_text())
    low, high = report["band_hz"]
    forms = {
        "shared": "shared (`--full-band`, the default)",
        "left_out": "left out of the voice (`--no-full-band`)",
        "left_in": "left in the voice",
    }
    kinds = list(dict.fromkeys(row["noise"] for row in report["by_noise_and_snr"]))
    lines = [
        line("what lies above the model's band", *kinds, "all"),
        line("---", *("---:" for _ in kinds), "---:"),
    ]
    for form, words in forms.items():
        cells = []
        for kind in kinds:
            rows = [row[form] for row in report["by_noise_and_snr"] if row["noise"] == kind]
            cells.append(f"{sum(rows) / len(rows):.1f}")
        lines.append(line(words, *cells, f"**{report['distance_db'][form]:.1f}**"))
    ratios = " and ".join(f"{ratio}" for ratio in sorted({row["snr"] for row in report["results"]}))
    voices = len({row["voice"] for row in report["results"]})
    note = (
        f"Log-spectral distance of `{report['model']}`'s voice to the clean one, {low // 1000} to "
        f"{high // 1000} kHz, in dB: {voices} recordings of wide-band speech in noise at {ratios} "
        "dB (`benchmarks/full_band.py`)."
    )
    return "\n".join([*lines, "", note])


def models(results: Path = RESULTS) -> str:
    """What ships, from the checkpoints themselves."""
    from rtsep.checkpoints import parameter_count, read_spec
    from rtsep.models import find, shipped

    lines = [
        line("model", "stems", "rate", "hop", "latency", "parameters", "voice SI-SDR"),
        line("---", "---", "---:", "---:", "---:", "---:", "---:"),
    ]
    for name in shipped():
        spec = read_spec(find(name))
        score = spec.card.get("metrics", {}).get("voice_si_sdr_i_db", {})
        lines.append(
            line(
                f"`{name}`",
                ", ".join(spec.stems),
                f"{spec.rate} Hz",
                f"{1e3 * spec.hop / spec.rate:g} ms",
                f"{1e3 * spec.latency / spec.rate:g} ms",
                f"{parameter_count(find(name)) / 1e6:.2f} M",
                f"+{score['mean']:.1f} dB mean, +{score['median']:.1f} dB median"
                if score
                else "not measured",
            )
        )
    return "\n".join(lines)


def architectures(results: Path = RESULTS) -> str:
    """Every architecture in every configuration, from the command that lists them."""
    command = [sys.executable, "-m", "rtsep", "models", "--architectures", "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    heads = ("architecture", "configuration", "rate", "parameters", "hop", "latency")
    heads += ("GMAC/s", "weights", "state")
    lines = [line(*heads), line("---", "---", *("---:" for _ in heads[2:]))]
    before = None
    for row in json.loads(done.stdout)["architectures"]:
        first, before = row["architecture"] != before, row["architecture"]
        named = [f"`{before}`" if first else "", f"`{row['configuration'] or 'as it is'}`"]
        if "missing" in row:
            lines.append(line(*named, *("?" for _ in heads[2:])))
            continue
        lines.append(
            line(
                *named,
                f"{row['rate'] / 1000:g} kHz" + (", stereo" if row["channels"] == 2 else ""),
                f"{row['parameters'] / 1e6:.2f} M",
                f"{row['hop']} ({_ms(row['hop_ms'])} ms)",
                f"{row['latency']} ({_ms(row['latency_ms'])} ms)",
                f"{row['macs'] / 1e9:.2f}",
                f"{row['weight_bytes'] / 1e6:.1f} MB",
                f"{row['state_bytes'] / 1e3:.0f} kB",
            )
        )
    note = (
        "`rtsep models --architectures`. Hop and latency in samples at the model's rate; a step "
        "takes at least one hop, which has to be heard first. GMAC/s: 10⁹ multiply-accumulates "
        "per second of sound. Weights and state: what a step of one hop reads, and reads and "
        "writes again, in float32."
    )
    return "\n".join([*lines, "", note])


TABLES: dict[str, Callable[..., str]] = {
    "models": models,
    "architectures": architectures,
    "streaming": streaming,
    "startup": startup,
    "latency": latency,
    "queues": queues,
    "full_band": full_band,
    **engine_tables.TABLES,
}


def render(text: str, results: Path = RESULTS) -> str:
    """The README's text with every table made anew."""

    def table(match: re.Match) -> str:
        name = match[1]
        if name not in TABLES:
            raise SystemExit(f"no table {name!r}; there is {', '.join(TABLES)}")
        return f"<!-- table:{name} -->\n{TABLES[name](results)}\n<!-- end -->"

    return MARKED.sub(table, text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readme", type=Path, nargs="?", default=HERE.parent / "README.md")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--check", action="store_true")
    options = parser.parse_args()
    before = options.readme.read_text()
    after = render(before, options.results)
    if options.check:
        sys.exit(0 if after == before else f"{options.readme} is not what the results say")
    options.readme.write_text(after)


def _ms(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


if __name__ == "__main__":
    main()
