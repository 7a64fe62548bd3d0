"""U-Net on spectra, causal."""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rtsep.errors import WrongCall
from rtsep.layers import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    InverseSpectrogram,
    Spectrogram,
)
from rtsep.models.arguments import at_least
from rtsep.models.base import Separator
from rtsep.models.spectral import apply_masks
from rtsep.streaming import Blockwise, Pointwise, Segment, Serial, Skip, StreamingLayer


class UNet(Separator):
    """Jansson et al. 2017, "Singing Voice Separation with Deep U-Net Convolutional Networks".

    Magnitudes go through convolutions that halve the spectrum and double the channels, and back
    through transposed ones, each of which also sees what its mirror image gave; the last makes
    masks. The causal form pads the frames on the past's side alone and trims none. The published
    form halves the time as well: 64 frames, 6 s, are then the smallest step. The low-latency form
    halves the bins alone and steps with each frame; its latency is that of the spectrum. Beyond the
    paper there are masks for any stems, and magnitudes to the power of `exponent`.

    Args:
        window, hop: of the spectrum, in samples.
        synthesis: the part of the window that is heard, in samples, one or two hops; None is all of
            it. The spectrum's latency is `synthesis - hop`.
        padding, reflect, shape: of the public form's spectrum, as in `OpenUnmix`.
        layers: encoder layers, and decoder layers.
        filters: channels of the first; each next one has twice as many.
        kernel, stride: of all layers, (frames, bins).
        slope: of the encoder's activation below 0.
        dropout: of the first three decoder layers, while training.
        exponent: of the magnitudes seen.
        through: whether the lowest bin, which is never seen, is in every stem as it is, as public
            code has it; else it has the mask of the bin above.
        centred: whether frames are padded at either side, as in the public form, whose look-ahead
            through all layers then is latency.
        blocks: runs the network of a centred form in blocks instead (`Blockwise`): window, hop,
            lookahead and crossfade in samples. Each block is a segment with nothing beyond it.
        consistency: "none" as published; "equal" shares what the stems miss of the mixture among
            them; "remainder" makes the remainder stem what the others leave, and estimates only
            those.
    """

    arch = "unet"
    configurations: ClassVar[dict[str, dict]] = {
        "low-latency": {},
        "published": dict(
            rate=8192,
            window=1024,
            hop=768,
            synthesis=None,
            layers=6,
            kernel=(5, 5),
            stride=(2, 2),
            dropout=0.5,
            exponent=1.0,
        ),
    }

    def __init__(
        self,
        *,
        rate: int = 16000,
        channels: int = 1,
        stems: tuple[str, ...] = ("voice", "background"),
        primary: str | None = None,
        remainder: str | None = None,
        window: int = 512,
        hop: int = 128,
        synthesis: int | None = 256,
        padding: int | None = None,
        reflect: bool = False,
        shape: str = "root",
        layers: int = 5,
        filters: int = 16,
        kernel: tuple[int, int] = (3, 5),
        stride: tuple[int, int] = (1, 2),
        slope: float = 0.2,
        dropout: float = 0.0,
        exponent: float = 0.3,
        through: bool = False,
        centred: bool = False,
        blocks: dict[str, int] | None = None,
        consistency: str = "none",
    ) -> None:
        super().__init__(locals())
        at_least(1, hop=hop, layers=layers, filters=filters)
        for name, pair in (("kernel", kernel), ("stride", stride)):
            if len(pair) != 2 or not all(type(n) is int and n >= 1 for n in pair):
                raise WrongCall(f"{name} {list(pair)}: frames and bins, both at least 1")
        if not (exponent > 0 and 0 <= dropout < 1):
            raise WrongCall(f"exponent {exponent:g}, dropout {dropout:g}: above 0, and 0 to 1")
        masks = len(self.estimated)

        bins = window // 2 + 1
        form = dict(channels=channels, synthesis=synthesis, padding=padding, shape=shape)
        body = self._level(0, channels, masks * channels, bins - 1)
        seen = Pointwise(
            lambda x: _magnitudes(x, exponent), (bins, 2 * channels), (bins - 1, channels)
        )
        outputs = (masks, bins, channels)
        masked = Pointwise(lambda x: _masks(x, masks, through), body.outputs, outputs)
        network: StreamingLayer = Serial(
            Spectrogram(window, hop, reflect=reflect, **form),
            Skip(Serial(seen, body, masked), apply_masks, (masks, bins, 2 * channels)),
            InverseSpectrogram(window, hop, over=(masks,), **form),
        )
        if blocks is not None:
            network = self._in_blocks(network, blocks)
        self.finish(network)

    def _level(self, index: int, inputs: int, outputs: int, bins: int) -> Serial:
        """An encoder layer, the levels below it, and the decoder layer that leads back."""
        p = self.params
        kernel, stride = tuple(p["kernel"]), tuple(p["stride"])
        aside = (kernel[0] - stride[0] + 1) // 2
        last = index + 1 == p["layers"]
        width = p["filters"] * 2**index
        down = Conv2d(
            inputs,
            width,
            kernel,
            stride,
            bins=bins,
            padding=aside if p["centred"] else None,
            norm=BatchNorm(width),
        )
        below: list[StreamingLayer] = []
        if not last:
            deeper = self._level(index + 1, width, width, down.outputs[0])
            below = [Skip(deeper, _side_by_side, (down.outputs[0], 2 * width))]
        up = ConvTranspose2d(
            width if last else 2 * width,
            outputs,
            kernel,
            stride,
            bins=down.outputs[0],
            restored=bins,
            trim=aside if p["centred"] else 0,
            norm=BatchNorm(outputs),
        )
        slope = p["slope"]
        activation = Pointwise(lambda x: F.leaky_relu(x, slope), down.outputs)
        back: list[StreamingLayer] = [Pointwise(torch.relu if index else torch.sigmoid, up.outputs)]
        if index and p["dropout"] and p["layers"] - index <= 3:
            back.append(Pointwise(nn.Dropout(p["dropout"]), up.outputs))
        return Serial(down, activation, *below, up, *back)

    def _in_blocks(self, network: StreamingLayer, blocks: dict[str, int]) -> Blockwise:
        p = self.params
        if not p["centred"] or p["padding"] is None:
            raise WrongCall("blocks are for the centred form, with the padding of its spectrum")
        frames = 1 + (blocks["window"] + 2 * p["padding"] - p["window"]) / p["hop"]
        whole = p["stride"][0] ** p["layers"]
        if frames % whole:
            raise WrongCall(
                f"a block of {blocks['window']} samples has {frames:g} frames, "
                f"which is no multiple of {whole}"
            )
        return Blockwise(Segment(network), **blocks)


def _magnitudes(spectrum: Tensor, exponent: float) -> Tensor:
    """(…, bins, 2 * channels) to (…, bins - 1, channels), the lowest bin left out."""
    power = spectrum[..., 1:, :].unflatten(-1, (-1, 2)).square().sum(-1)
    # Nothing that is heard; a root has no slope at 0.
    return (power + 1e-20) ** (exponent / 2)


def _masks(x: Tensor, masks: int, through: bool) -> Tensor:
    """(…, bins - 1, masks * channels) to (…, masks, bins, channels)."""
    x = x.unflatten(-1, (masks, -1)).movedim(-2, -3)
    lowest = torch.ones_like(x[..., :1, :]) if through else x[..., :1, :]
    return torch.cat([lowest, x], -2)


def _side_by_side(inner: Tensor, skipped: Tensor) -> Tensor:
    return torch.cat([inner, skipped], -1)
