"""Loopback drivers of macOS and Windows, which are virtual microphones: found by name.

What is played to the one end of such a driver, other programs record from its other end.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rtsep.errors import Failure
from rtsep.live.devices import Device

# What the end to play to is called, and what other programs choose.
_DRIVERS = {
    "darwin": (
        ("blackhole", "{}"),
        ("loopback audio", "{}"),
        ("soundflower", "{}"),
    ),
    "win32": (
        ("cable input", "CABLE Output"),
        ("voicemeeter input", "Voicemeeter Output"),
        ("voicemeeter aux input", "Voicemeeter Aux Output"),
        ("line 1 (virtual audio cable)", "Line 1 (Virtual Audio Cable)"),
    ),
}
_STEPS = {
    "darwin": "install a loopback driver (`brew install blackhole-2ch`), start rtsep again with "
    "--virtual-mic, and choose BlackHole as the microphone of the other program",
    "win32": "install a loopback driver (VB-Cable, https://vb-audio.com/Cable), start rtsep again "
    "with --virtual-mic, and choose CABLE Output as the microphone of the other program",
}


def driver(among: Sequence[Device], platform: str = sys.platform) -> tuple[Device, str]:
    """The device to play to, and the name of the microphone that other programs then have.

    Raises `Failure` with the steps to take where there is none.
    """
    usual = next((device.host_api for device in among if device.default_output), None)
    able = [device for device in among if device.outputs]
    # A driver is there once for every host API: first of the one that other devices are taken from.
    able.sort(key=lambda device: device.host_api != usual)
    for known, microphone in _DRIVERS.get(platform, ()):
        for device in able:
            if known in device.name.casefold():
                return device, microphone.format(device.name)
    steps = _STEPS.get(platform, "there is none known for this system")
    raise Failure(f"--virtual-mic: {steps}")
