"""Mask Inference, with every option, against its naive twin."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin, with_weights

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.models import configurations
from rtsep.models.spectral import FEATURES, MASKS, NORMS, Head
from rtsep.streaming import verify_streaming
from rtsep.verification import verify

SMALL = {"rate": 8000, "window": 32, "hop": 8, "synthesis": 16, "hidden": 5}
CENTRED = {"synthesis": None, "padding": 16, "feature": "decibels", "norm": "affine"}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=20)


def small(**options):
    return with_weights(create("maskinference", **(SMALL | options)).eval(), 0.2, 0.4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stems", [("voice",), ("a", "b", "c")])
@pytest.mark.parametrize("form", [{}, CENTRED])
def test_stems_and_channels(channels: int, stems: tuple[str, ...], form: dict) -> None:
    model = small(channels=channels, stems=stems, **form)
    check(model)
    assert (model.hop, model.latency) == (8, 24 if form else 8)


@pytest.mark.parametrize(
    "window, synthesis, hop, padding, late",
    [
        (32, 8, 8, None, 0),
        (32, 16, 8, None, 8),
        (32, 32, 8, None, 24),
        (32, 32, 8, 0, 24),
        (32, 32, 8, 11, 27),
        (30, 30, 12, 15, 27),
        (40, 16, 8, 30, 14),
    ],
)
def test_windows(window: int, synthesis: int, hop: int, padding: int | None, late: int) -> None:
    """The latency is that of what is played, rounded up where the padding is no whole hop."""
    model = small(window=window, synthesis=synthesis, hop=hop, padding=padding)
    check(model)
    assert model.latency == late


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("norm", NORMS)
def test_features(feature: str, norm: str) -> None:
    check(small(feature=feature, norm=norm))


@pytest.mark.parametrize("form", [{}, CENTRED])
@pytest.mark.parametrize("trunk", [{"entry": 5}, {"entry": 7, "layers": 1}, {"residual": False}])
def test_trunk(trunk: dict, form: dict) -> None:
    check(small(**trunk, **form))
    check(small(**trunk, **form, adaptation=0.01, channels=2))


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask: str) -> None:
    check(small(mask=mask, stems=("a", "b", "c"), **CENTRED))


@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "b")])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(consistency: str, remainder: str | None, channels: int) -> None:
    model = small(
        channels=channels, stems=("a", "b", "c"), consistency=consistency, remainder=remainder
    )
    check(model)
    check_sum(model)


@pytest.mark.parametrize("synthesis", [8, 16, 32])
def test_all_pass(synthesis: int) -> None:
    """Masks of 1 give the mixture back."""
    model = small(synthesis=synthesis, mask="linear", stems=("all",))
    head = next(part for part in model.modules() if isinstance(part, Head))
    torch.nn.init.zeros_(head.product.weight)
    torch.nn.init.ones_(head.product.bias)
    x = torch.randn(1, 1, 100)
    torch.testing.assert_close(model.separate(x)[:, 0], x)


def test_in_every_engine() -> None:
    torch.set_default_dtype(torch.float32)
    try:
        model = small(rate=1000, adaptation=0.1, entry=4, channels=2, **CENTRED)
        verify_streaming(model, dtype=torch.float32)
        verdict = verify(model)
    finally:
        torch.set_default_dtype(torch.float64)
    assert verdict.ok, verdict


def test_configurations() -> None:
    assert next(iter(configurations("maskinference"))) == "low-latency"
    model = create("maskinference")
    assert (model.rate, model.hop, model.latency) == (16000, 64, 64)
    model = create("maskinference", "nussl-8k", hidden=8)
    assert (model.hop, model.latency) == (64, 192)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"hop": 0}, "hop 0"),
        ({"hidden": 0}, "hidden 0"),
        ({"layers": 0}, "layers 0"),
        ({"entry": -1}, "entry -1"),
        ({"adaptation": -1.0}, "adaptation -1"),
        ({"exponent": 0.0}, "exponent 0"),
        ({"synthesis": 24}, "one or two hops"),
        ({"window": 4}, "not rising"),
        ({"padding": 25}, "left padding of 25"),
        ({"feature": "mel"}, "feature 'mel'"),
        ({"norm": "batch"}, "norm 'batch'"),
        ({"mask": "round"}, "mask 'round'"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"mask": "softmax", "consistency": "remainder"}, "1 everywhere"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("maskinference", **(SMALL | wrong))
