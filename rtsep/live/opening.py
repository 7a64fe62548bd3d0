"""From what a user names (devices, files, the demo, nowhere) to a session: one place for all."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from rtsep.errors import WrongCall
from rtsep.live.devices import Device
from rtsep.live.ends import NONE, Ends, meant
from rtsep.live.options import DEFAULT_BLOCK, Options
from rtsep.live.process import WorkerProcess
from rtsep.live.virtual_mic import Virtual, VirtualMic

_USUAL = 2  # channels of a device that are taken or played on where none are named
_MOST_OF_NONE = 48000  # Hz of a run that neither a file nor a device gives a rate


def open_session(
    ends: Ends,
    options: Options,
    progress: Callable[[str], None] = lambda text: None,
    say: Callable[[str], None] = lambda text: None,
):
    """A `Session` (see `session.py`) between these ends, ready to start.

    `progress` is told what takes long while an engine is built, `say` what the user should know.
    Raises what opening or building raises; then nothing is left behind.
    """
    ends.check()
    with ExitStack() as undo:
        process = WorkerProcess()  # loads its libraries while we load ours
        undo.callback(process.stop)
        source, sink = meant(ends, options.paced, say)
        if not isinstance(source, Device) and not isinstance(sink, Device):
            session = _simulated(ends, options, source, sink, progress, say, process, undo)
            undo.pop_all()
            return session
        session = _on_devices(ends, options, source, sink, progress, say, process, undo)
        undo.pop_all()
        return session


def _simulated(ends, options, source, sink, progress, say, process, undo):
    from rtsep.live.session import Session

    feed = _feed(ends, source, ends.rate, say, undo)
    wiring = _wiring(ends, options, feed.channels, None)
    if wiring.outputs and sink != NONE:
        sink = _sink(ends, sink, feed.rate, wiring.outputs, say, undo)
    else:
        sink = None
    options = _limited(ends, options, feed.rate)
    if options.blocks is None:
        options = replace(options, blocks=DEFAULT_BLOCK)
    return Session(
        feed, sink, feed.rate, len(wiring.take), options, progress, process, wiring=wiring
    )


def _on_devices(ends, options, source, sink, progress, say, process, undo):
    from rtsep.live.device_clock import DeviceClock
    from rtsep.live.device_stream import plan
    from rtsep.live.session import Session

    microphone = source if isinstance(source, Device) else None
    loudspeaker = sink if isinstance(sink, Device) else None
    feed = None
    if microphone is None:
        rate = ends.rate or _rate_of(source, loudspeaker)
        wiring = _wiring(ends, options, _channels_of(ends, source), loudspeaker)
    else:
        rate = ends.rate
        wiring = _wiring(ends, options, microphone, loudspeaker)
    blocks = options.blocks or 0
    if not isinstance(blocks, int):
        raise WrongCall("a series of block sizes is for the simulated clock")
    stream = plan(
        microphone,
        loudspeaker,
        wiring.inputs,
        wiring.outputs,
        rate,
        block=blocks,
        exclusive=ends.exclusive,
        clocks=ends.clocks,
    )
    if stream.capture_rate is not None and not options.paced:
        raise WrongCall(
            f"--clock free: {stream.input} and {stream.output} have a clock each, and neither "
            "waits; --clock paced, or --clocks one where both have the same"
        )
    if microphone is None:
        feed = _feed(ends, source, stream.rate, say, undo)
    file = None
    if loudspeaker is None and sink != NONE:
        file = _sink(ends, sink, stream.rate, wiring.outputs, say, undo)
    options = _limited(ends, options, stream.rate)
    clock = DeviceClock(stream, feed, file)
    undo.callback(clock.close)
    if not clock.direct:
        say(
            "this sounddevice takes no compiled callback: Python is in its way, and busy Python "
            "threads will make the sound crackle"
        )
    return Session(
        feed,
        file,
        stream.rate,
        len(wiring.take),
        options,
        progress,
        process,
        wiring=wiring,
        device=clock,
    )


def _wiring(ends: Ends, options: Options, input, output):
    """`input`: a device, or how many channels a file has; `output`: a device or None."""
    from rtsep.live.wiring import Wiring

    takes_device = not isinstance(input, int)
    there = input.inputs if takes_device else input
    take = ends.channels
    if take is None:
        usual = _USUAL
        if takes_device and output is not None:
            usual = min(usual, output.outputs)
        take = tuple(range(min(usual, there) if takes_device else there))
    if max(take) >= there:
        name = f"device {input}" if takes_device else f"{ends.input}"
        raise WrongCall(
            f"--channels: channel {max(take) + 1} of {name}, which has {there} to take from"
        )
    routed = [channel for channels in options.routes.values() for channel in channels]
    if output is not None:
        outputs = max(routed) + 1 if routed else min(_USUAL, output.outputs)
        if outputs > output.outputs:
            raise WrongCall(
                f"--route: channel {outputs} of device {output}, which has {output.outputs} outputs"
            )
    else:
        outputs = max(routed) + 1 if routed else len(take)
    return Wiring(max(take) + 1 if takes_device else there, take, outputs, options.routes)


def _feed(ends: Ends, source, rate: int | None, say, undo: ExitStack):
    from rtsep.live.feeds import FileSource, Silence

    if source == NONE:
        return Silence(_channels_of(ends, NONE), rate or _MOST_OF_NONE)
    feed = FileSource(source, rate)
    undo.callback(feed.close)
    if feed.rate != feed.file_rate:
        say(f"{source}: {feed.file_rate} Hz, resampled beforehand to {feed.rate} Hz")
    return feed


def _sink(ends: Ends, sink: Path | Virtual, rate: int, channels: int, say, undo: ExitStack):
    if isinstance(sink, Virtual):
        taker = VirtualMic(sink.name, rate, channels, say)
    else:
        from rtsep.live.feeds import FileSink

        taker = FileSink(sink, rate, channels, ends.overwrite)
    undo.callback(taker.close)
    return taker


def _limited(ends: Ends, options: Options, rate: int) -> Options:
    if ends.duration is None:
        return options
    return replace(options, limit=max(1, round(ends.duration * rate)))


def _channels_of(ends: Ends, source) -> int:
    """Of a file; silence has as many as are asked for."""
    if source == NONE:
        return max(ends.channels) + 1 if ends.channels else 1
    from rtsep.audio.files import Reader

    with Reader(source) as reader:
        return reader.channels


def _rate_of(source, loudspeaker) -> int | None:
    """A file's own rate, where the device takes that."""
    from rtsep.live.devices import OUTPUT, opens

    if source == NONE:
        return None
    from rtsep.audio.files import Reader

    with Reader(source) as reader:
        fits = opens(loudspeaker, OUTPUT, reader.rate, 1) is None
        return reader.rate if fits else None
