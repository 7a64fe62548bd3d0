"""Plots of the measured results: what a step takes against its floor, and against the chunk.

    python benchmarks/plots.py [--results FOLDER]

Needs matplotlib: pip install -e '.[bench]'. Writes steps.svg and chunks.svg beside the results.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt  # noqa: E402 - the backend is chosen first
from engine_tables import RESULTS, best  # noqa: E402
from matplotlib.ticker import LogLocator, NullFormatter  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    report = json.loads((options.results / "engines.json").read_text())
    rows = best(report["results"])
    steps(rows, options.results / "steps.svg")
    chunks(rows, options.results / "chunks.svg")


def steps(rows: list[dict], path: Path) -> None:
    """From median to maximum, paced, with the floor as a mark; the chunk nearest 8 ms."""
    names = list(dict.fromkeys(row["name"] for row in rows))
    figure, axes = plt.subplots(
        len(names), 1, figsize=(8, 2.4 * len(names)), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[:, 0], names, strict=True):
        own = [row for row in rows if row["name"] == name]
        chunk = min((row["chunk"] for row in own), key=lambda n: abs(n / own[0]["rate"] - 0.008))
        own = sorted(
            (row for row in own if row["chunk"] == chunk), key=lambda row: -row["step_ms"]["p50"]
        )
        for i, row in enumerate(own):
            step = row["step_ms"]
            axis.plot([step["p50"], step["p999"]], [i, i], color="tab:blue", alpha=0.4)
            axis.plot(step["p50"], i, "o", color="tab:blue", label="p50" if i == 0 else None)
            axis.plot(step["p99"], i, "|", color="tab:blue", label="p99" if i == 0 else None)
            axis.plot(row["floor_ms"], i, "x", color="tab:red", label="floor" if i == 0 else None)
        axis.set_yticks(range(len(own)), [f"{row['engine']} {row['precision']}" for row in own])
        logarithmic(axis.xaxis)
        axis.set_title(f"{name}, chunks of {1e3 * chunk / own[0]['rate']:.3g} ms", fontsize=10)
        axis.set_xlabel("ms per step, paced, one core (line: to p99.9)")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.savefig(path)
    plt.close(figure)


def chunks(rows: list[dict], path: Path) -> None:
    """Real-time factor against the chunk, of what was measured with more than one."""
    sizes: dict[str, set[int]] = {}
    for row in rows:
        sizes.setdefault(row["name"], set()).add(row["chunk"])
    # Nothing to draw a line of is still a file to be looked at.
    names = [name for name, found in sizes.items() if len(found) > 1] or list(sizes)
    kinds = sorted({(row["engine"], row["precision"]) for row in rows})
    figure, axes = plt.subplots(
        1, len(names), figsize=(4 * len(names), 4), squeeze=False, layout="constrained"
    )
    for axis, name in zip(axes[0], names, strict=True):
        own = [row for row in rows if row["name"] == name]
        for k, kind in enumerate(kinds):  # one colour each, in every panel
            line = sorted(
                (1e3 * row["chunk"] / row["rate"], row["rtf"])
                for row in own
                if (row["engine"], row["precision"]) == kind
            )
            xs, ys = zip(*line, strict=True) if line else ((), ())
            axis.plot(xs, ys, f"C{k}", marker="o", markersize=3, label=" ".join(kind))
        logarithmic(axis.xaxis)
        logarithmic(axis.yaxis)
        axis.set_title(name, fontsize=10)
        axis.set_xlabel("chunk, ms")
    axes[0][0].set_ylabel("real-time factor, paced")
    figure.legend(*axes[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    figure.savefig(path)
    plt.close(figure)


def logarithmic(axis) -> None:
    """With plain numbers at 1, 2 and 5 of each decade."""
    {"x": axis.axes.set_xscale, "y": axis.axes.set_yscale}[axis.axis_name]("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(NullFormatter())


if __name__ == "__main__":
    main()
