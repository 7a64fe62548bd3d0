"""Conv-TasNet, with every option, against its naive twin."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin
from hypothesis import given, settings
from hypothesis import strategies as st

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.models import configurations
from rtsep.models.convtasnet import ACTIVATIONS, MASKS
from rtsep.streaming import StateSpec, verify_streaming

SMALL = {
    "filters": 10,
    "kernel": 8,
    "bottleneck": 5,
    "hidden": 7,
    "skip": 6,
    "blocks": 2,
    "repeats": 2,
}
FOURIER = {"basis": "fourier", "filters": None}
quick = settings(max_examples=12, deadline=None)
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=40)


def small(**options):
    model = create("convtasnet", **(SMALL | options))
    for parameter in model.parameters():
        if parameter.dim() < 3:
            torch.nn.init.normal_(parameter, 0.2, 0.4)
    return model


@st.composite
def bases(draw) -> dict:
    """Windows, strides that do and don't divide them, and any padding of the public form."""
    stride = draw(st.integers(2, 6))
    kernel = stride + draw(st.integers(0, 8))
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": draw(st.none() | st.integers(0, kernel - stride)),
    }


@quick
@given(bases(), st.sampled_from(["frame", "cumulative"]), st.integers(0, 20))
def test_any_basis(basis: dict, norm: str, onset: int) -> None:
    model = small(**basis, norm=norm)
    check(model, onset=onset)
    kernel, stride, padding = basis["kernel"], basis["stride"], basis["padding"]
    assert kernel - stride <= model.latency < kernel
    if padding is None or (kernel - stride - padding) % stride == 0:
        assert model.latency == kernel - stride


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask: str) -> None:
    check(small(mask=mask, stems=("a", "b", "c")))


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activations(activation: str) -> None:
    check(small(activation=activation, padding=0))


@quick
@given(
    st.integers(0, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4)
)
def test_sizes(skip: int, taps: int, blocks: int, repeats: int, stems: int) -> None:
    check(
        small(
            skip=skip,
            taps=taps,
            blocks=blocks,
            repeats=repeats,
            stems=[f"s{i}" for i in range(stems)],
        )
    )


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("skip", [0, 6])
def test_bias_head_and_skips(bias: bool, head: bool, skip: int) -> None:
    check(small(bias=bias, head=head, skip=skip, padding=0, norm="cumulative"))


@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "b")])
@pytest.mark.parametrize("channels", [1, 2])
def test_stems_sum_to_the_mixture(consistency: str, remainder: str | None, channels: int) -> None:
    model = small(
        channels=channels, stems=("a", "b", "c"), consistency=consistency, remainder=remainder
    )
    check(model)
    check_sum(model)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    "windows", [{}, {"kernel": 18, "stride": 4, "synthesis": 8}, {"kernel": 9, "stride": 3}]
)
@pytest.mark.parametrize("options", [{}, {"norm": "cumulative", "adaptation": 0.004, "skip": 0}])
def test_on_a_spectrum(channels: int, windows: dict, options: dict) -> None:
    basis = FOURIER | {"channels": channels, "stems": ("a", "b", "c"), "consistency": "remainder"}
    model = small(**basis | windows | options)
    check(model)
    check_sum(model)
    p = model.params
    assert model.latency == (p["synthesis"] or p["kernel"]) - p["stride"]


@pytest.mark.parametrize("norm", ["frame", "cumulative"])
def test_in_float32(norm: str) -> None:
    check(small(norm=norm), dtype=torch.float64)
    verify_streaming(small(norm=norm, **FOURIER), dtype=torch.float32)
    verify_streaming(small(norm=norm, consistency="equal"), dtype=torch.float32)


@torch.no_grad()
def test_silence_and_noise_after_it() -> None:
    model = small(**FOURIER, norm="cumulative", adaptation=0.004)
    x = torch.cat([torch.zeros(1, 80, 1), torch.randn(1, 80, 1), torch.zeros(1, 80, 1)], 1)
    assert torch.isfinite(model(x)).all()


def test_layouts() -> None:
    model = small(channels=2, stems=("a", "b", "c"))
    x = torch.randn(2, 2, 37)
    y = model.separate(x)
    assert y.shape == (2, 3, 2, 37)
    assert torch.equal(y.permute(0, 3, 1, 2), model(x.transpose(1, 2)))


def test_state_is_small_and_named() -> None:
    model = small(norm="cumulative")
    state, onset = model.initial(1)
    assert onset == model.latency == 4
    names = StateSpec.of(state).names
    assert any(name.endswith("blocks.3.past") for name in names)
    assert any(name.endswith("blocks.0.norm1.frames") for name in names)


def test_roles() -> None:
    model = small(stems=("a", "b", "c"))
    assert (model.primary, model.remainder) == ("a", "c")
    model = small(stems=("a", "b", "c"), primary="b", remainder="a")
    assert (model.primary, model.remainder) == ("b", "a")


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"stems": ()}, "at least one"),
        ({"stems": ("a", "a")}, "each name once"),
        ({"stems": ("../a", "b")}, "letters, digits"),
        ({"primary": "c"}, "primary stem 'c'"),
        ({"remainder": "c"}, "remainder stem 'c'"),
        ({"channels": 3}, "mono"),
        ({"rate": 0}, "rate 0"),
        ({"norm": "batch"}, "norm 'batch'"),
        ({"mask": "round"}, "mask 'round'"),
        ({"activation": "round"}, "activation 'round'"),
        ({"basis": "round"}, "basis 'round'"),
        (FOURIER | {"filters": 4}, "filters 4: for the basis 'learned' alone"),
        (FOURIER | {"activation": "relu"}, "activation relu: for the basis 'learned' alone"),
        (FOURIER | {"padding": 0}, "padding 0: for the basis 'learned' alone"),
        (FOURIER | {"kernel": 20, "stride": 4, "synthesis": 12}, "one or two hops of 4, not 12"),
        (FOURIER | {"adaptation": -1.0}, "adaptation -1"),
        ({"synthesis": 8}, "synthesis 8: for the basis 'fourier' alone"),
        ({"adaptation": 1.0}, "adaptation 1.0: for the basis 'fourier' alone"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
        ({"stride": 9}, "stride 9 skips"),
        ({"padding": 5}, "padding 5"),
        ({"blocks": 0}, "blocks 0"),
        ({"bogus": 1}, "bogus"),
        ({"kernel": "x"}, "convtasnet"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("convtasnet", **(SMALL | wrong))


@pytest.mark.parametrize(
    "config, rate, channels, parameters, late",
    [
        ("low-latency", 16000, 1, 1.96e6, 64),
        ("published-16k", 16000, 1, 5.07e6, 16),
        ("paper", 8000, 1, 5.05e6, 8),
        ("cadenza", 44100, 2, 10.8e6, 10),
    ],
)
def test_named_configurations(config, rate, channels, parameters, late) -> None:
    model = create("convtasnet", config)
    assert (model.rate, model.channels, model.latency) == (rate, channels, late)
    size = sum(p.numel() for p in model.parameters())
    assert size == pytest.approx(parameters, rel=0.03)
    assert list(configurations("convtasnet"))[0] == "low-latency"


def test_parameters_go_before_the_configuration() -> None:
    model = create("convtasnet", "paper", filters=10, blocks=1, repeats=1)
    assert (model.rate, model.params["filters"], model.params["hidden"]) == (8000, 10, 512)
    with pytest.raises(WrongCall, match="no configuration 'huge'; there is low-latency, publ"):
        create("convtasnet", "huge")
