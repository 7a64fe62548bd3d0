"""Conv-TasNet as it is usually made to stream: channels first, PyTorch modules, a list of pasts.

Each depthwise convolution keeps the frames that its next call needs, concatenates them with the
new ones and slices the newest off again. The network is that of the paper, whole in one file; it
takes the weights of our own, so that both can be compared sound for sound.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """Layer norm of each frame over its channels, (batch, channels, frames)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-8)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.transpose(1, 2)).transpose(1, 2)


class Block(nn.Module):
    def __init__(self, bottleneck: int, hidden: int, skip: int, taps: int, dilation: int) -> None:
        super().__init__()
        self.past = (taps - 1) * dilation
        self.entry = nn.Conv1d(bottleneck, hidden, 1)
        self.act1, self.norm1 = nn.PReLU(), ChannelNorm(hidden)
        self.depthwise = nn.Conv1d(hidden, hidden, taps, dilation=dilation, groups=hidden)
        self.act2, self.norm2 = nn.PReLU(), ChannelNorm(hidden)
        self.residual = nn.Conv1d(hidden, bottleneck, 1)
        self.skip = nn.Conv1d(hidden, skip, 1)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        y = torch.cat([past, self.norm1(self.act1(self.entry(x)))], -1)
        z = self.norm2(self.act2(self.depthwise(y)))
        return x + self.residual(z), self.skip(z), y[..., -self.past :]


class Conventional(nn.Module):
    """Mono; (1, 1, samples) to (1, stems, samples), with the state handed from call to call."""

    def __init__(
        self,
        *,
        stems: int,
        filters: int,
        kernel: int,
        bottleneck: int,
        hidden: int,
        skip: int,
        taps: int,
        blocks: int,
        repeats: int,
    ) -> None:
        super().__init__()
        self.stems, self.stride = stems, kernel // 2
        self.encoder = nn.Conv1d(1, filters, kernel, stride=self.stride, bias=False)
        self.norm = ChannelNorm(filters)
        self.entry = nn.Conv1d(filters, bottleneck, 1)
        self.blocks = nn.ModuleList(
            Block(bottleneck, hidden, skip, taps, 2**i)
            for _ in range(repeats)
            for i in range(blocks)
        )
        self.head = nn.PReLU()
        self.exit = nn.Conv1d(skip, stems * filters, 1)
        self.decoder = nn.ConvTranspose1d(filters, 1, kernel, stride=self.stride, bias=False)

    def initial(self) -> list[Tensor]:
        hidden = self.blocks[0].depthwise.in_channels
        pasts = [torch.zeros(1, hidden, block.past) for block in self.blocks]
        ends = torch.zeros(1, 1, self.stride), torch.zeros(self.stems, 1, self.stride)
        return [ends[0], *pasts, ends[1]]

    def forward(self, x: Tensor, state: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        samples = torch.cat([state[0], x], -1)
        encoded = self.encoder(samples)
        y, skips, following = self.entry(self.norm(encoded)), 0, [samples[..., -self.stride :]]
        for block, past in zip(self.blocks, state[1:-1], strict=True):
            y, skip, past = block(y, past)
            skips = skips + skip
            following.append(past)
        masks = torch.sigmoid(self.exit(self.head(skips)))
        masks = masks.view(1, self.stems, encoded.shape[1], -1)
        decoded = self.decoder((masks * encoded.unsqueeze(1)).flatten(0, 1))
        head = decoded[..., : self.stride] + state[-1]
        whole = torch.cat([head, decoded[..., self.stride :]], -1)
        following.append(whole[..., -self.stride :])
        return whole[..., : -self.stride].transpose(0, 1), following

    @torch.no_grad()
    def load_from(self, ours: nn.Module) -> None:
        """Takes the weights of our ConvTasNet of the same sizes."""
        front, middle, decoder = ours.network.layers
        network = middle.branches[0]
        pairs = [
            (self.encoder.weight, front.weight),
            (self.decoder.weight, decoder.weight),
            (self.head.weight, network.head.weight),
            *_linear(self.entry, network.entry),
            *_linear(self.exit, network.exit),
            *_norm(self.norm, network.norm),
        ]
        for mine, theirs in zip(self.blocks, network.blocks, strict=True):
            for name in ("entry", "residual", "skip"):
                pairs += _linear(getattr(mine, name), getattr(theirs, name))
            for name in ("norm1", "norm2"):
                pairs += _norm(getattr(mine, name), getattr(theirs, name))
            for name in ("act1", "act2", "depthwise"):
                theirs_named = dict(getattr(theirs, name).named_parameters())
                for key, parameter in getattr(mine, name).named_parameters():
                    pairs.append((parameter, theirs_named[key]))
        for target, source in pairs:
            target.copy_(source.view_as(target))


def _linear(mine: nn.Conv1d, theirs: nn.Linear) -> list[tuple[Tensor, Tensor]]:
    return [(mine.weight, theirs.weight), (mine.bias, theirs.bias)]


def _norm(mine: ChannelNorm, theirs: nn.Module) -> list[tuple[Tensor, Tensor]]:
    return [(mine.norm.weight, theirs.weight), (mine.norm.bias, theirs.bias)]
