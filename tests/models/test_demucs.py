"""Demucs, with every option, against its naive twin."""

from __future__ import annotations

import pytest
import torch
from architectures import check_sum, check_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.streaming import verify_streaming
from rtsep.verification import verify

SMALL = {"hidden": (5, 7), "kernel": (16, 4), "stride": (4, 2), "synthesis": (12, 2)}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")


def check(hops: int = 40, **options):
    model = create("demucs", **(SMALL | options))
    check_twin(model, hops=hops, batch=2)
    return model


@st.composite
def windows(draw) -> dict:
    """Any strides, and windows that do and don't divide by them."""
    strides = [draw(st.integers(1, 4)) for _ in range(2)]
    synthesis = [stride + draw(st.integers(0, 5)) for stride in strides]
    kernels = [window + draw(st.integers(0, 4)) for window in synthesis]
    return {"kernel": kernels, "stride": strides, "synthesis": synthesis}


@settings(max_examples=5, deadline=None)
@given(windows())
def test_any_windows(sizes: dict) -> None:
    check(**sizes)


def test_windows_end_together() -> None:
    """However far the kernels hear back, the latency is that of what is put together."""
    for kernel in ((12, 2), (64, 6)):
        assert check(kernel=kernel).latency == 8
    # Where a level's own is no whole number of the next one's hops, that one is waited for.
    assert check(synthesis=(8, 2)).latency == 8
    assert check(synthesis=(4, 2)).latency == 0


@pytest.mark.parametrize("resample, hop", [(2, 4), (4, 2)])
def test_resampled(resample: int, hop: int) -> None:
    model = check(resample=resample, channels=2, hops=800 // hop)
    assert model.hop == hop
    # The filters' own 56 samples of each rate, twice, are the least.
    assert model.latency >= sum(112 // 2**r for r in range(resample // 2)) - 2


@pytest.mark.parametrize("adaptation", [0.0, 0.002, 1.0])
@pytest.mark.parametrize("gated", [True, False])
def test_level_and_gates(adaptation: float, gated: bool) -> None:
    check(adaptation=adaptation, gated=gated, layers=1)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "b")])
def test_stems_sum_to_the_mixture(consistency: str, remainder: str | None, channels: int) -> None:
    model = check(
        channels=channels, stems=("a", "b", "c"), consistency=consistency, remainder=remainder
    )
    check_sum(model)


def test_louder_is_only_louder() -> None:
    model = create("demucs", **SMALL, floor=0.0)
    x = torch.randn(1, 1, 400)
    torch.testing.assert_close(model.separate(100 * x), 100 * model.separate(x))


def test_in_float32() -> None:
    torch.set_default_dtype(torch.float32)
    verify_streaming(create("demucs", **SMALL, resample=2), hops=60, dtype=torch.float32)
    torch.set_default_dtype(torch.float64)


def test_low_latency_and_published() -> None:
    model = create("demucs")
    assert (model.hop, model.latency) == (128, 128)
    assert sum(p.numel() for p in model.parameters()) <= 2_000_000
    published = create("demucs", "dns48", hidden=[1] * 5)
    assert (published.hop, published.latency) == (256, 595)


@pytest.mark.parametrize("options", [{}, {"resample": 4, "channels": 2, "synthesis": None}])
def test_engines(options: dict) -> None:
    torch.set_default_dtype(torch.float32)
    verdict = verify(create("demucs", **(SMALL | options)))
    torch.set_default_dtype(torch.float64)
    assert verdict.ok, verdict


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"kernel": (16, 4, 4)}, "one for each of the 2"),
        ({"hidden": ()}, "one for each of the 0"),
        ({"hidden": (5, 0)}, "hidden 0"),
        ({"synthesis": (20, 2)}, "kernel 16, synthesis 20, stride 4: not falling"),
        ({"stride": (13, 2)}, "not falling"),
        ({"resample": 3}, "resample 3"),
        ({"layers": 0}, "layers 0"),
        ({"adaptation": -1.0}, "adaptation -1"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("demucs", **(SMALL | wrong))
