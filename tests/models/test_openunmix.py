"""Open-Unmix, with every option, against its naive twin."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin
from exported import check_exported

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.models import configurations
from rtsep.streaming import verify_streaming

SMALL = {"rate": 8000, "window": 32, "hop": 8, "synthesis": 16, "hidden": 5, "layers": 2}
CENTRED = {"window": 32, "hop": 8, "synthesis": None, "padding": 16, "shape": "hann"}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=20)


def small(**options):
    model = create("openunmix", **(SMALL | options)).eval()
    for name, tensor in model.state_dict().items():
        if not name.endswith("running_var"):
            torch.nn.init.normal_(tensor, 0.2, 0.4)
        else:
            torch.nn.init.uniform_(tensor, 0.5, 2)
    return model


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("stems", [("voice",), ("a", "b", "c")])
def test_low_latency(channels: int, stems: tuple[str, ...]) -> None:
    model = small(channels=channels, stems=stems)
    check(model)
    assert (model.hop, model.latency) == (8, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"hop": 16},
        {"hop": 12, "channels": 1},
        {"padding": None},
        {"padding": 0},
        {"padding": 3, "shape": "root"},
    ],
)
def test_whole_windows(changes: dict) -> None:
    model = small(**(CENTRED | changes))
    check(model)
    hop = model.params["hop"]
    assert 32 - hop <= model.latency < 32


def test_reflection_at_the_start() -> None:
    check(small(**CENTRED, reflect=True))


@pytest.mark.parametrize("max_bin", [1, 9, 17])
def test_cropped(max_bin: int) -> None:
    check(small(max_bin=max_bin))


@pytest.mark.parametrize("layers", [1, 3])
def test_softmask(layers: int) -> None:
    check(small(softmask=True, layers=layers))


@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "bass")])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(consistency: str, remainder: str | None, channels: int) -> None:
    model = small(channels=channels, consistency=consistency, remainder=remainder)
    check(model)
    check_sum(model)


def test_all_pass() -> None:
    """Masks of 1 give the mixture back."""
    model = small(stems=("all",))
    for name, tensor in model.state_dict().items():
        if name.endswith("output_scale"):
            tensor.zero_()
        if name.endswith("output_mean"):
            tensor.fill_(1)
    x = torch.randn(1, 2, 100)
    torch.testing.assert_close(model.separate(x)[:, 0], x)


@pytest.mark.parametrize("form", [{}, CENTRED | {"reflect": True, "channels": 1}])
def test_in_float32_and_exported(form: dict) -> None:
    torch.set_default_dtype(torch.float32)
    try:
        model = small(**form, stems=("a", "b"))
        verify_streaming(model, dtype=torch.float32)
        check_exported(model)
    finally:
        torch.set_default_dtype(torch.float64)


@torch.no_grad()
def test_training_and_streaming_meet() -> None:
    """The norms' statistics while training become those of the stream."""
    torch.manual_seed(0)
    model = small(stems=("a", "b"))
    x = torch.randn(2, 400, 2)
    model.train()
    for _ in range(80):
        trained = model(x)
    off = (model.eval()(x) - trained).abs().mean()
    assert off < 0.01 * trained.abs().mean()


def test_configurations() -> None:
    assert list(configurations("openunmix")) == ["low-latency", "published"]
    model = create("openunmix")
    assert (model.rate, model.hop, model.latency) == (44100, 256, 256)
    model = create("openunmix", "published", stems=("vocals",), hidden=8, layers=1)
    assert (model.hop, model.latency) == (1024, 3072)
    assert model.network.layers[1].branches[0].max_bin == 1487


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"hop": 0}, "hop 0"),
        ({"hidden": 0}, "hidden 0"),
        ({"layers": 0}, "layers 0"),
        ({"synthesis": 24}, "one or two hops"),
        ({"window": 4}, "not rising"),
        ({"padding": 25}, "left padding of 25"),
        ({"shape": "square"}, "window shape 'square'"),
        ({"max_bin": 18}, "max_bin 18: the spectrum has 17 bins"),
        ({"max_bin": 0}, "max_bin 0"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"bogus": 1}, "bogus"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("openunmix", **(SMALL | wrong))
