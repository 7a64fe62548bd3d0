"""MIDI: the library, and the ports that it sees."""

from __future__ import annotations

from rtsep.doctor.finding import ADVICE, GOOD, Finding
from rtsep.live.devices import quiet


def findings() -> list[Finding]:
    try:
        import rtmidi
    except ImportError:
        advice = "pip install 'rtsep[live]', for a controller's faders"
        return [Finding("midi", ADVICE, "python-rtmidi is not installed", advice)]
    ports, silent = {}, []
    for api in rtmidi.get_compiled_api():
        name = rtmidi.get_api_display_name(api)
        try:
            with quiet():
                ports[name] = rtmidi.MidiIn(api).get_ports()
        except rtmidi.RtMidiError:
            silent.append(name)
    listed = [port for found in ports.values() for port in found]
    facts = {"ports": ports, "without_server": silent}
    if not ports:
        advice = "load the sequencer (`sudo modprobe snd-seq`) or start a JACK server"
        return [Finding("midi", ADVICE, f"{', '.join(silent)}: not there", advice, facts)]
    if not listed:
        text = f"{', '.join(ports)}: no port"
        return [Finding("midi", ADVICE, text, "plug a controller in, if there is one", facts)]
    return [Finding("midi", GOOD, f"ports: {', '.join(listed)}", None, facts)]
