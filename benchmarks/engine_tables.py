"""The tables of engines, peers, streams and the long run, and what was aimed at."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from pathlib import Path

from cells import line, machine

RESULTS = Path(__file__).parent / "results"
# Below this signal to difference against eager, in dB, a figure does not count.
LEAST_DB = 30.0


def engines(results: Path = RESULTS) -> str:
    """Step times of each model in every engine and precision, paced, beside the floor."""
    report = _read(results, "engines")
    lines = []
    rows = best(report["results"])
    for name in dict.fromkeys(row["name"] for row in rows):
        own = [row for row in rows if row["name"] == name]
        sizes = sorted({row["chunk"] for row in own})
        rate = own[0]["rate"]
        heads = [f"{1e3 * size / rate:.3g} ms chunks" for size in sizes]
        lines += [
            "",
            line(f"`{name}`", "dB", *heads),
            line("---", "---:", *("---:" for _ in heads)),
        ]
        kinds = dict.fromkeys((row["engine"], row["precision"]) for row in own)
        for engine, precision in sorted(kinds, key=lambda kind: _first(own, *kind)):
            there = [row for row in own if (row["engine"], row["precision"]) == (engine, precision)]
            cells = []
            for size in sizes:
                row = next((row for row in there if row["chunk"] == size), None)
                if row is None:
                    cells.append("")
                    continue
                step = row["step_ms"]
                cells.append(f"{step['p50']:.2f} ({step['p99']:.2f}), {row['paced_floors']:.1f}×")
            ratio = min(row["ratio_db"] for row in there)
            lines.append(line(f"`{engine}` {precision}", f"{ratio:.0f}", *cells))
    note = (
        "Milliseconds per step, median (99th percentile), and how many times the floor: the time "
        "that the weights take from the cache they fit, or the products at the processor's peak, "
        "whichever is longer, both measured (`benchmarks/floors.py`). Paced, one core; dB: signal "
        f"to difference against `eager` on the demo. {machine(report)}"
    )
    return "\n".join([*lines[1:], "", note])


def peers(results: Path = RESULTS) -> str:
    """What people use today against ours, interleaved on one core."""
    report = _read(results, "peers")
    lines = [line("", "paced", "", "warm", ""), line("---", *("---:" for _ in range(4)))]
    for row in report["results"]:
        if "error" in row:
            continue
        for form in row["forms"]:
            label = form["form"]
            label = f"{row['name']}: {label}" if label == row["against"] else f"rtsep {label}"
            if "native" not in label and "onnxruntime" not in label:
                label = label.removeprefix("rtsep ")
            cells = []
            for kind in ("paced", "warm"):
                faster = form.get(f"{kind}_times_faster", 1.0)
                cells.append(f"{form[f'{kind}_ms']['p50']:.2f}")
                times = f"**{faster:.{1 if faster > 0.1 else 3}f}×**"
                cells.append("" if form["form"] == row["against"] else times)
            lines.append(line(label, *cells))
    note = (
        "Milliseconds per step, median, and how many times faster than the peer that is named "
        "first; all forms of a comparison in turns on one core (`benchmarks/peers.py` says what "
        f"each computes). {machine(report)}"
    )
    return "\n".join([*lines, "", note])


def streams(results: Path = RESULTS) -> str:
    """How many streams one core holds."""
    report = _read(results, "streams")
    lines = [
        line("", "chunk", "streams", "ms per stream"),
        line("---", *("---:" for _ in range(3))),
    ]
    for row in report["results"]:
        if "error" in row or not row["batches"]:
            continue
        label = f"`{row['name']}` on `{row['engine']}` {row['precision']}"
        last = next((b for b in row["batches"] if b["batch"] == row["streams"]), row["batches"][0])
        cells = f"{last['chunk_ms']:g} ms", f"{row['streams']}", f"{last['per_stream_ms']:.3f}"
        lines.append(line(label, *cells))
    note = (
        "Streams, as rows of a batch, whose steps' 99th percentile stays within a chunk's time on "
        f"one core. {machine(report)}"
    )
    return "\n".join([*lines, "", note])


def soak(results: Path = RESULTS) -> str:
    """A long run in one sentence."""
    report = _read(results, "soak")
    row = report["results"][0]
    causes = ", ".join(f"{cause} {n}" for cause, n in row["misses"]["causes"].items())
    misses = f"{row['misses']['total']}" + (f" ({causes})" if causes else "")
    latency = 1e3 * row["latency"]["internal"] / row["rate"]
    return (
        f"`{row['model']}` on `{row['engine']}` in {row['precision']}, paced for "
        f"{row['seconds'] / 60:.1f} minutes at an internal latency of {latency:.2f} ms: misses "
        f"{misses}; steps p50 {row['step_ms']['p50']:.2f}, p99.9 {row['step_ms']['p999']:.2f}, max "
        f"{row['step_ms']['max']:.2f} of {row['deadline_ms']:.2f} ms. {machine(report)}"
    )


def gaps(results: Path = RESULTS) -> str:
    """Where a step's time above its floor comes from, on each machine."""
    situations = ("warm", "cold", "far", "awake", "paced")
    heads = ("chunk", "floor", "from memory", *situations)
    lines = [line("", *heads), line("---", *("---:" for _ in heads))]
    reports = [_read(folder, "gaps") for folder in _machines(results)]
    for report in reports:
        lines.append(line(f"**{report['machine']['core']}**", *["" for _ in heads]))
        for row in report["results"]:
            cells = [f"{row['chunk_ms']:.3g} ms", f"{row['floor_ms']:.3f}"]
            cells.append(f"{row['memory_floor_ms']:.3f}" if "memory_floor_ms" in row else "")
            for name in situations:
                ms = row["step_ms"][name]["p50"] if name in row["step_ms"] else None
                cells.append("" if ms is None else f"{ms:.3f} ({ms / row['floor_ms']:.1f}×)")
            lines.append(line(f"`{row['name']}` {row['precision']}", *cells))
    note = (
        "`native`, milliseconds per step, median, and how many times the floor, in turns on one "
        "core; from memory: the floor of a step whose weights have left all caches. Warm: step "
        "after step. Cold: the same, after twice as much other memory as the second cache holds; "
        "far: as the last one holds. Awake: one per chunk, the core kept busy until then. Paced: "
        "one per chunk, the core asleep until then, as it is live. "
    )
    return "\n".join([*lines, "", note + " ".join(machine(report) for report in reports)])


def targets(results: Path = RESULTS) -> str:
    """What was aimed at and what each machine measured; in bold where it holds."""
    machines = _machines(results)
    found: dict[tuple[str, str], list[str]] = {}
    for column, folder in enumerate(machines):
        for aim, wanted, measured, holds in _targets(folder):
            cells = found.setdefault((aim, wanted), [""] * len(machines))
            cells[column] = f"**{measured}**" if holds else measured
    heads = [_read(folder, "engines")["machine"]["core"] for folder in machines]
    lines = [line("aim", "wanted", *heads), line("---", *("---:" for _ in [0, *heads]))]
    lines += [line(aim, wanted, *cells) for (aim, wanted), cells in found.items()]
    note = "In bold where it holds."
    return "\n".join([*lines, "", note])


def _targets(results: Path) -> Iterable[tuple[str, str, str, bool]]:
    rows = [row for row in best(_read(results, "engines")["results"]) if _near(row)]
    against = {row["name"]: row for row in _read(results, "peers")["results"] if "forms" in row}
    published, shipped = "convtasnet/published-16k", "convtasnet"
    reduced = ("bfloat16", "int8")
    for name, label, exact, less in (
        ("convtasnet", "published Conv-TasNet, 8 ms, against the conventional form, warm", 15, 30),
        ("demucs48", "causal Demucs 48, 16 ms, against DemucsStreamer, warm", 8, 15),
    ):
        if name not in against or against[name]["against"] is None:
            continue
        faster = {f["form"]: f.get("warm_times_faster", 1.0) for f in against[name]["forms"]}
        single = faster["native float32"]
        yield label, f"{exact}×", f"{single:.1f}×", single >= exact
        most = max(faster[f"native {kind}"] for kind in reduced)
        yield f"{label}, reduced precision", f"{less}×", f"{most:.1f}×", most >= less
    eights = [row for row in rows if row["name"] == published and row["chunk"] == 128]
    for kind in ("float32", "int8"):
        step = {r["engine"]: r["step_ms"]["p50"] for r in eights if r["precision"] == kind}
        library = [p50 for engine, p50 in step.items() if engine not in ("native", "eager")]
        if "native" in step and library:
            times = min(library) / step["native"]
            label = f"published Conv-TasNet, 8 ms, {kind}, against the best library"
            yield label, "2×", f"{times:.1f}×", times >= 2
    own = [row for row in eights if row["engine"] == "native"]
    for row in own:
        floors = row["paced_floors"]
        label = f"published Conv-TasNet, 8 ms, {row['precision']}, paced median over the floor"
        yield label, "≤ 3", f"{floors:.1f}", floors <= 3
        stalls = row["stalls_ms"]
        excess = row["step_ms"]["p999"] - (stalls["p999"] - stalls["p50"])
        spread = excess / row["step_ms"]["p50"]
        yield (
            f"published Conv-TasNet, 8 ms, {row['precision']}, p99.9 over p50, the machine's own "
            "stalls taken out",
            "≤ 2",
            f"{spread:.1f}",
            spread <= 2,
        )
    for name, chunk, most, label in (
        (published, 32, 0.15, "published Conv-TasNet, 2 ms, real-time factor paced"),
        (shipped, 64, 0.03, "the voice model, 4 ms, real-time factor paced"),
    ):
        there = [row["rtf"] for row in rows if (row["name"], row["chunk"]) == (name, chunk)]
        if there:
            yield label, f"≤ {most:g}", f"{min(there):.3f}", min(there) <= most
    held = [
        row["streams"]
        for row in _read(results, "streams")["results"]
        if row["name"] == shipped and "streams" in row
    ]
    if held:
        yield "the voice model, streams on one core", "24", f"{max(held)}", max(held) >= 24
    music = [row for row in rows if row["name"] == "hstasnet/low-latency" and row["chunk"] == 128]
    if music:
        p99, hop = min(row["step_ms"]["p99"] for row in music), 1e3 * 128 / 44100
        label = "HS-TasNet, hops of 128 samples at 44.1 kHz, p99 in ms"
        yield label, f"≤ {hop:.1f}", f"{p99:.2f}", p99 <= hop


TABLES: dict[str, Callable[..., str]] = {
    "engines": engines,
    "peers": peers,
    "streams": streams,
    "soak": soak,
    "gaps": gaps,
    "targets": targets,
}


def _machines(results: Path) -> list[Path]:
    """The results of the machine that was measured last, then those of others."""
    return [results, *sorted(path.parent for path in results.glob("*/engines.json"))]


def _read(results: Path, name: str) -> dict:
    return json.loads((results / f"{name}.json").read_text())


def best(rows: list[dict]) -> list[dict]:
    """Of the rounds of each case the one with the lowest median; what failed is left out."""
    found: dict[tuple, dict] = {}
    for row in rows:
        if "error" in row:
            continue
        key = row["name"], row["engine"], row["precision"], row["chunk"]
        if key not in found or row["step_ms"]["p50"] < found[key]["step_ms"]["p50"]:
            found[key] = row
    return list(found.values())


def _near(row: dict) -> bool:
    return row["ratio_db"] >= LEAST_DB


def _first(rows: list[dict], engine: str, precision: str) -> float:
    """The slowest stand first."""
    own = [r for r in rows if (r["engine"], r["precision"]) == (engine, precision)]
    return -own[0]["step_ms"]["p50"]
