"""PortAudio, its host APIs and their devices."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from rtsep.doctor.finding import ADVICE, GOOD, Finding
from rtsep.live import devices

_NONE = {
    "linux": "plug one in, or start the JACK server first (PipeWire: `pw-jack rtsep …`)",
    "darwin": "plug one in; System Settings, Sound lists what there is",
    "win32": "plug one in; Settings, System, Sound lists what there is",
}


def findings(nodes: Path = Path("/dev/snd")) -> list[Finding]:
    """`nodes`: where Linux keeps its devices."""
    try:
        sounddevice = devices.library()
    except devices.NoDevices as none:
        missing, _, install = str(none).partition(": ")
        return [
            Finding(
                "portaudio", ADVICE, f"{missing}: runs play files, on a simulated clock", install
            )
        ]
    with devices.quiet():
        apis = [api["name"] for api in sounddevice.query_hostapis()]
    version = sounddevice.get_portaudio_version()[1].split(",")[0].removeprefix("PortAudio ")
    text = f"{version}; host APIs: {', '.join(apis) or 'none'}"
    facts = {"version": version, "host_apis": apis}
    found = [Finding("portaudio", GOOD, text, None, facts), *_refused(nodes)]
    try:
        among = devices.devices()
    except devices.NoDevices as none:
        advice = _NONE.get(sys.platform, "plug one in")
        return [*found, Finding("devices", ADVICE, f"{none}: runs play files", advice)]
    return [*found, *(_device(devices.describe(device)) for device in among)]


def _device(row: dict) -> Finding:
    """What `rtsep devices` knows of it, in one line."""
    ends, closed = [], []
    for kind in (devices.INPUT, devices.OUTPUT):
        end = row[kind]
        if not end["channels"]:
            continue
        rates = ", ".join(map(str, end["rates"]))
        ends.append(
            f"{end['channels']} {kind}s{'*' if end['default'] else ''}, {end['latency_ms']:.2f} ms"
            + (f", at {rates} Hz" if rates else "")
        )
        if not end["rates"]:
            closed.append(kind)
    text = f"{row['index']} {row['name']!r} ({row['host_api']}): {'; '.join(ends)}"
    if not closed:
        return Finding("device", GOOD, text, None, {"device": row})
    advice = "end the program that holds it, if it is to be used"
    text += f"; its {' and '.join(closed)} opens at no rate"
    return Finding("device", ADVICE, text, advice, {"device": row})


def _refused(nodes: Path) -> list[Finding]:
    """Devices of the system that this user may not open."""
    pcm = list(nodes.glob("pcm*")) if sys.platform == "linux" else []
    if not pcm or any(os.access(node, os.R_OK | os.W_OK) for node in pcm):
        return []
    advice = "`sudo usermod -aG audio $USER`, then log in again"
    return [Finding("devices", ADVICE, f"no right to open what lies in {nodes}", advice)]
