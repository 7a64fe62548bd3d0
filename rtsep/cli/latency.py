"""`rtsep latency`: the round trip of a device, measured, beside what is declared."""

from __future__ import annotations

import json
import sys
from typing import Annotated

import typer

from rtsep.cli.options import Arch, AsJson, Config, HostApi, LiveModel


def command(
    source: Annotated[
        str | None,
        typer.Option("--input", help="Where the sweep comes back in.", metavar="DEVICE"),
    ] = None,
    output: Annotated[
        str | None, typer.Option(help="Where it is played.", metavar="DEVICE")
    ] = None,
    host_api: HostApi = None,
    channel: Annotated[int, typer.Option(help="The input's channel.", metavar="N")] = 1,
    rate: Annotated[int | None, typer.Option(help="Default: the device's.", metavar="HZ")] = None,
    block: Annotated[
        int | None, typer.Option(help="Samples per callback. Default: as the device likes.")
    ] = None,
    level: Annotated[
        str, typer.Option(help="The peak of what is played, at most 0dB.", metavar="DB")
    ] = "-12dB",
    engine_too: Annotated[
        bool, typer.Option("--engine-too/--no-engine", help="Measure with a model in the path too.")
    ] = True,
    model: LiveModel = None,
    arch: Arch = None,
    config: Config = None,
    engine: Annotated[str, typer.Option(help="What computes the steps.")] = "auto",
    chunk: Annotated[
        int | None, typer.Option(help="Samples per step, at the model's rate.")
    ] = None,
    queue: Annotated[
        int | None, typer.Option(help="Samples that the worker has in hand, as in `run`.")
    ] = None,
    factory: Annotated[str | None, typer.Option(hidden=True)] = None,
    as_json: AsJson = False,
) -> None:
    """Measure a device's round trip: connect output to input by a cable, or through the air.

    Sweeps are played and found again in what comes back, without the engine and with it.
    """
    from rtsep import untrained
    from rtsep.checkpoints import read_spec
    from rtsep.errors import WrongCall
    from rtsep.live.options import Options
    from rtsep.models import find

    peak = _peak(level)
    if channel < 1:
        raise WrongCall(f"--channel {channel}: channels count from 1")
    progress = lambda text: print(f"rtsep: {text}", file=sys.stderr)  # noqa: E731
    chosen = untrained.choose(model, arch, config, progress, default="convtasnet")
    options = Options(
        model=chosen, engine=engine, chunk=chunk, blocks=block, queue=queue, factory=factory
    )
    options.check()
    if engine_too and factory is None:
        # Before anything is played.
        read_spec(find(chosen))

    from rtsep.live import roundtrip

    ends = roundtrip.ends(source, output, host_api, channel - 1, rate, block or 0)
    say = (lambda text: None) if as_json else lambda text: print(text, flush=True)
    say(f"{ends}, {ends.rate} Hz: playing sweeps at {level}")
    alone = roundtrip.device_alone(ends, channel - 1, peak)
    report = {
        "input": ends.input.name,
        "output": ends.output.name,
        "host_api": ends.host_api,
        "rate": ends.rate,
        "device": alone.as_json(),
    }
    say(_alone(alone))
    if engine_too:
        trip, latency, summary = roundtrip.with_engine(ends, channel - 1, peak, options, progress)
        named = {key: summary[key] for key in ("model", "engine", "block", "misses")}
        report["engine"] = trip.as_json() | {"latency": latency.as_json()} | named
        say(_engine(trip, latency, summary))
    if as_json:
        print(json.dumps(report, indent=2))


def _peak(text: str) -> float:
    from rtsep.audio.levels import parse
    from rtsep.errors import WrongCall

    try:
        peak = parse(text)
    except WrongCall as wrong:
        raise WrongCall(f"--level: {wrong}") from None
    if not 0 < peak <= 1:
        raise WrongCall(f"--level {text}: at most 0dB, full scale, and something to be heard")
    return peak


def _alone(trip) -> str:
    return "\n".join(["the device alone   samples        ms", *_sums(trip), _how(trip)])


def _engine(trip, latency, summary: dict) -> str:
    lines = [f"{summary['model']} on {summary['engine']}, blocks of {summary['block']}"]
    told = latency.told
    for name, value in latency.parts().items():
        if name not in ("internal", "total") and (told or not name.startswith("device")):
            lines.append(_row(name.replace("_", " "), float(value), trip.rate))
    lines += [*_sums(trip), _how(trip)]
    if summary["misses"]["total"]:
        lines.append(f"{summary['misses']['total']} blocks came without stems (see `rtsep run`)")
    return "\n".join(lines)


def _sums(trip) -> list[str]:
    if trip.declared is None:
        declared = [f"{'declared':16s}{'not told':>10s}{'not told':>10s}"]
        return [*declared, _row("measured", trip.measured, trip.rate)]
    named = ("declared", "measured", "difference")
    return [_row(name, getattr(trip, name), trip.rate) for name in named]


def _row(name: str, samples: float, rate: int) -> str:
    return f"{name:16s}{samples:10.2f}{1000 * samples / rate:10.2f}"


def _how(trip) -> str:
    inverted = ", inverted" if trip.inverted else ""
    return (
        f"{trip.agreeing} sweeps, {trip.spread:.2f} samples apart; came in at {trip.level:.0f} dB"
        f"{inverted}; confidence {trip.confidence:.0f}"
    )
