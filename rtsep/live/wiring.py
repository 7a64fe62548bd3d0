"""Which channels of a device are separated, and what is played on which: read from a call."""

from __future__ import annotations

from dataclasses import dataclass

from rtsep.errors import WrongCall
from rtsep.live import layout
from rtsep.live.layout import IN_CHANNEL, MAX_CHANNELS, OUT_BUS, OUT_CHANNEL, Block

THE_MIX = "mix"


@dataclass(frozen=True)
class Wiring:
    """A run between `inputs` and `outputs` channels: those in `take` (from 0) are separated.

    `routes`: by stem, or "mix", the output channels (from 0) that play it; without any route, all
    outputs play the mix.
    """

    inputs: int
    take: tuple[int, ...]
    outputs: int
    routes: dict[str, tuple[int, ...]]

    def apply(self, block: Block, stems: tuple[str, ...]) -> None:
        """Puts it into a block that has these stems. Before the run."""
        h, width = block.i64, len(self.take)
        h[IN_CHANNEL : IN_CHANNEL + width] = self.take
        if not self.routes:
            return
        h[OUT_BUS : OUT_BUS + self.outputs] = layout.SILENT
        for name, channels in self.routes.items():
            bus = layout.MIX if name == THE_MIX else layout.STEM + stems.index(name)
            for k, channel in enumerate(channels):
                h[OUT_BUS + channel] = bus
                h[OUT_CHANNEL + channel] = k % width


def straight(channels: int) -> Wiring:
    """As many in as out, and all of it."""
    return Wiring(channels, tuple(range(channels)), channels, {})


def parse_channels(text: str, option: str = "--channels") -> tuple[int, ...]:
    """Channels, from 0, of a text such as 1, 1-2 or 1,3 (from 1). Raises `WrongCall`."""
    channels = []
    for part in text.split(","):
        first, dash, last = (piece.strip() for piece in part.partition("-"))
        if not first.isdecimal() or (dash and not last.isdecimal()):
            raise WrongCall(f"{option} {text}: channels are named as 1, 1-2 or 1,3")
        low, high = int(first), int(last) if dash else int(first)
        if not 1 <= low <= high <= MAX_CHANNELS:
            raise WrongCall(f"{option} {text}: channels count from 1 to {MAX_CHANNELS}")
        channels += range(low - 1, high)
    if len(set(channels)) < len(channels):
        raise WrongCall(f"{option} {text}: a channel is named twice")
    return tuple(channels)


def parse_routes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    """Routes such as voice=1-2. Raises `WrongCall`, also where two want the same channel."""
    routes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, channels = (part.strip() for part in text.partition("="))
        if not equals or not name:
            raise WrongCall(f"--route {text}: STEM=CHANNELS, as voice=1-2")
        if name in routes:
            raise WrongCall(f"--route {text}: {name} is routed already; voice=1,2,5 names several")
        routes[name] = parse_channels(channels, f"--route {name}")
    taken: dict[int, str] = {}
    for name, channels in routes.items():
        for channel in channels:
            if channel in taken:
                raise WrongCall(f"--route: channel {channel + 1} plays {taken[channel]} already")
            taken[channel] = name
    return routes
