"""A virtual microphone on PulseAudio, or on PipeWire, which speaks its protocol.

What a run plays goes into a sink that nobody hears; what that sink plays is a source which other
programs can choose. Both are made and removed by the server's own tool, `pactl`, and `pacat` brings
the sound there. They carry the number of the process that made them: what a crash left behind is
removed at the next start.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rtsep.errors import Failure, WrongCall
from rtsep.live import child

DEFAULT_NAME = "rtsep"
_MARK = "rtsep.process"
_BUFFER = 0.03  # s that the server is asked to hold
_HELD = 0.06  # s of sound on its way there, at the most
_PATIENCE = 10.0  # s
_AT_ONCE = 4096  # bytes that a pipe takes whole or not at all
_TOOLS = ("pactl", "pacat")


@dataclass(frozen=True)
class Virtual:
    """In the place of an output device: a virtual microphone of this name."""

    name: str


def check_name(name: str) -> str:
    """`name`, or `WrongCall` where no server would take it."""
    if not re.fullmatch(r"\w[\w .-]{0,59}", name):
        raise WrongCall(
            f"--virtual-mic {name!r}: up to 60 letters, digits, spaces, dots and dashes"
        )
    return name


class VirtualMic:
    """A sink (see `feeds.py`): what is written is heard by whoever chose the microphone.

    Making it removes what crashed runs have left. What the server does not take in time is let go
    and counted in `lost`, so that the sound never falls behind; `say` is told at the end. Raises
    `Failure` where there is no server, or where a run that is alive has a microphone of this name.
    """

    def __init__(
        self,
        name: str,
        rate: int,
        channels: int,
        say: Callable[[str], None] = lambda text: None,
    ):
        missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
        if missing:
            raise Failure(
                f"--virtual-mic: {', '.join(missing)} is missing: install pulseaudio-utils "
                "(PipeWire is asked through it too)"
            )
        self.name, self.lost, self._say = check_name(name), 0, say
        self._node = re.sub(r"[^A-Za-z0-9_.-]", "_", name)
        self._modules: list[str] = []
        self._player: subprocess.Popen | None = None
        self._frame = 4 * channels
        self._most = round(_HELD * rate) * self._frame
        remove_orphans()
        for module in modules():
            if module.node == self._node:
                raise Failure(
                    f"--virtual-mic {name}: process {module.process} has a microphone of this name"
                )
        try:
            self._load(rate, channels)
            self._play(rate, channels)
        except BaseException:
            self.close()
            raise

    def write(self, frames: np.ndarray) -> None:
        """Raises `Failure` where the server is gone."""
        sound = np.ascontiguousarray(frames, np.float32).tobytes()
        pipe = self._player.stdin.fileno()
        step = _AT_ONCE // self._frame * self._frame
        for start in range(0, len(sound), step):
            part = sound[start : start + step]
            try:
                if _waiting(pipe) > self._most:
                    raise BlockingIOError
                os.write(pipe, part)
            except BlockingIOError:
                self.lost += len(part) // self._frame
            except OSError:
                raise Failure(
                    f"the virtual microphone {self.name!r} is gone: did its sound server end?"
                ) from None

    def finish(self) -> None:
        self.close()

    def close(self) -> None:
        """Removes it."""
        player, self._player = self._player, None
        if player is not None:
            child.hang_up(player)
        for module in reversed(self._modules):
            _pactl("unload-module", module, must=False)
        self._modules = []
        if self.lost:
            self._say(f"the sound server was late: {self.name!r} lost {self.lost} samples")
            self.lost = 0

    def _load(self, rate: int, channels: int) -> None:
        sink = f"{self._node}.sink"
        form = [f"rate={rate}", f"channels={channels}"]
        hidden = f"device.description='{self.name} (what it plays)' {_MARK}={os.getpid()}"
        shown = f"device.description='{self.name}' {_MARK}={os.getpid()}"
        for arguments in (
            ["module-null-sink", f"sink_name={sink}", *form, f'sink_properties="{hidden}"'],
            [
                "module-remap-source",
                f"source_name={self._node}",
                f"master={sink}.monitor",
                *form,
                f'source_properties="{shown}"',
            ],
        ):
            self._modules.append(_pactl("load-module", *arguments).strip())

    def _play(self, rate: int, channels: int) -> None:
        call = ["pacat", "--playback", f"--device={self._node}.sink", "--raw"]
        call += ["--format=float32le", f"--rate={rate}", f"--channels={channels}"]
        call += [f"--latency-msec={round(1000 * _BUFFER)}", "--client-name=rtsep"]
        self._player = subprocess.Popen(
            [*call, f"--stream-name={self.name}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for the run alone
        )
        pipe = self._player.stdin.fileno()
        os.set_blocking(pipe, False)
        # It has to be under way when the run begins.
        os.write(pipe, bytes(self._most // 2))
        until = time.monotonic() + _PATIENCE
        while _waiting(pipe):
            if self._player.poll() is not None or time.monotonic() > until:
                raise Failure("--virtual-mic: the sound server takes no sound")
            time.sleep(0.01)


@dataclass(frozen=True)
class Module:
    """A part of a virtual microphone, as the server lists it: `node` names the microphone."""

    index: str
    node: str
    process: int


def modules() -> list[Module]:
    """All parts of virtual microphones that runs of rtsep have made."""
    found = []
    for line in _pactl("list", "short", "modules").splitlines():
        index, _, rest = line.partition("\t")
        mark = re.search(rf"{re.escape(_MARK)}=(\d+)", rest)
        node = re.search(r"(?:sink|source)_name=(\S+)", rest)
        if mark and node:
            found.append(Module(index, node[1].removesuffix(".sink"), int(mark[1])))
    return found


def remove_orphans() -> None:
    """Removes those whose process is gone."""
    for module in reversed(modules()):
        if not _alive(module.process):
            _pactl("unload-module", module.index, must=False)


def _alive(process: int) -> bool:
    """Whether this is a process of rtsep's still; numbers are used again."""
    try:
        return b"python" in Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False


def _pactl(*arguments: str, must: bool = True) -> str:
    try:
        done = subprocess.run(["pactl", *arguments], capture_output=True, text=True, timeout=10)
    except subprocess.TimeoutExpired:
        if not must:
            return ""  # it goes with the server
        raise Failure("--virtual-mic: the sound server does not answer") from None
    if done.returncode and must:
        why = " ".join(done.stderr.split()) or f"code {done.returncode}"
        raise Failure(
            f"--virtual-mic: `pactl {arguments[0]}` says: {why}; it takes a running PulseAudio, or "
            "PipeWire with pipewire-pulse"
        )
    return done.stdout


def _waiting(pipe: int) -> int:
    """Bytes that are in it."""
    import fcntl
    import termios

    count = array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, count)
    return count[0]
