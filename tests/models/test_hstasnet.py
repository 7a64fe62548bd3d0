"""HS-TasNet, with every option, against its naive twin."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin, with_weights
from exported import check_exported

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.models import configurations
from rtsep.streaming import verify_streaming

SMALL = {"rate": 8000, "window": 32, "hop": 8, "synthesis": 16, "hidden": 5, "basis": 6}
WHOLE = {"window": 16, "hop": 8, "synthesis": None, "padding": 8, "shape": "hann"}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=20)


def small(**options):
    return with_weights(create("hstasnet", **(SMALL | options)).eval(), 0.1, 0.4)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stems", [("voice",), ("a", "b", "c")])
@pytest.mark.parametrize("small_form", [True, False])
def test_low_latency(channels: int, stems: tuple[str, ...], small_form: bool) -> None:
    model = small(channels=channels, stems=stems, small=small_form)
    check(model)
    assert (model.hop, model.latency) == (8, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"small": False},
        {"window": 32, "padding": 16},
        {"window": 30, "padding": 15},
        {"padding": 0},
        {"padding": 3, "shape": "root"},
    ],
)
def test_whole_windows(changes: dict) -> None:
    model = small(**(WHOLE | changes))
    check(model)
    assert model.params["window"] - 8 <= model.latency < model.params["window"]


@pytest.mark.parametrize("changes", [{"synthesis": 8}, {"padding": 16}, {"padding": 5}])
def test_short_synthesis(changes: dict) -> None:
    check(small(**changes))


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("phase", [True, False])
def test_magnitudes_and_norms(norm: bool, phase: bool) -> None:
    check(small(phase=phase, norm=norm))


@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "bass")])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(consistency: str, remainder: str | None, channels: int) -> None:
    model = small(channels=channels, consistency=consistency, remainder=remainder)
    check(model)
    check_sum(model)


@pytest.mark.parametrize("form", [{}, {"padding": 16, "small": False, "channels": 1}])
def test_in_float32_and_exported(form: dict) -> None:
    torch.set_default_dtype(torch.float32)
    try:
        model = small(**form, stems=("a", "b"))
        verify_streaming(model, dtype=torch.float32)
        check_exported(model)
    finally:
        torch.set_default_dtype(torch.float64)


def test_configurations() -> None:
    assert list(configurations("hstasnet")) == ["low-latency", "published", "published-small"]
    model = create("hstasnet")
    assert (model.rate, model.hop, model.latency) == (44100, 128, 128)
    model = create("hstasnet", "published", hidden=8, basis=8)
    assert (model.hop, model.latency) == (512, 512)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"hop": 0}, "hop 0"),
        ({"hidden": 0}, "hidden 0"),
        ({"basis": 0}, "basis 0"),
        ({"synthesis": 24}, "one or two hops"),
        ({"window": 4}, "not rising"),
        ({"padding": 25}, "left padding of 25"),
        ({"shape": "square"}, "window shape 'square'"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("hstasnet", **(SMALL | wrong))
