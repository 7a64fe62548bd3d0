"""Deep Clustering and Chimera against their naive twins."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from architectures import check_sum, check_twin, with_weights

from rtsep import create
from rtsep.errors import WrongCall
from rtsep.layers import OnlineClustering
from rtsep.models.embedding import UNITS
from rtsep.models.spectral import MASKS
from rtsep.naive.deepclustering import embeddings
from rtsep.naive.trunk import mixed
from rtsep.streaming import StateSpec, verify_streaming
from rtsep.verification import verify

ARCHITECTURES = ("deepclustering", "chimera")
SMALL = {"rate": 1000, "window": 32, "hop": 8, "synthesis": 16, "hidden": 5, "embedding": 3}
CENTRED = {"synthesis": None, "padding": 16, "feature": "decibels", "norm": "affine"}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")
check = partial(check_twin, hops=50)


def small(arch: str, **options):
    torch.manual_seed(1)
    return with_weights(create(arch, **(SMALL | options)).eval(), 0.2, 0.6)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("form", [{}, CENTRED | {"stems": ("a", "b", "c")}])
def test_forms(arch: str, channels: int, form: dict) -> None:
    model = small(arch, channels=channels, **form)
    check(model)
    assert (model.hop, model.latency) == (8, 24 if form else 8)


@pytest.mark.parametrize("arch", ARCHITECTURES)
@pytest.mark.parametrize("consistency, remainder", [("equal", None), ("remainder", "a")])
def test_stems_sum_to_the_mixture(arch: str, consistency: str, remainder: str | None) -> None:
    model = small(arch, stems=("a", "b", "c"), consistency=consistency, remainder=remainder)
    check(model)
    check_sum(model, samples=501)


def test_clusters_sum_to_the_mixture_by_themselves() -> None:
    x = torch.randn(2, 1, 701)
    stems = small("deepclustering", stems=("a", "b", "c")).separate(x)
    torch.testing.assert_close(stems.sum(1), x)
    # At first nothing is known of the sources; then the stems differ.
    torch.testing.assert_close(stems[:, 0, :, :200], x[..., :200] / 3)
    assert (stems[:, 0, :, 400:] - stems[:, 1, :, 400:]).abs().mean() > 0.01


@pytest.mark.parametrize("mask", MASKS)
def test_masks(mask: str) -> None:
    check(small("chimera", mask=mask))


@pytest.mark.parametrize("activation", UNITS)
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_embeddings(arch: str, activation: str) -> None:
    model = small(arch, activation=activation, channels=2)
    x = torch.randn(2, 2, 160)
    found = model.embed(x)
    assert found.shape == (2, 20, 17, 2, 3)
    expected = embeddings(model, mixed(model, x))
    torch.testing.assert_close(found, expected[:, : found.shape[1]])
    torch.testing.assert_close(found.norm(dim=-1), torch.ones(found.shape[:-1]))
    verify_streaming(model.embedder)


def test_a_stream_runs_no_embedding_that_is_not_heard() -> None:
    """What Chimera streams is Mask Inference; its embeddings train the trunk."""
    sizes = {k: v for k, v in SMALL.items() if k != "embedding"}
    model, plain = small("chimera"), create("maskinference", mask="softmax", **sizes)
    assert StateSpec.of(model.initial(1)[0]) == StateSpec.of(plain.initial(1)[0])
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if k.startswith("network.")})
    x = torch.randn(1, 80, 1)
    assert torch.equal(model(x), plain(x))
    model.embed(torch.randn(1, 1, 80)).sum().backward()
    assert all(p.grad is not None for p in model.trunk.parameters())


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_in_every_engine(arch: str) -> None:
    torch.set_default_dtype(torch.float32)
    try:
        model = small(arch, channels=2)
        verify_streaming(model, dtype=torch.float32, hops=50)
        verdict = verify(model)
    finally:
        torch.set_default_dtype(torch.float64)
    assert verdict.ok, verdict


def test_when_the_stems_part() -> None:
    """About 300 ms of sound, of which 16 frames are remembered, in the low-latency form."""
    model = create("deepclustering", hidden=8)
    clusters = next(part for part in model.modules() if isinstance(part, OnlineClustering))
    assert clusters.ready * model.hop == 0.3 * model.rate
    state = model.initial(1)[0]
    spec = StateSpec.of(state)
    memory = dict(zip(spec.names, spec.flatten(state), strict=True))["1.branches.0.1.vectors"]
    assert memory.shape == (1, 16, 257, 20)
    assert model.latency == 64


@pytest.mark.parametrize(
    "arch, wrong, said",
    [
        ("deepclustering", {"embedding": 0}, "embedding 0"),
        ("deepclustering", {"settle": -1.0}, "settle -1"),
        ("deepclustering", {"follow": 0.0}, "follow 0"),
        ("deepclustering", {"sharpness": -1.0}, "sharpness -1"),
        ("deepclustering", {"activation": "round"}, "activation 'round'"),
        ("deepclustering", {"mask": "sigmoid"}, "mask"),
        ("chimera", {"embedding": 0}, "embedding 0"),
        ("chimera", {"activation": "round"}, "activation 'round'"),
        ("chimera", {"mask": "round"}, "mask 'round'"),
        ("chimera", {"settle": 0.3}, "settle"),
    ],
)
def test_refuses(arch: str, wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create(arch, **(SMALL | wrong))
