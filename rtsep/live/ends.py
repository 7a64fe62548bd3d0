"""Where a run's sound comes from and where it goes: what is named, and what is meant by it."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rtsep.errors import WrongCall

DEMO, NONE = "demo", "none"
# A name that ends like this means a file, be it there or not.
_SOUNDS = {".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".aifc", ".caf"}
_SOUNDS |= {".au", ".w64", ".rf64", ".m4a", ".txt"}


@dataclass(frozen=True)
class Ends:
    """As a user names them.

    `input`: a device (a name, a part of it, an index), a file, "demo" or "none" (silence).
    `output`: a device, a WAV file, or "none". Left out (None), they are the system's default
    devices, or where there are none the demo, and nothing. `rate` in Hz (None: the input's own),
    `duration` in seconds of input (None: all of it). `channels` (from 0): those of the input that
    are separated, None for up to two. `exclusive`: the devices are for this run alone. `clocks`:
    "one" for both devices, "two", or "auto". `virtual_mic`: in place of an output, a microphone of
    this name for other programs.
    """

    input: str | Path | None = None
    output: str | Path | None = None
    rate: int | None = None
    duration: float | None = None
    overwrite: bool = False
    host_api: str | None = None
    channels: tuple[int, ...] | None = None
    exclusive: bool = False
    clocks: str = "auto"
    virtual_mic: str | None = None

    def check(self) -> None:
        """Raises `WrongCall` for what can't be, before anything is opened."""
        if self.rate is not None and not 4000 <= self.rate <= 384_000:
            raise WrongCall(f"--rate {self.rate}: between 4000 and 384000 Hz")
        if self.duration is not None and not 0 < self.duration < math.inf:
            raise WrongCall(f"--duration {self.duration:g}: more than 0 seconds")
        if self.clocks not in ("auto", "one", "two"):
            raise WrongCall(f"--clocks {self.clocks}: auto, one or two")
        file = self.output is not None and is_file(self.output)
        if file and Path(self.output).suffix.lower() != ".wav":
            raise WrongCall(f"--output {self.output}: a file that ends in .wav, a device, or none")


def is_file(name: str | Path) -> bool:
    """Whether a name means a file and no device."""
    if isinstance(name, Path):
        return True
    if name in (DEMO, NONE):
        return False
    path = Path(name)
    if path.suffix.lower() in _SOUNDS or path.is_file():
        return True
    # "S/PDIF" is no path, as long as there is no folder "S".
    return path.name != name and path.parent.is_dir()


def meant(ends: Ends, devices: bool, say: Callable[[str], None]) -> tuple:
    """(input, output): each a `Device`, a `Path`, or "none"; of the input, "demo" is a path, the
    output may be a `Virtual` microphone.

    `devices`: those that were left out may be the default devices. Tells in one line where there
    is none. Raises `WrongCall` for what is no device, `NoDevices` where one is named and there
    can't be one.
    """
    if ends.virtual_mic is not None:
        return _with_microphone(ends, devices, say)
    if ends.input == DEMO or (ends.input is None and not devices):
        if ends.input is None:
            say("no input named: playing the demo")
        source = _demo()
    elif ends.input is not None and (ends.input == NONE or is_file(ends.input)):
        source = NONE if ends.input == NONE else Path(ends.input)
    else:
        source = None
    if ends.output is None and not devices:
        sink = NONE
    elif ends.output is not None and (ends.output == NONE or is_file(ends.output)):
        sink = NONE if ends.output == NONE else Path(ends.output)
    else:
        sink = None
    if source is not None and sink is not None:
        needs = {
            "--host-api": ends.host_api is not None,
            "--exclusive": ends.exclusive,
            "--clocks": ends.clocks != "auto",
        }
        if any(needs.values()):
            option = next(name for name, asked in needs.items() if asked)
            raise WrongCall(f"{option}: neither input nor output is a device")
        return source, sink
    return _with_devices(ends, source, sink, say)


def _with_microphone(ends: Ends, devices: bool, say: Callable[[str], None]) -> tuple:
    from rtsep.live.devices import Device, name_client
    from rtsep.live.virtual_mic import Virtual, check_name

    name = check_name(ends.virtual_mic)
    if not devices:
        raise WrongCall("--virtual-mic: other programs hear in real time: with --clock paced")
    bare = replace(ends, virtual_mic=None)
    if sys.platform != "linux":
        from rtsep.live.devices import devices as all_of
        from rtsep.live.loopback import driver

        device, microphone = driver(all_of(ends.host_api))
        say(f"other programs find this run as the microphone {microphone!r}")
        return meant(replace(bare, output=str(device.index)), devices, say)
    name_client(name)
    source, _ = meant(replace(bare, output=NONE), devices, say)
    if isinstance(source, Device) and "JACK" in source.host_api:
        say(f"other programs find this run at the JACK ports {name}:out_0, {name}:out_1 …")
        return meant(bare, devices, say)
    if ends.output is not None:
        raise WrongCall(f"--output {ends.output}: --virtual-mic takes its place")
    say(f"other programs find this run as the microphone {name!r}")
    return source, Virtual(name)


def _with_devices(ends: Ends, source, sink, say: Callable[[str], None]) -> tuple:
    from rtsep.live.devices import INPUT, OUTPUT, NoDevices, choose, default, devices

    named = [f"--host-api {ends.host_api}"] if ends.host_api is not None else []
    if source is None and ends.input is not None:
        named.append(f"--input {ends.input}")
    if sink is None and ends.output is not None:
        named.append(f"--output {ends.output}")
    try:
        among: Sequence = devices(ends.host_api)
    except NoDevices as none:
        if named:
            raise NoDevices(f"{named[-1]}: {none}") from None
        say(f"{none}: {_instead(source)}")
        return source or _demo(), sink or NONE
    if source is None and ends.input is not None:
        source = choose(str(ends.input), INPUT, among)
        if sink is None and ends.output is not None:
            sink = choose(str(ends.output), OUTPUT, among, beside=source)
    elif sink is None and ends.output is not None:
        sink = choose(str(ends.output), OUTPUT, among)
    if source is None:
        beside = sink if sink not in (None, NONE) and not isinstance(sink, Path) else None
        source = default(INPUT, among, beside)
        if source is None:
            say("no input device: playing the demo")
            source = _demo()
    if sink is None:
        beside = None if source == NONE or isinstance(source, Path) else source
        sink = default(OUTPUT, among, beside)
        if sink is None:
            say("no output device: nothing is heard")
            sink = NONE
    return source, sink


def _instead(source) -> str:
    if source is None:
        return "playing the demo, on a simulated clock"
    return "nothing is heard, on a simulated clock"


def _demo() -> Path:
    from rtsep import demo

    return demo.path()
