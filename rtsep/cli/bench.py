"""`rtsep bench`: how long a step takes, and how often too long."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from rtsep.cli.options import Arch, AsJson, Config, Precision


def command(
    model: Annotated[
        str | None, typer.Option(help="A model that ships, or a checkpoint's path.")
    ] = None,
    arch: Arch = None,
    config: Config = None,
    engine: Annotated[
        list[str] | None, typer.Option(help="May be given several times; 'all' is every one.")
    ] = None,
    chunk: Annotated[
        list[int] | None,
        typer.Option(help="Samples at the model's rate; may be given several times."),
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of sound, per engine and chunk.")] = 10.0,
    precision: Precision = None,
    warm: Annotated[
        bool, typer.Option("--warm", help="Step again and again, instead of once per chunk.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Measure engines: time per step, real-time factor, misses, load time, memory.

    Steps are paced, one per chunk of time, as they are live. Each case runs in a process of its
    own, on one thread.
    """
    from rich.console import Console

    from rtsep import benchmark, engines, untrained

    chosen = untrained.choose(model, arch, config)
    names = engine or ["auto"]
    if "all" in names:
        names = [name for name, reason in engines.available().items() if reason is None]
    cases = [(name, size) for name in names for size in (chunk or [None])]
    report = {"machine": benchmark.machine(), "versions": benchmark.versions(), "results": []}
    with Console(stderr=True).status("") as status:
        for index, (name, size) in enumerate(cases, 1):
            status.update(f"{index} of {len(cases)}: {name}, {seconds:g} s of sound")
            row = benchmark.measure(
                chosen, name, size, seconds=seconds, paced=not warm, precision=precision
            )
            report["results"].append(row)
    if as_json:
        print(json.dumps(report, indent=2))
    else:
        _show(report, Console())


def _show(report: dict, console) -> None:
    from rich import box
    from rich.table import Table

    machine = report["machine"]
    console.print(f"{machine['processor']}, {machine['cores']} cores, {machine['system']}")
    console.print(", ".join(f"{name} {number}" for name, number in report["versions"].items()))
    names = ("engine", "chunk", "p50", "p99", "p99.9", "max", "RTF", "misses", "load s", "MB")
    table = Table(*names, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for row in report["results"]:
        table.add_row(
            row["engine"],
            f"{row['chunk']} = {1e3 * row['chunk'] / row['rate']:g} ms",
            *(f"{row['step_ms'][name]:.2f}" for name in ("p50", "p99", "p999", "max")),
            f"{row['rtf']:.3f}",
            f"{row['misses']}/{row['steps']}",
            f"{row['load_s']:.2f}",
            "" if row["memory_mb"] is None else f"{row['memory_mb']:.0f}",
        )
    first = report["results"][0]
    loop = "one step per chunk of time" if first["paced"] else "step after step, caches warm"
    console.print(f"{first['model']}, {first['precision']}: {loop}; times in ms")
    console.print(table)
    console.print("RTF: compute time over audio time. A miss: done after the next chunk was there.")
