"""MIDI: the library, and the ports that it sees."""

from __future__ import annotations

from rtsep.doctor.finding import ADVICE, GOOD, Finding
from rtsep.errors import Failure
from rtsep.live.midi import ports


def findings() -> list[Finding]:
    try:
        found = ports.ports()
    except Failure as missing:
        text, _, install = str(missing).partition(": ")
        return [Finding("midi", ADVICE, text, install)]
    names = [str(port) for port in found]
    if names:
        return [Finding("midi", GOOD, f"ports: {', '.join(names)}", None, {"ports": names})]
    advice = (
        "plug a controller in; on Linux ports take ALSA's sequencer (`sudo modprobe snd-seq`) or a "
        "JACK server"
    )
    return [Finding("midi", ADVICE, "no port", advice, {"ports": []})]
