"""Whether what is played is likely to come back in through the microphone, and howl.

All that there is to go by are the devices' names: the words that systems and drivers use.
"""

from __future__ import annotations

# What a system calls its own choice, which on a laptop is the built-in pair.
_CHOSEN = ("default", "pulse", "pipewire", "primary sound", "sound mapper", "sysdefault")
# Built-in sound chips, whose name says neither.
_CHIPS = ("realtek", "hda intel", "hd-audio", "hd audio", "alc2", "alc8", "sof-", "built-in")
_MICROPHONES = (*_CHOSEN, *_CHIPS, "microphone", "mic", "webcam", "camera", "mikrofon", "micro")
_LOUDSPEAKERS = (*_CHOSEN, *_CHIPS, "speaker", "lautsprecher", "altavoc", "haut-parleur", "hdmi")
# Where no loudspeaker's sound gets in, or none comes out.
_APART = ("head", "earphone", "earbud", "airpod", "buds", "line", "loopback", "blackhole")
_APART += ("monitor of", "cable", "soundflower", "dummy", "virtual", "spdif", "s/pdif", "digital")
_WIRED = ("JACK",)  # host APIs whose connections are the user's own, on any machine


def howls(input: str, output: str, host_api: str = "") -> str | None:
    """A warning where input and output look like one machine's microphone and loudspeakers."""
    names = input.casefold(), output.casefold()
    if any(api in host_api for api in _WIRED) or any(_has(name, _APART) for name in names):
        return None
    if not (_has(names[0], _MICROPHONES) and _has(names[1], _LOUDSPEAKERS)):
        return None
    return (
        f"{input!r} and {output!r} look like one machine's microphone and loudspeakers: "
        "they may howl. Use headphones, or turn the volume down before you turn it up"
    )


def _has(name: str, words: tuple[str, ...]) -> bool:
    return any(word in name for word in words)
