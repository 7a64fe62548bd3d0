"""Streams on one or two devices: what they are to be, and PortAudio's stream for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from rtsep.errors import Failure, WrongCall
from rtsep.live.devices import INPUT, OUTPUT, Device, library, opens, quiet, rates, reason
from rtsep.live.door import Door, door
from rtsep.live.door import bound as bound_door

# Whose devices all have one clock.
_ONE_CLOCK = ("JACK Audio Connection Kit", "ASIO")
_EXCLUSIVE = ("Windows WASAPI", "Core Audio")


@dataclass(frozen=True)
class Plan:
    """`inputs` and `outputs`: channels that are opened, where there is a device for them.

    `block`: samples per call; 0 leaves it to the host, which is what costs no buffering.
    `capture_rate`: of an input that has a clock of its own, and a stream of its own; None: there is
    one stream for both, or one end only.
    """

    input: Device | None
    output: Device | None
    inputs: int
    outputs: int
    rate: int
    block: int = 0
    exclusive: bool = False
    capture_rate: int | None = None

    def __str__(self) -> str:
        if self.capture_rate is not None:
            return (
                f"{self.input} at {self.capture_rate} Hz, by a clock of its own, to {self.output}"
            )
        if self.input == self.output:
            return f"{self.input}"
        ends = [str(d) for d in (self.input, self.output) if d is not None]
        return " to ".join(ends)

    def streams(self) -> tuple[Plan, ...]:
        """One stream each; the one whose clock is the run's comes last."""
        if self.capture_rate is None:
            return (self,)
        capture = replace(self, output=None, outputs=0, rate=self.capture_rate, block=0)
        own = replace(self, input=None, inputs=0)
        return tuple(replace(part, capture_rate=None) for part in (capture, own))

    @property
    def host_api(self) -> str:
        return (self.input or self.output).host_api


def plan(
    input: Device | None,
    output: Device | None,
    inputs: int,
    outputs: int,
    rate: int | None,
    block: int = 0,
    exclusive: bool = False,
    clocks: str = "auto",
) -> Plan:
    """Streams that open, on at least one device. Raises `WrongCall` or `Failure` with what was
    tried, and the option that mends it. `rate` None: the best that all its devices take.

    `clocks`: "one" stream for both ends, "two" streams, or "auto": one where both are the same
    device, or of a host API with one clock, and have a rate in common.
    """
    ends = [(d, k, n) for d, k, n in ((input, INPUT, inputs), (output, OUTPUT, outputs)) if d]
    _check_clocks(clocks, input, output)
    for device, kind, channels in ends:
        if channels > device.channels(kind):
            option = "--channels" if kind == INPUT else "--route"
            raise WrongCall(
                f"{option}: channel {channels} of device {device}, which has "
                f"{device.channels(kind)} {kind}s"
            )
    common = {"block": block, "exclusive": exclusive}
    if len(ends) == 2 and (clocks == "two" or clocks == "auto" and not _share(input, output)):
        own = _rate(ends[1:], rate, exclusive)
        # At the output's rate where the input takes that: then little is resampled.
        same = opens(input, INPUT, own, inputs, _settings(input, exclusive)) is None
        capture = own if same else _rate(ends[:1], None, exclusive)
        return Plan(input, output, inputs, outputs, own, capture_rate=capture, **common)
    try:
        return Plan(input, output, inputs, outputs, _rate(ends, rate, exclusive), **common)
    except WrongCall:
        if len(ends) < 2 or clocks == "one" or input == output:
            raise
        return plan(input, output, inputs, outputs, rate, **common, clocks="two")


def _check_clocks(clocks: str, input: Device | None, output: Device | None) -> None:
    if clocks == "two" and not (input and output):
        raise WrongCall("--clocks two: input and output have to be devices")
    if clocks == "one" and input and output and input.host_api != output.host_api:
        raise WrongCall(
            f"--clocks one: --input {input} and --output {output} are of two host APIs, which have "
            "two clocks"
        )


def _share(input: Device, output: Device) -> bool:
    """Whether both have one clock, as far as one can know."""
    return input == output or input.host_api == output.host_api in _ONE_CLOCK


def _settings(device: Device, exclusive: bool):
    return _exclusive(device.host_api) if exclusive else None


def _rate(ends, rate: int | None, exclusive: bool) -> int:
    """`rate`, or the best one, at which all these ends open. Raises what says why not."""
    refusals: list[str] = []
    for candidate in [rate] if rate else _candidates(ends):
        refusals = [
            f"{kind} {device} at {candidate} Hz with {channels} channels: {why}"
            for device, kind, channels in ends
            if (why := opens(device, kind, candidate, channels, _settings(device, exclusive)))
        ]
        if not refusals:
            return candidate
    raise _refused(ends, rate, refusals)


def open_stream(plan: Plan, memory: Door, ended: Callable[[], None]):
    """(PortAudio's stream, calling the door; whether it does so without Python in between).

    It is not started. `ended` is called when it has come to its end. Raises `Failure`.
    """
    sounddevice = library()
    both = plan.input is not None and plan.output is not None
    settings = _exclusive(plan.host_api) if plan.exclusive else None
    one = INPUT if plan.input is not None else OUTPUT
    options = {
        "samplerate": plan.rate,
        "blocksize": plan.block,
        "device": _ends(plan.input and plan.input.index, plan.output and plan.output.index, both),
        "channels": _ends(plan.input and plan.inputs, plan.output and plan.outputs, both),
        "dtype": "float32",
        "latency": "low",
        "extra_settings": (settings, settings) if both else settings,
        # Sound passes as it is; what goes beyond full scale is the run's to limit.
        "clip_off": True,
        "dither_off": True,
        "finished_callback": ended,
    }
    try:
        with quiet():
            return _open(sounddevice, "duplex" if both else one, options, memory)
    except (sounddevice.PortAudioError, ValueError) as error:
        why = reason(error)
        raise Failure(
            f"{plan} at {plan.rate} Hz, {plan.inputs} in and {plan.outputs} out, blocks of "
            f"{plan.block or 'any size'}: {why}; try --rate, --block or another device"
        ) from None


def _open(sounddevice, kind: str, options: dict, memory: Door):
    """Through the class that takes C callbacks; where that is not to be had, through Python."""
    base, ffi = getattr(sounddevice, "_StreamBase", None), getattr(sounddevice, "_ffi", None)
    try:
        stream = base(
            kind,
            callback=ffi.cast("PaStreamCallback *", door.address),
            userdata=ffi.cast("void *", memory.address),
            wrap_callback=None,
            **options,
        )
        return stream, True
    except (TypeError, AttributeError):
        # Another version of sounddevice, which does not have them like this.
        return _through_python(sounddevice, kind, options, memory), False


def _through_python(sounddevice, kind: str, options: dict, memory: Door):
    call = bound_door()
    lost = ("input_underflow", "input_overflow", "output_underflow", "output_overflow")

    def pass_on(source, out, frames, status) -> None:
        flags = sum(1 << bit for bit, name in enumerate(lost) if getattr(status, name))
        if call(_address(source), _address(out), frames, None, flags, memory.address):
            raise sounddevice.CallbackStop

    if kind == "duplex":
        stream, callback = sounddevice.RawStream, lambda i, o, n, _, s: pass_on(i, o, n, s)
    elif kind == INPUT:
        stream, callback = sounddevice.RawInputStream, lambda i, n, _, s: pass_on(i, None, n, s)
    else:
        stream, callback = sounddevice.RawOutputStream, lambda o, n, _, s: pass_on(None, o, n, s)
    return stream(callback=callback, **options)


def _address(buffer) -> int | None:
    """Of a buffer that PortAudio owns."""
    return None if buffer is None else np.frombuffer(buffer, np.uint8).ctypes.data


def _ends(of_input, of_output, both: bool):
    return (of_input, of_output) if both else (of_output if of_input is None else of_input)


def _candidates(ends) -> list[int]:
    own = [device.rate for device, _, _ in ends]
    return list(dict.fromkeys([*own, 48000, 44100, 96000, 32000, 16000]))


def _exclusive(host_api: str):
    """What asks this host API for the device alone. Raises `WrongCall` where it can't be asked."""
    sounddevice = library()
    if host_api == "Windows WASAPI":
        return sounddevice.WasapiSettings(exclusive=True)
    if host_api == "Core Audio":
        return sounddevice.CoreAudioSettings(
            change_device_parameters=True, fail_if_conversion_required=True
        )
    raise WrongCall(
        f"--exclusive: {' and '.join(_EXCLUSIVE)} can give a device to one program, "
        f"{host_api} is not asked for it"
    )


def _refused(ends, rate: int | None, refusals: list[str]) -> Failure:
    """Why no stream opens, after looking at what would."""
    if any("busy" in text for text in refusals):
        return Failure(f"{refusals[0]}; end that program or choose another with --input, --output")
    able = [set(rates(device, kind, channels)) for device, kind, channels in ends]
    common = sorted(set.intersection(*able))
    if common:
        listed = ", ".join(map(str, common))
        return WrongCall(f"--rate {rate}: {refusals[0]}; what opens is {listed} Hz")
    if all(able) and len(able) > 1:
        each = "; ".join(
            f"{device} opens at {', '.join(map(str, sorted(have)))}"
            for (device, _, _), have in zip(ends, able, strict=True)
        )
        return WrongCall(f"no rate in common: {each}: leave out --clocks one")
    return Failure(f"{refusals[0]}; choose another device (`rtsep devices` lists them)")
