"""`rtsep run`: separates sound as it comes, and plays what is asked for."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli.options import Arch, Config


def command(
    model: Annotated[
        str | None, typer.Option(help="A model's name, or a checkpoint file. Default: convtasnet.")
    ] = None,
    arch: Arch = None,
    config: Config = None,
    source: Annotated[
        str | None,
        typer.Option(
            "--input",
            help="A device (name, part of it, or index), a file, `demo`, or `none`. Default: the "
            "system's input, or the demo.",
            metavar="DEVICE|FILE|demo|none",
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            help="Where it is heard: a device, a WAV file, or `none`. Default: the system's "
            "output, if there is one.",
            metavar="DEVICE|FILE.wav|none",
        ),
    ] = None,
    host_api: Annotated[
        str | None, typer.Option(help="Devices of this host API only.", metavar="NAME")
    ] = None,
    channels: Annotated[
        str | None,
        typer.Option(help="The input's channels to separate. Default: up to two.", metavar="1-2"),
    ] = None,
    route: Annotated[
        list[str] | None,
        typer.Option(
            help="Play a stem, or `mix`, on these output channels (several add up).",
            metavar="STEM=1-2",
        ),
    ] = None,
    exclusive: Annotated[
        bool, typer.Option(help="Devices for this run alone, where the host API has that.")
    ] = False,
    clock: Annotated[
        str,
        typer.Option(
            help="`paced`: in real time. `free`: as fast as it goes, never missing; on a device, "
            "callbacks wait for the stems.",
            metavar="paced|free",
        ),
    ] = "paced",
    engine: Annotated[str, typer.Option(help="What computes the steps.")] = "auto",
    chunk: Annotated[
        int | None,
        typer.Option(help="Samples per step, at the model's rate: a multiple of its hop."),
    ] = None,
    block: Annotated[
        int | None,
        typer.Option(help="Samples per callback, at the run's rate. Default: as the device likes."),
    ] = None,
    queue: Annotated[
        int | None,
        typer.Option(help="Samples that the worker has in hand: a multiple of the block."),
    ] = None,
    rate: Annotated[
        int | None, typer.Option(help="Hz of the run. Default: the input's.", metavar="HZ")
    ] = None,
    gain: Annotated[
        list[str] | None, typer.Option(help="A stem's gain, as voice=-6dB.", metavar="STEM=DB")
    ] = None,
    solo: Annotated[
        list[str] | None, typer.Option(help="Hear this stem only (several add up).", metavar="STEM")
    ] = None,
    mute: Annotated[
        list[str] | None, typer.Option(help="Don't hear this stem.", metavar="STEM")
    ] = None,
    duration: Annotated[
        float | None, typer.Option(help="End after so many seconds of input.", metavar="S")
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(help="Write DIR/STEM.wav and DIR/mix.wav, before gains.", metavar="DIR"),
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace files that are there already.")] = False,
    on_miss: Annotated[
        str,
        typer.Option(help="What is heard when a step is late.", metavar="dry|silence"),
    ] = "dry",
    strict: Annotated[
        bool, typer.Option(help="End with exit code 1 if there was any miss.")
    ] = False,
    factory: Annotated[str | None, typer.Option(hidden=True)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> int:
    """Separate live: constant latency, printed before it begins."""
    from rtsep.errors import WrongCall

    _one_of("--clock", clock, ("paced", "free"))
    _one_of("--on-miss", on_miss, ("dry", "silence"))
    if block is not None and not 1 <= block <= 16384:
        raise WrongCall(f"--block {block}: between 1 and 16384 samples")
    gains = dict(_gain(text) for text in gain or [])

    from rtsep import untrained
    from rtsep.live.ends import Ends, is_file
    from rtsep.live.opening import open_session
    from rtsep.live.options import Options
    from rtsep.live.wiring import parse_channels, parse_routes

    say = (lambda text: None) if as_json else print
    ends = Ends(
        source,
        output,
        rate,
        duration,
        overwrite,
        host_api,
        None if channels is None else parse_channels(channels),
        exclusive,
    )
    # What builds something for the first time says so; that is no part of the JSON.
    progress = lambda text: print(f"rtsep: {text}", file=sys.stderr)  # noqa: E731
    options = Options(
        model=untrained.choose(model, arch, config, progress, default="convtasnet"),
        engine=engine,
        chunk=chunk,
        blocks=block,
        queue=queue,
        paced=clock == "paced",
        gains=gains,
        solo=tuple(solo or ()),
        mute=tuple(mute or ()),
        routes=parse_routes(route or []),
        on_miss=on_miss,
        record=record,
        overwrite=overwrite,
        factory=factory,
    )
    session = open_session(ends, options, progress, say)

    from rtsep.live.session import seconds_since_process_start

    with session:
        say(_heading(session, clock))
        say(_table(session.latency))
        session.start()
        begun = seconds_since_process_start()
        say(f"worker: {session.granted}")
        interrupted = _watch(session, show=not as_json)
        summary = session.finish() | {"interrupted": interrupted, "start_s": begun}
    if output is not None and is_file(output):
        summary["files"] = [*summary["files"], output]
    print(json.dumps(summary, indent=2)) if as_json else print(_end(summary))
    for error in summary["errors"]:
        print(f"rtsep: {error}", file=sys.stderr)
    missed = strict and summary["misses"]["total"]
    if missed:
        print(f"rtsep: --strict: {missed} misses", file=sys.stderr)
    return 1 if summary["errors"] or missed else 0


def _one_of(option: str, value: str, accepted: tuple[str, ...]) -> None:
    from rtsep.errors import WrongCall

    if value not in accepted:
        raise WrongCall(f"{option} {value}: {' or '.join(accepted)}")


def _gain(text: str) -> tuple[str, float]:
    """(stem, factor) from STEM=DB."""
    from rtsep.audio.levels import parse
    from rtsep.errors import WrongCall

    name, equals, value = text.partition("=")
    if not equals:
        raise WrongCall(f"--gain {text}: STEM=GAIN, as voice=-6dB")
    return name.strip(), parse(value)


def _heading(session, clock: str) -> str:
    from rtsep.audio.levels import describe

    info = session.info
    heard = []
    for name, (gain, mute, solo) in session.gains.items():
        if mute or (not solo and any(s for _, _, s in session.gains.values())):
            heard.append(f"{name} off")
        else:
            heard.append(f"{name} {describe(gain)}{' solo' if solo else ''}")
    o = session.options
    primary = " (nothing asked for: the primary stem)" if o.asks_for_nothing else ""
    routes = [
        f"{name} on {','.join(str(k + 1) for k in channels)}" for name, channels in o.routes.items()
    ]
    if routes:
        primary = f"; outputs: {', '.join(routes)}"
    device = session.device
    if device is not None:
        clock = f"{clock} clock of {device.plan}"
        if session.latency.delivery > session.latency.block:
            clock += f", which hands over {session.latency.delivery} at once"
    else:
        clock = f"{clock} simulated clock"
    return (
        f"{info['model']} on {info['engine']}, chunks of {info['chunk']} samples at "
        f"{info['model_rate']} Hz; {session.rate} Hz, {session.channels} channels, blocks of "
        f"{session.latency.block}, {clock}\nheard: {', '.join(heard)}{primary}"
    )


def _table(latency) -> str:
    lines = ["latency         samples        ms"]
    for name, value in latency.parts().items():
        if name == "internal":
            lines.append("-" * len(lines[0]))
        number = f"{int(value)}" if value == int(value) else f"{float(value):.2f}"
        ms = f"{latency.milliseconds(value):.2f}"
        if name.startswith("device") and not latency.told:
            number = ms = "not told"
        lines.append(f"{name.replace('_', ' '):12s} {number:>10s} {ms:>9s}")
    deadline = f"{latency.deadline} samples, {latency.milliseconds(latency.deadline):.2f} ms"
    return "\n".join([*lines, f"the worker's deadline: {deadline}"])


def _watch(session, show: bool) -> bool:
    """Shows the status line until the run is over; whether Ctrl-C ended it."""
    terminal = show and sys.stdout.isatty()
    told = False
    interrupted = False
    try:
        while not session.join(0.2):
            if terminal:
                width = os.get_terminal_size().columns - 1
                print(f"\r\x1b[K{_line(session)[:width]}", end="", flush=True)
            if session.worker_died and not told:
                told = True
                if show:
                    words = f"{session.process.last_words}: the sound goes on dry"
                    print(f"\r\x1b[K{words}" if terminal else words, flush=True)
    except KeyboardInterrupt:
        interrupted = True
    if show:
        print(f"\r\x1b[K{_line(session)}" if terminal else _line(session))
    return interrupted


def _line(session) -> str:
    """The status line."""
    status = session.status
    steps = status.steps()
    deadline = session.latency.milliseconds(session.latency.deadline)
    weights = "random weights  " if session.untrained else ""
    levels = "  ".join(
        f"{name} {level:.0f} dB" for name, level in zip(session.stems, status.levels(), strict=True)
    )
    return (
        f"{session.clock.samples / session.rate:7.1f} s  {weights}step p50 {steps['p50']:.2f} p99 "
        f"{steps['p99']:.2f} of {deadline:.2f} ms  misses {sum(status.misses().values())}  {levels}"
    )


def _end(summary: dict) -> str:
    steps, misses = summary["step_ms"], summary["misses"]
    causes = ", ".join(f"{cause} {n}" for cause, n in misses["causes"].items())
    lines = [
        f"{summary['seconds']:.2f} s of sound, real-time factor {summary['rtf']:.3f}"
        + (", ended by Ctrl-C" if summary["interrupted"] else ""),
        f"steps: p50 {steps['p50']:.3f}, p99 {steps['p99']:.3f}, p99.9 {steps['p999']:.3f}, "
        f"max {steps['max']:.3f} ms",
        f"misses: {misses['total']}" + (f" ({causes})" if causes else ""),
    ]
    if summary["clock_stalls"]:
        held_up = "the file was late" if summary["device"] else "the simulated clock was held up"
        lines.append(f"{held_up} {summary['clock_stalls']} times")
    lines += summary["advice"]
    if summary["bad_input"]:
        lines.append(f"{summary['bad_input']} samples at the input were no numbers: silenced")
    if summary["resets"]:
        lines.append(f"the network's output was no number {summary['resets']} times: reset")
    return "\n".join(lines + [f"wrote {file}" for file in summary["files"]])
