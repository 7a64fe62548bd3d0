"""Sound devices: which there are, and which one is meant.

PortAudio, through python-sounddevice, is imported when it is needed and not before: without it, or
without any device, everything that works on files works all the same.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from rtsep.errors import Failure, WrongCall

RATES = (8000, 16000, 22050, 32000, 44100, 48000, 88200, 96000, 176400, 192000)
INPUT, OUTPUT = "input", "output"
# What a system plays through by itself, where PortAudio's own choice has a long latency.
_PREFERRED = {"win32": "Windows WASAPI"}
_CLIENT = ctypes.create_string_buffer(64)  # PortAudio keeps no copy
_INVALID_RATE, _INVALID_CHANNELS, _UNAVAILABLE = -9997, -9998, -9985


class NoDevices(Failure):
    """Nothing to hear or be heard with: PortAudio is missing, or it finds no device."""


@dataclass(frozen=True)
class Device:
    """As PortAudio lists it. `latency`: what it promises at low latency, (in, out) in seconds."""

    index: int
    name: str
    host_api: str
    inputs: int
    outputs: int
    rate: int
    latency: tuple[float, float]
    default_input: bool = False
    default_output: bool = False

    def __str__(self) -> str:
        return f"{self.index} {self.name!r} ({self.host_api})"

    def channels(self, kind: str) -> int:
        return self.inputs if kind == INPUT else self.outputs

    def default(self, kind: str) -> bool:
        return self.default_input if kind == INPUT else self.default_output


def library():
    """The module `sounddevice`. Raises `NoDevices` where PortAudio is missing."""
    try:
        import sounddevice
    except OSError:
        raise NoDevices(
            "PortAudio is missing: install libportaudio2 (Debian, Ubuntu) or portaudio "
            "(Fedora, Arch, Homebrew)"
        ) from None
    return sounddevice


def name_client(name: str) -> None:
    """What JACK calls the client of this process from now on, where there is a JACK."""
    try:
        sounddevice = library()
        rename = ctypes.CDLL(sounddevice._libname).PaJack_SetClientName
    except (NoDevices, AttributeError, OSError):
        return  # a PortAudio without JACK
    _CLIENT.value = name.encode()[: len(_CLIENT) - 1]
    with quiet():
        # It is asked for its name when it starts.
        sounddevice._terminate()
        rename(_CLIENT)
        sounddevice._initialize()


def installed() -> bool:
    """Whether PortAudio is there."""
    try:
        library()
    except NoDevices:
        return False
    return True


def devices(host_api: str | None = None) -> list[Device]:
    """All devices, or those of the host API with this in its name; the defaults are marked.

    Raises `NoDevices`, or `WrongCall` where no host API has that name.
    """
    sounddevice = library()
    apis = sounddevice.query_hostapis()
    found = [_device(d, apis) for d in sounddevice.query_devices()]
    if not found:
        raise NoDevices("there is no sound device")
    chosen = _host_api(host_api, found)
    if chosen is None:
        preferred = _PREFERRED.get(sys.platform)
        chosen = preferred if any(d.host_api == preferred for d in found) else None
        defaults = _defaults(sounddevice, apis, chosen)
    else:
        found = [d for d in found if d.host_api == chosen]
        defaults = _defaults(sounddevice, apis, chosen)
    return [
        replace(d, default_input=d.index == defaults[0], default_output=d.index == defaults[1])
        for d in found
    ]


def choose(text: str, kind: str, among: Sequence[Device], beside: Device | None = None) -> Device:
    """The device that `text` means: an index, a name, or a part of one that only it has.

    Where several match and one of them shares the host API of the device `beside`, it is that one.
    Raises `WrongCall` that lists what matches, or what there is.
    """
    option = f"--{kind} {text}"
    if text.isdecimal():
        matches = [d for d in among if d.index == int(text)]
    else:
        named = text.casefold()
        matches = [d for d in among if named == d.name.casefold()]
        matches = matches or [d for d in among if named in d.name.casefold()]
    able = [d for d in matches if d.channels(kind)]
    if not able:
        if matches:
            raise WrongCall(f"{option}: device {matches[0]} has no {kind}s")
        raise WrongCall(f"{option}: no such device or file; there is {_list(among, kind)}")
    if len(able) > 1:
        preferred = beside.host_api if beside else _PREFERRED.get(sys.platform)
        able = [d for d in able if d.host_api == preferred] or able
    if len(able) > 1:
        raise WrongCall(
            f"{option}: that is {_list(able, kind)}: give more of the name, the index or --host-api"
        )
    return able[0]


def default(kind: str, among: Sequence[Device], beside: Device | None = None) -> Device | None:
    """The system's default, or of the host API of the device `beside`; None: there is none."""
    able = [d for d in among if d.channels(kind)]
    if beside is not None:
        able = [d for d in able if d.host_api == beside.host_api]
        if beside in able and not any(d.default(kind) for d in able):
            return beside
    return next((d for d in able if d.default(kind)), able[0] if able and beside else None)


def opens(device: Device, kind: str, rate: int, channels: int, settings=None) -> str | None:
    """None if the device opens like this, else why it doesn't, in a few words."""
    sounddevice = library()
    check = sounddevice.check_input_settings if kind == INPUT else sounddevice.check_output_settings
    try:
        with quiet():
            check(
                device=device.index,
                channels=channels,
                dtype="float32",
                samplerate=rate,
                extra_settings=settings,
            )
    except sounddevice.PortAudioError as error:
        return reason(error)
    return None


def rates(device: Device, kind: str, channels: int = 1) -> list[int]:
    """The usual rates at which the device really opens."""
    return [rate for rate in RATES if opens(device, kind, rate, channels) is None]


def describe(device: Device) -> dict:
    """Its names, channels, latencies in ms, and the rates at which it really opens, as JSON."""
    ends = {
        kind: {
            "channels": device.channels(kind),
            "latency_ms": round(1000 * latency, 2) if device.channels(kind) else None,
            "default": device.default(kind),
            "rates": rates(device, kind) if device.channels(kind) else [],
        }
        for kind, latency in zip((INPUT, OUTPUT), device.latency, strict=True)
    }
    names = {"index": device.index, "name": device.name, "host_api": device.host_api}
    return names | {"rate": device.rate} | ends


def reason(error: Exception) -> str:
    """PortAudio's error in a few words."""
    text, code = str(error.args[0]), error.args[1] if len(error.args) > 1 else None
    if code == _UNAVAILABLE:
        return "it is busy: another program holds it"
    if code in (_INVALID_RATE, _INVALID_CHANNELS):
        return text.rpartition(": ")[2].lower()
    detail = error.args[2][2] if len(error.args) > 2 and error.args[2] else ""
    return f"{text} ({detail})" if detail else text


def abandon() -> None:
    """PortAudio is not shut down when the process ends: with its server gone, that would abort."""
    atexit.unregister(library()._exit_handler)


@contextmanager
def quiet() -> Iterator[None]:
    """Host APIs' libraries print to standard error, past us: not meanwhile."""
    try:
        kept = os.dup(2)
    except OSError:
        yield
        return
    sink = os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    os.close(sink)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _device(entry: dict, apis) -> Device:
    return Device(
        index=entry["index"],
        name=" ".join(entry["name"].split()),
        host_api=apis[entry["hostapi"]]["name"],
        inputs=entry["max_input_channels"],
        outputs=entry["max_output_channels"],
        rate=round(entry["default_samplerate"]),
        latency=(entry["default_low_input_latency"], entry["default_low_output_latency"]),
    )


def _host_api(text: str | None, found: Sequence[Device]) -> str | None:
    if text is None:
        return None
    names = list(dict.fromkeys(d.host_api for d in found))
    matches = [n for n in names if n.casefold() == text.casefold()]
    matches = matches or [n for n in names if text.casefold() in n.casefold()]
    if len(matches) != 1:
        raise WrongCall(f"--host-api {text}: one of {', '.join(matches or names)}")
    return matches[0]


def _defaults(sounddevice, apis, chosen: str | None) -> tuple[int, int]:
    """Indices of the default devices, −1 where there is none."""
    if chosen is not None:
        api = next(api for api in apis if api["name"] == chosen)
        return api["default_input_device"], api["default_output_device"]
    indices = []
    for kind in (INPUT, OUTPUT):
        try:
            indices.append(sounddevice.query_devices(kind=kind)["index"])
        except (sounddevice.PortAudioError, ValueError):
            indices.append(-1)
    return tuple(indices)


def _list(among: Sequence[Device], kind: str) -> str:
    able = [str(d) for d in among if d.channels(kind)]
    return ", ".join(able) or f"no {kind} device"
