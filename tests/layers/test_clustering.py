"""Online clustering against a loop that clusters at once, and on constructed sources."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from rtsep.layers import OnlineClustering
from rtsep.naive.clustering import shared
from rtsep.streaming import verify_streaming


class Prepared(OnlineClustering):
    """Takes any numbers: makes vectors of unit length of them, and weights; quiet frames too."""

    def step(self, x, state):
        weight = x[..., -1:].abs() * (x[:, :, :1, :1] > -1.0)
        return super().step(_joined(x[..., :-1], weight), state)


def _joined(vectors: Tensor, weights: Tensor) -> Tensor:
    return torch.cat([torch.nn.functional.normalize(vectors, dim=-1), weights], -1)


@settings(max_examples=8, deadline=None)
@given(
    st.integers(1, 3),
    st.integers(2, 4),
    st.integers(1, 5),
    st.integers(0, 3),
    st.integers(1, 3),
    st.integers(0, 4),
)
def test_equals_the_plain_form(clusters, size, kept, more, iterations, onset) -> None:
    options = {"fill": kept + more, "kept": kept, "iterations": iterations, "follow": 9.0}
    layer = Prepared(6, size, clusters, **options)

    def twin(x: Tensor) -> Tensor:
        weight = x[..., -1:].abs() * (x[:, :, :1, :1] > -1.0)
        return shared(layer, _joined(x[..., :-1], weight))

    report = verify_streaming(layer, hops=30, onset=onset, twin=twin)
    assert report.measured_latency == 0


def sources(rows: int, frames: int, points: int, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """(rows, frames, points, size + 1) and the source, 0 or 1, of each point.

    Each source has a direction, around which its points lie; what is whose changes in each frame,
    as between two voices, and so does how loud it is. In half of the rows one of the two falls
    silent for a third of the time, now the one, now the other.
    """
    random = torch.Generator().manual_seed(seed)
    directions = torch.randn(rows, 2, size, generator=random)
    directions[:, 1] -= (
        (directions[:, 0] * directions[:, 1]).sum(-1, keepdim=True)
        * directions[:, 0]
        / directions[:, 0].square().sum(-1, keepdim=True)
    )
    directions = torch.nn.functional.normalize(directions, dim=-1)
    share = 0.2 + 0.6 * torch.rand(rows, frames, 1, generator=random)
    whose = (torch.rand(rows, frames, points, generator=random) < share).long()
    third = frames // 3
    for row in range(0, rows, 2):
        whose[row, third : 2 * third] = row // 2 % 2
    own = torch.gather(
        directions[:, None].expand(-1, frames, -1, -1),
        2,
        whose[..., None].expand(-1, -1, -1, size),
    )
    vectors = own + 0.25 * torch.randn(rows, frames, points, size, generator=random)
    loudness = 0.02 + torch.rand(rows, frames, 1, 1, generator=random) ** 2
    weights = loudness * torch.rand(rows, frames, points, 1, generator=random)
    return _joined(vectors, weights), whose


@torch.no_grad()
def test_no_swaps_in_a_minute() -> None:
    """Two steady sources, 3750 frames of 16 ms: each stays in the cluster that it was found in."""
    x, whose = sources(rows=8, frames=3750, points=12, size=6, seed=0)
    layer = OnlineClustering(12, 6, 2, fill=10, kept=8, follow=100.0)
    shares = layer(x)
    assert torch.allclose(shares[:, : layer.ready], torch.tensor(0.5))
    shares = shares[:, layer.ready :]
    second, truth = shares[:, :, 1] > 0.5, whose[:, layer.ready :] == 1
    agree = (second == truth).float().mean(2)
    # Which cluster is which source is settled by the first seconds.
    flipped = agree[:, :200].mean(1) < 0.5
    agree = torch.where(flipped[:, None], 1 - agree, agree)
    assert not (agree < 0.5).any(), f"{int((agree < 0.5).sum())} frames with the stems swapped"
    assert agree.mean() > 0.99


@torch.no_grad()
def test_follows_slowly() -> None:
    """Sources that wander are followed: their centres at the end are not those of the start."""
    x, whose = sources(rows=2, frames=2000, points=12, size=6, seed=1)
    angle = torch.linspace(0, 1.5, 2000)[:, None]
    a, b = x[..., 0].clone(), x[..., 1].clone()
    x[..., 0] = angle.cos() * a - angle.sin() * b
    x[..., 1] = angle.sin() * a + angle.cos() * b
    agrees = []
    for follow in (60.0, 1e9):
        layer = OnlineClustering(12, 6, 2, fill=10, kept=8, follow=follow)
        shares = layer(x)[1, layer.ready :]
        agree = ((shares[:, 1] > 0.5) == (whose[1, layer.ready :] == 1)).float().mean(1)
        agrees.append(agree if agree[:100].mean() > 0.5 else 1 - agree)
    assert agrees[0][-300:].mean() > 0.95
    assert agrees[0][-300:].mean() > agrees[1][-300:].mean() + 0.1


@torch.no_grad()
def test_silence_is_not_heard() -> None:
    """Neither before the first sound nor in between does anything happen."""
    x, _ = sources(rows=2, frames=80, points=6, size=4, seed=2)
    quiet = x.clone()
    quiet[..., -1] = 0
    layer = OnlineClustering(6, 4, 2, fill=10, kept=4)
    broken = torch.cat([quiet[:, :30], x[:, :15], quiet[:, :40], x[:, 15:]], 1)
    y = layer(broken)
    assert torch.allclose(torch.cat([y[:, 30:45], y[:, 85:]], 1), layer(x))


def test_in_float32() -> None:
    verify_streaming(Prepared(5, 3, 2, fill=6, kept=4), dtype=torch.float32, hops=30)


@pytest.mark.parametrize("wrong", [{"kept": 0}, {"kept": 9}, {"iterations": 0}, {"clusters": 0}])
def test_refuses(wrong: dict) -> None:
    sizes = {"points": 4, "size": 3, "clusters": 2, "fill": 8, "kept": 4} | wrong
    with pytest.raises(ValueError, match="at least 1 each"):
        OnlineClustering(**sizes)
