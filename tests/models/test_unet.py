"""U-Net, in every form, against its naive twin."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin, with_statistics
from exported import check_exported
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.streaming import verify_streaming

SMALL = {"window": 16, "hop": 4, "synthesis": 8, "layers": 2, "filters": 3}
CENTRED = {
    "window": 16,
    "hop": 8,
    "synthesis": None,
    "padding": 8,
    "reflect": True,
    "shape": "hann",
    "layers": 2,
    "kernel": (5, 5),
    "stride": (2, 2),
    "centred": True,
    "through": True,
    "exponent": 1.0,
}
BLOCKS = {"window": 8 * 11, "hop": 24, "lookahead": 16, "crossfade": 9}
quick = settings(max_examples=8, deadline=None)
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=20, batch=2)


def small(**options):
    torch.manual_seed(0)
    return with_statistics(create("unet", **(SMALL | options)).eval())


@quick
@given(
    st.sampled_from([4, 8, 16, None]),
    st.integers(1, 3),
    st.tuples(st.integers(1, 3), st.integers(2, 5)),
    st.integers(0, 9),
)
def test_low_latency(synthesis: int, layers: int, kernel: tuple[int, int], onset: int) -> None:
    """Late by the spectrum alone, however deep the network."""
    model = small(synthesis=synthesis, layers=layers, kernel=kernel)
    check(model, onset=onset)
    assert model.hop == 4
    assert model.latency == (synthesis or 16) - 4


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kernel", [(5, 5), (2, 4), (3, 6)])
def test_strides_along_both_axes(layers: int, kernel: tuple[int, int]) -> None:
    model = small(layers=layers, kernel=kernel, stride=(2, 2), window=20 if kernel[1] == 5 else 16)
    check(model)
    assert (model.hop, model.latency) == (4 * 2**layers, 4)


@pytest.mark.parametrize("layers, ahead", [(1, 4), (2, 10)])
def test_centred_look_ahead_is_latency(layers: int, ahead: int) -> None:
    """A decoder layer sees one frame of its own beyond, an encoder layer two."""
    model = small(**(CENTRED | {"layers": layers}))
    check(model)
    assert model.latency == 8 * ahead + 8


@pytest.mark.parametrize("channels", [1, 2])
def test_in_blocks(channels: int) -> None:
    model = small(**CENTRED, channels=channels, blocks=BLOCKS, consistency="equal")
    check(model)
    assert (model.hop, model.latency) == (24, 25)


@torch.no_grad()
def test_blocks_that_see_all_equal_the_stream() -> None:
    """Where a block's ends are out of sight, the look-ahead is all that matters."""
    form = CENTRED | {"layers": 1}
    x = torch.randn(1, 8 * 64, 1)
    blocks = {"window": 8 * 17, "hop": 16, "lookahead": 56, "crossfade": 16}
    # A window begins between two strides of the stream, which has to begin there, too.
    streamed = small(**form)(torch.nn.functional.pad(x, (0, 0, 8, 0)))[:, 8:]
    blockwise = small(**form, blocks=blocks)(x)
    inside = slice(8 * 10, 8 * 54)
    torch.testing.assert_close(blockwise[:, inside], streamed[:, inside])


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("consistency", ["none", "equal", "remainder"])
def test_stems_and_channels(channels: int, consistency: str) -> None:
    model = small(channels=channels, stems=("a", "b", "c"), consistency=consistency)
    check(model)
    if consistency != "none":
        check_sum(model)


def test_in_float32() -> None:
    for form in (SMALL, CENTRED):
        verify_streaming(small(**form), dtype=torch.float32, batch=2)


def test_learns() -> None:
    """Every weight has a finite gradient, of silence too, and the statistics move."""
    model = small(dropout=0.5).train()
    x = torch.cat([torch.zeros(2, 40, 1), torch.randn(2, 80, 1)], 1)
    before = {k: v.clone() for k, v in model.state_dict().items() if "running" in k}
    model(x).square().sum().backward()
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all() and parameter.grad.any() or "bias" in name
    assert all(not torch.equal(model.state_dict()[k], v) for k, v in before.items())


@pytest.mark.parametrize(
    "form, hops",
    [
        ({"channels": 2}, 16),
        (CENTRED | {"layers": 1}, 8),
        (CENTRED | {"layers": 1, "blocks": BLOCKS}, 1),
    ],
)
def test_engine(form: dict, hops: int) -> None:
    torch.set_default_dtype(torch.float32)
    check_exported(small(**form), hops, steps=8)


def test_configurations() -> None:
    default, published = (create("unet", name) for name in ("low-latency", "published"))
    assert (default.hop, default.latency) == (128, 128)
    assert (published.rate, published.hop, published.latency) == (8192, 768 * 64, 256)


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"layers": 0}, "layers 0"),
        ({"exponent": 0}, "exponent 0"),
        ({"dropout": 1.0}, "dropout 1"),
        ({"kernel": (3, 1)}, "leaves gaps|too few|skips"),
        ({"synthesis": 7}, "one or two hops"),
        ({"blocks": {"window": 88}}, "centred"),
        (CENTRED | {"blocks": {"window": 80, "hop": 8}}, "80 samples has 11 frames"),
        (CENTRED | {"blocks": {"window": 88, "hop": 8}}, "lookahead"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("unet", **(SMALL | wrong))
