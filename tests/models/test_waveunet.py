"""Wave-U-Net, in every form, against its naive twin."""

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
from rtsep.models.waveunet import segment_sizes
from rtsep.streaming import verify_streaming

SMALL = {"widths": (3, 4, 5), "down_kernel": 5, "up_kernel": 3}
VALID = {"form": "valid", "widths": (8, 8, 16), "doubled": True, "direct": False, "slope": 0.0}
quick = settings(max_examples=8, deadline=None)
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=20, batch=2)


def small(**options):
    torch.manual_seed(0)
    return with_statistics(create("waveunet", **(SMALL | options)).eval())


@quick
@given(
    st.integers(2, 4), st.integers(2, 3), st.sampled_from([1, 3, 5]), st.booleans(), st.booleans()
)
def test_causal(levels: int, stride: int, up: int, doubled: bool, direct: bool) -> None:
    """Never late, whatever the depth: it steps by what one of the narrowest frames stands for."""
    widths = tuple(range(3, 3 + levels))
    model = small(widths=widths, stride=stride, up_kernel=up, doubled=doubled, direct=direct)
    check(model, hops=12)
    assert (model.hop, model.latency) == (stride ** (levels - 1), 0)


@quick
@given(st.integers(0, 9), st.sampled_from(["none", "batch"]), st.sampled_from([0, 5]))
def test_centred_look_ahead_is_latency(onset: int, norm: str, taps: int) -> None:
    model = small(form="centred", norm=norm, taps=taps)
    check(model, onset=onset, hops=40)
    assert model.latency > 2 * 4


def test_look_ahead_adds_up() -> None:
    """A kernel sees 2 samples ahead, the next one 2 kept frames of 2, and a line ends 1 later."""
    model = small(form="centred", widths=(3, 4), up_kernel=1)
    assert model.latency == 2 + 2 * 2 + 1


@pytest.mark.parametrize("doubled", [False, True])
def test_filters_of_a_causal_form_are_latency(doubled: bool) -> None:
    model = small(taps=5, doubled=doubled)
    check(model, hops=30)
    assert model.latency > 0


@pytest.mark.parametrize("norm", ["none", "batch", "group"])
@pytest.mark.parametrize("taps", [0, 5])
def test_in_blocks(norm: str, taps: int) -> None:
    form = SMALL | VALID | {"norm": norm, "taps": taps, "stride": 2}
    window, given = segment_sizes(form, output=30)
    lost = (window - given) // 2
    blocks = {"window": window, "hop": 12, "lookahead": lost + 3, "crossfade": 7}
    model = small(**form, blocks=blocks, channels=2)
    check(model)
    assert (model.hop, model.latency) == (12, lost + 10)


@pytest.mark.parametrize("doubled, direct", [(True, False), (False, True)])
def test_segment_sizes(doubled: bool, direct: bool) -> None:
    form = SMALL | VALID | {"doubled": doubled, "direct": direct, "taps": 0, "stride": 2}
    window, given = segment_sizes(form, output=25)
    blocks = {"window": window, "hop": given, "lookahead": (window - given) // 2, "crossfade": 0}
    model = small(**form, blocks=blocks)
    found = model.network.network.layer.segment(torch.randn(1, window, 1))
    assert found.shape[1] == given >= 25
    assert segment_sizes(form, window=window) == (window, given)
    assert segment_sizes(form, window=window + 1)[0] > window + 1


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("consistency", ["none", "equal", "remainder"])
def test_stems_and_channels(channels: int, consistency: str) -> None:
    model = small(channels=channels, stems=("a", "b", "c"), consistency=consistency)
    check(model)
    if consistency != "none":
        check_sum(model)


@pytest.mark.parametrize("output", ["tanh", "clip", "linear"])
def test_outputs(output: str) -> None:
    check(small(output=output))


def test_in_float32() -> None:
    for form in ({}, {"form": "centred", "norm": "batch"}):
        verify_streaming(small(**form), dtype=torch.float32, batch=2)


def test_learns() -> None:
    """All but the filters."""
    model = small(norm="batch", taps=5).train()
    model(torch.randn(2, 160, 1)).square().sum().backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            assert torch.isfinite(parameter.grad).all()
        else:
            assert parameter.shape[1:] == (1, 5), name


@pytest.mark.parametrize(
    "form, hops",
    [
        ({}, 4),
        ({"form": "centred", "norm": "batch", "channels": 2, "widths": (3, 4)}, 8),
        (VALID | {"norm": "group", "taps": 5, "blocks": "any", "widths": (8, 16)}, 1),
    ],
)
def test_engine(form: dict, hops: int) -> None:
    torch.set_default_dtype(torch.float32)
    if "blocks" in form:
        window, given = segment_sizes(SMALL | form | {"stride": 2}, output=32)
        lost = (window - given) // 2
        blocks = {"window": window, "hop": 16, "lookahead": lost, "crossfade": 4}
        form = form | {"blocks": blocks}
    check_exported(small(**form), hops, steps=8)


def test_configurations() -> None:
    default, published = (create("waveunet", name) for name in ("low-latency", "published"))
    assert (default.hop, default.latency) == (128, 0)
    assert (published.rate, published.hop, published.latency) == (22050, 4096, 0)
    # The paper counts 10.2 million.
    assert 10.1e6 < sum(p.numel() for p in published.parameters()) < 10.4e6


BLOCKS = {"window": 65, "hop": 8, "lookahead": 20, "crossfade": 0}


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"widths": (3,)}, "widths 1"),
        ({"widths": (3, 0)}, r"widths\[1\] 0"),
        ({"stride": 1}, "stride 1"),
        ({"up_kernel": 4}, "they are odd"),
        ({"taps": 4}, "not 4"),
        ({"norm": "layer"}, "norm 'layer'"),
        ({"norm": "group"}, "form 'valid'"),
        (VALID, "runs in blocks"),
        ({"blocks": BLOCKS}, "no other does"),
        (VALID | {"norm": "group", "widths": (8, 9), "blocks": BLOCKS}, "multiples of 8"),
        (VALID | {"blocks": BLOCKS | {"window": 66}}, "the next possible one is"),
        (VALID | {"blocks": BLOCKS | {"lookahead": 2}}, "lookahead 2"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("waveunet", **(SMALL | wrong))
