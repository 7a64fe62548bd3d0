"""Short-time spectra and back, over windows that slide by a hop.

Frame `j` is the spectrum of the `window` samples up to and including the hop `j`, so analysis
costs no latency; synthesis uses the last `synthesis` samples of it, and costs `synthesis - hop`.
That is the causal form, whose first frame ends with the first hop. A public form that pads fewer
samples on the left (`window // 2` where its frames are centred) begins with a later one; what it
lacks is silent here, and the latency is the same, up to the next whole hop.
"""

from __future__ import annotations

from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from rtsep.layers.convolution import framed, overlap_add
from rtsep.layers.fourier import Fourier, InverseFourier
from rtsep.streaming.layer import StreamingLayer
from rtsep.streaming.state import (
    COUNTDOWN,
    State,
    live_frames,
    next_countdown,
    silence,
    start_countdown,
)

SHAPES = ("root", "hann")


class Spectrogram(StreamingLayer):
    """(batch, samples, channels) to (batch, frames, bins, 2 * channels).

    `bins = window // 2 + 1`; the last axis holds, channel after channel, a real and an imaginary
    part.

    Args:
        padding: the public form's left padding in samples; None is the causal `window - hop`.
        shape: of the windows, as `window_pair` takes it.
        reflect: whether the public form pads with the signal's reflection and not with zeros, as
            `torch.stft` does with `center`. A window that begins with 0 is needed: the earliest
            sample reflected may be heard after the first frame.
    """

    def __init__(
        self,
        window: int,
        hop: int,
        *,
        synthesis: int | None = None,
        channels: int = 1,
        padding: int | None = None,
        shape: str = "root",
        reflect: bool = False,
    ) -> None:
        super().__init__()
        self.window, self.hop, self.reflect = window, hop, reflect
        self.causal, self.padding = padding is None, padded(window, hop, padding)
        self.ratio = Fraction(1, hop)
        self.bins = window // 2 + 1
        self.inputs, self.outputs = (channels,), (self.bins, 2 * channels)
        analysis, _ = window_pair(window, window if synthesis is None else synthesis, hop, shape)
        self.transform = Fourier(analysis)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        causal = self.window - self.hop
        late = onset + causal - self.padding
        extra = -late % self.hop
        out = (late + extra) // self.hop
        past = self.zeros(batch, causal + extra, *self.inputs)
        masked = out if self.padding != causal or self.reflect else 0
        state = {"past": past}
        if self.reflect:
            state["mirror"] = start_countdown(batch, past.shape[1] + onset, self.device)
        return state | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        joined = torch.cat([state["past"], x], 1)
        following = {"past": joined[:, x.shape[1] :]}
        if self.reflect:
            # Counts down to 0 from where, in the past and the input, the first sample is.
            joined = _mirrored(joined, state["mirror"].get(COUNTDOWN))
            following["mirror"] = next_countdown(state["mirror"], x.shape[1])
        y = self._spectra(joined, x.shape[1] // self.hop)
        y = silence(y, live_frames(state, y.shape[1]))
        return y, following | next_countdown(state, y.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        """Padded alike at both ends: `1 + (samples + 2 * padding - window) // hop` frames.

        The causal form, which pads the start alone, gives a frame for each hop.
        """
        if self.causal:
            return self.forward(x)
        ends = (self.padding, self.padding)
        x = F.pad(x.transpose(1, 2), ends, mode="reflect" if self.reflect else "constant")
        return self._spectra(x.transpose(1, 2), 1 + (x.shape[2] - self.window) // self.hop)

    def _spectra(self, joined: Tensor, frames: int) -> Tensor:
        windows = framed(joined, frames, self.window, self.hop)
        parts = self.transform(windows.transpose(-1, -2))
        return parts.permute(0, 1, 4, 2, 3).flatten(-2)


class InverseSpectrogram(StreamingLayer):
    """(batch, frames, *over, bins, 2 * channels) to (batch, samples, *over, channels).

    With the windows and the padding of `Spectrogram(window, hop, synthesis=synthesis)` it gives
    back what went in, `synthesis - hop` samples later. `over` is the shape of axes between time and
    bins (stems).
    """

    def __init__(
        self,
        window: int,
        hop: int,
        *,
        synthesis: int | None = None,
        channels: int = 1,
        over: tuple[int, ...] = (),
        padding: int | None = None,
        shape: str = "root",
    ) -> None:
        super().__init__()
        self.window = window
        self.stride = hop
        self.synthesis = window if synthesis is None else synthesis
        self.ratio = Fraction(hop)
        self.bins = window // 2 + 1
        self.inputs, self.outputs = (*over, self.bins, 2 * channels), (*over, channels)
        _, synthesis_window = window_pair(window, self.synthesis, hop, shape)
        self.transform = InverseFourier(window, synthesis_window)
        self.overlap = -(-self.synthesis // hop) - 1
        self.shape, self.causal = shape, padding is None
        self.padding = padded(window, hop, padding)
        # Of the first window, what lies before the first sample; below 0 where it starts later.
        self.trim = self.padding - (window - self.synthesis)

    def initial(self, batch: int, onset: int = 0) -> tuple[State, int]:
        out = onset * self.stride + self.trim
        if out < 0:
            raise ValueError(f"frames of onset {onset} are earlier than their analysis allows")
        tail = self.zeros(batch, self.overlap * self.stride, *self.outputs)
        masked = out if self.trim > 0 else 0
        return {"tail": tail} | start_countdown(batch, masked, self.device), out

    def step(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        samples, tail = overlap_add(self._windows(x), state["tail"], self.stride)
        samples = silence(samples, live_frames(state, samples.shape[1]))
        return samples, {"tail": tail} | next_countdown(state, samples.shape[1])

    def segment(self, x: Tensor) -> Tensor:
        """Cut alike at both ends: `(frames - 1) * hop + window - 2 * padding` samples.

        Where fewer windows overlap, at the ends, each weighs the more: as `torch.istft` does.
        """
        if self.causal or self.synthesis != self.window:
            return self.forward(x)
        frames = x.shape[1]
        tail = self.zeros(x.shape[0], self.overlap * self.stride, *self.outputs)
        samples = torch.cat(overlap_add(self._windows(x), tail, self.stride), 1)
        analysis, synthesis = window_pair(self.window, self.window, self.stride, self.shape)
        product = (analysis * synthesis).to(x).expand(1, frames, -1)
        heard = torch.cat(overlap_add(product, tail.new_zeros(1, tail.shape[1]), self.stride), 1)
        kept = slice(self.padding, (frames - 1) * self.stride + self.window - self.padding)
        return samples[:, kept] / heard[0, kept].view(-1, *[1] * (samples.dim() - 2))

    def _windows(self, x: Tensor) -> Tensor:
        parts = x.unflatten(-1, (-1, 2)).movedim(-3, -1)
        return self.transform(parts).movedim(-1, 2)


def window_pair(
    window: int, synthesis: int, hop: int, shape: str = "root"
) -> tuple[Tensor, Tensor]:
    """Analysis (window,) and synthesis (synthesis,) windows in float64, perfectly reconstructing.

    Where both are of one length: a periodic Hann window (`shape` "hann") or its root ("root")
    twice, over the sum of its overlapping squares. Where synthesis is shorter and two hops long:
    the asymmetric pair of Mauler and Martin (2007), a long rise and a short fall, whatever `shape`.
    """
    if shape not in SHAPES:
        raise ValueError(f"window shape {shape!r}: it is one of {', '.join(SHAPES)}")
    if not hop <= synthesis <= window:
        raise ValueError(f"hop {hop}, synthesis window {synthesis}, window {window}: not rising")
    if synthesis == hop:
        # Nothing overlaps: the latest hop of each frame is its own, whatever the rise before.
        analysis = torch.cat([_hann(2 * (window - hop))[: window - hop].sqrt(), _ones(hop)])
        return analysis, _ones(hop)
    if synthesis == window:
        both = _hann(window) if shape == "hann" else _hann(window).sqrt()
        return both, both / _overlapped(both.square(), hop)
    if synthesis != 2 * hop:
        raise ValueError(f"a short synthesis window is one or two hops of {hop}, not {synthesis}")
    rise = _hann(2 * (window - hop))[: window - hop].sqrt()
    fall = _hann(2 * hop)[hop:].sqrt()
    analysis = torch.cat([rise, fall])
    return analysis, torch.cat([_hann(2 * hop)[:hop] / rise[window - 2 * hop :], fall])


def padded(window: int, hop: int, padding: int | None) -> int:
    """The left padding in samples: that of the causal form for None."""
    if padding is None:
        return window - hop
    if not 0 <= padding <= window - hop:
        raise ValueError(f"a left padding of {padding} is not within 0 and {window - hop}")
    return padding


def _mirrored(joined: Tensor, first: Tensor | None) -> Tensor:
    """What lies before the sample `first` (batch,) replaced by its reflection at that sample."""
    if first is None:
        return joined
    at, length = torch.arange(joined.shape[1], device=joined.device)[None], joined.shape[1]
    source = torch.where(at < first[:, None], 2 * first[:, None] - at, at).clamp(max=length - 1)
    return joined.gather(1, source[..., None].expand_as(joined))


def _hann(length: int) -> Tensor:
    return torch.hann_window(length, periodic=True, dtype=torch.float64)


def _ones(length: int) -> Tensor:
    return torch.ones(length, dtype=torch.float64)


def _overlapped(product: Tensor, hop: int) -> Tensor:
    """For each sample of a window, the sum of `product` over all windows `hop` apart there."""
    length = product.shape[0]
    padded = torch.cat([product, product.new_zeros(-length % hop)])
    return padded.view(-1, hop).sum(0).repeat(-(-length // hop))[:length]
