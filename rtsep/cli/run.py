"""`rtsep run`: separates sound as it comes, and plays what is asked for."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from rtsep.cli import run_preset
from rtsep.cli.options import Arch, AsJson, Config, FullBand, HostApi, LiveModel, Precision


def command(
    ctx: typer.Context,
    preset: Annotated[
        str | None,
        typer.Option(
            help="Options and controls from a file of yours (`rtsep presets`); options given here "
            "win.",
            metavar="NAME|FILE",
            callback=run_preset.take,
            is_eager=True,
        ),
    ] = None,
    model: LiveModel = None,
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
    virtual_mic: Annotated[
        str | None,
        typer.Option(
            help="Be a microphone that other programs can choose. Default of NAME: rtsep.",
            metavar="[NAME]",
        ),
    ] = None,
    host_api: HostApi = None,
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
    clocks: Annotated[
        str,
        typer.Option(
            help="Whether input and output share a clock. `auto`: they do if they are one device "
            "or both of JACK's.",
            metavar="auto|one|two",
        ),
    ] = "auto",
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
    precision: Precision = None,
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
    on_device_loss: Annotated[
        str,
        typer.Option(
            help="When a device is unplugged or fails: `go-on` until it is back, or `stop`.",
            metavar="go-on|stop",
        ),
    ] = "go-on",
    input_gain: Annotated[
        str, typer.Option(help="A gain on what comes in, before everything else.", metavar="DB")
    ] = "0dB",
    limit: Annotated[
        str,
        typer.Option(
            help="The limiter's ceiling: what stays below it passes bit for bit.", metavar="DB|off"
        ),
    ] = "0dB",
    full_band: FullBand = True,
    idle: Annotated[
        float,
        typer.Option(
            help="Rest after so many seconds of silence (below -70 dB), 0 for never.", metavar="S"
        ),
    ] = 0.0,
    midi: Annotated[
        str | None,
        typer.Option(
            help="Be controlled by this MIDI port, or a part of its name (`rtsep midi`). Without "
            "one: the map's own, or the only one.",
            metavar="[PORT]",
        ),
    ] = None,
    midi_map: Annotated[
        Path | None,
        typer.Option(help="Default: midi.toml of your configuration.", metavar="FILE"),
    ] = None,
    osc: Annotated[
        str | None,
        typer.Option(
            help="Be controlled over OSC on this port, by this machine unless a host is named.",
            metavar="[HOST:]PORT",
        ),
    ] = None,
    desk: Annotated[
        bool, typer.Option("--desk", help="Faders, meters and misses in the terminal; ? for help.")
    ] = False,
    fallback: Annotated[
        str | None,
        typer.Option(
            help="A lighter model, which takes over while too many blocks are late.",
            metavar="MODEL",
        ),
    ] = None,
    fallback_share: Annotated[
        float,
        typer.Option(help="How many of the blocks of 2 s have to be late for that.", metavar="0-1"),
    ] = 0.05,
    fallback_quiet: Annotated[
        float,
        typer.Option(
            help="Seconds without a late block after which the first model comes back.", metavar="S"
        ),
    ] = 30.0,
    strict: Annotated[
        bool, typer.Option(help="End with exit code 1 if there was any miss.")
    ] = False,
    factory: Annotated[str | None, typer.Option(hidden=True)] = None,
    as_json: AsJson = False,
) -> int:
    """Separate live: constant latency, printed before it begins."""
    from rtsep.errors import WrongCall

    if clock not in ("paced", "free"):
        raise WrongCall(f"--clock {clock}: paced or free")
    gains = dict(_gain(text) for text in gain or [])
    scene = run_preset.heard(ctx.obj, gains, tuple(solo or ()), tuple(mute or ()))

    from rtsep.machine import is_kept

    # What builds something for the first time says so; that is no part of the JSON.
    progress = lambda text: print(f"rtsep: {text}", file=sys.stderr)  # noqa: E731
    if not is_kept("callback.callback"):
        progress("compiling the audio callback, once")

    from rtsep import untrained
    from rtsep.cli.run_desk import at_desk
    from rtsep.cli.run_remote import Remotes
    from rtsep.cli.run_text import end, heading, table
    from rtsep.cli.run_watch import Ending, watch
    from rtsep.desk.process import check
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
        clocks,
        virtual_mic=virtual_mic,
    )
    options = Options(
        model=untrained.choose(model, arch, config, progress, default="convtasnet"),
        engine=engine,
        chunk=chunk,
        precision=precision,
        blocks=block,
        queue=queue,
        paced=clock == "paced",
        gains=scene.gains,
        solo=scene.solos,
        mute=scene.mutes,
        wet=scene.wet,
        bypass=scene.bypass,
        routes=parse_routes(route or []),
        on_miss=on_miss,
        on_device_loss=on_device_loss,
        ceiling=_ceiling(limit),
        input_gain=_level("--input-gain", input_gain),
        full_band=full_band,
        idle=idle,
        record=record,
        recordable=desk,
        overwrite=overwrite,
        factory=factory,
        fallback=fallback,
        fallback_share=fallback_share,
        fallback_quiet=fallback_quiet,
    )
    options.check()
    if desk:
        check()
    with (
        Ending() as ending,
        Remotes(osc, midi, midi_map) as remotes,
        open_session(ends, options, progress, say) as session,
    ):
        from rtsep.live.session import seconds_since_process_start

        remotes.check_stems(session.info["model"], session.stems)
        say(heading(session, clock))
        say(table(session.latency))
        session.start()
        begun = seconds_since_process_start()
        say(f"worker: {session.granted}")
        for text in session.warnings:
            say(text)
        with remotes.attached(session) as told:
            for text in told:
                say(text)
            notices = []
            if desk:
                notices = at_desk(session, ends, clock, ending, not as_json, remotes.new)
            if ending.asked is None and not (desk and session.join(0)):
                notices += watch(session, ending, show=not as_json, more=remotes.new)
        summary = session.finish()
        summary |= {
            "interrupted": ending.asked is not None,
            "ended_by": ending.asked,
            "start_s": begun,
            "notices": list(dict.fromkeys(notices)),
        }
    if output is not None and is_file(output):
        summary["files"] = [*summary["files"], output]
    print(json.dumps(summary, indent=2)) if as_json else print(end(summary))
    for error in summary["errors"]:
        print(f"rtsep: {error}", file=sys.stderr)
    missed = strict and summary["misses"]["total"]
    if missed:
        print(f"rtsep: --strict: {missed} misses", file=sys.stderr)
    return 1 if summary["errors"] or missed else 0


def _gain(text: str) -> tuple[str, float]:
    """(stem, factor) from STEM=DB."""
    from rtsep.errors import WrongCall

    name, equals, value = text.partition("=")
    if not equals:
        raise WrongCall(f"--gain {text}: STEM=GAIN, as voice=-6dB")
    return name.strip(), _level("--gain", value)


def _level(option: str, text: str) -> float:
    from rtsep.audio.levels import parse
    from rtsep.errors import WrongCall

    try:
        return parse(text)
    except WrongCall as wrong:
        raise WrongCall(f"{option}: {wrong}") from None


def _ceiling(text: str) -> float | None:
    """Of the limiter; None: off."""
    from rtsep.errors import WrongCall

    if text.strip().lower() == "off":
        return None
    ceiling = _level("--limit", text)
    if not 0 < ceiling <= 1:
        raise WrongCall(f"--limit {text}: at most 0dB, full scale, or off")
    return ceiling
