"""Demucs in blocks, with every option, against its naive twin; and that no block is heard."""

from __future__ import annotations

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from architectures import check_sum, check_twin

import rtsep
from rtsep import create, engines
from rtsep.errors import Failure, WrongCall
from rtsep.models import configurations
from rtsep.naive import twin

BLOCKS = {"window": 160, "hop": 32, "lookahead": 24, "crossfade": 12}
SMALL = {"hidden": (4, 8), "blocks": BLOCKS, "norm_from": 2}
FORMS = {
    "v2": {"layers": 2, "activation": "relu", "around": 2},
    "v3": {
        "layers": 0,
        "norm_from": 1,
        "groups": 2,
        "branches": 1,
        "compression": 2,
        "recurrent_from": 1,
        "attentive_from": 1,
        "resample": True,
    },
    "both ways": {"branches": 3, "branch_layers": 1, "attentive_from": 0, "compression": 1},
    "plain": {"gated": False, "around": 0, "normalise": False, "kernel": (6, 4), "stride": 2},
}
# Windows and filters keep the type they were made in; the twin's are exact.
pytestmark = pytest.mark.usefixtures("made_in_float64")


def small(**options):
    model = create("demucs-chunked", **(SMALL | options))
    for name, parameter in model.named_parameters():
        if name.endswith("scale"):
            torch.nn.init.uniform_(parameter, 0.3, 0.8)
    return model.eval()


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("channels", [1, 2])
def test_forms(form: dict, channels: int) -> None:
    model = small(**form, channels=channels, stems=("a", "b", "c"))
    with torch.no_grad():
        check_twin(model, hops=8, batch=2)
    assert (model.hop, model.latency) == (32, 24 + 12)


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("consistency", ["equal", "remainder"])
def test_stems_sum_to_the_mixture(consistency: str, channels: int) -> None:
    model = small(channels=channels, stems=("a", "b"), consistency=consistency)
    check_sum(model)
    x = torch.randn(2, channels, 101)
    torch.testing.assert_close(twin(model)(x.transpose(1, 2)), model(x.transpose(1, 2)))


@torch.no_grad()
def test_long_windows_are_recurrent_in_pieces() -> None:
    blocks = {"window": 2000, "hop": 500, "lookahead": 400, "crossfade": 100}
    model = small(**FORMS["v3"] | {"stride": (2, 2), "resample": False}, blocks=blocks)
    x = torch.randn(1, 1200, 1)
    torch.testing.assert_close(twin(model)(x), model(x))


def test_in_an_exported_step() -> None:
    """Recurrence both ways, attention, norms over the window, resampling: all in one graph."""
    torch.set_default_dtype(torch.float32)
    blocks = {"window": 1280, "hop": 1024, "lookahead": 128, "crossfade": 64}
    model = small(**FORMS["v3"] | {"layers": 1, "branch_layers": 1}, blocks=blocks)
    x = torch.randn(1, 1, 6 * 1024)
    engine, found = engines.build(model, "onnxruntime", chunk=1024), []
    for at in range(0, x.shape[-1], 1024):
        stems = np.empty(engine.spec.stems_shape, np.float32)
        engine.process(np.ascontiguousarray(x[..., at : at + 1024].numpy()), stems)
        found.append(stems)
    engine.close()
    expected = model.separate(x).numpy()[..., : -model.latency]
    off = np.abs(np.concatenate(found, -1)[..., model.latency :] - expected).max()
    torch.set_default_dtype(torch.float64)
    assert off <= 1e-5 * np.abs(expected).max()


@torch.no_grad()
@pytest.mark.parametrize("sound", ["tone", "music"])
def test_no_block_is_heard(sound: str) -> None:
    """Every window has a level and a context of its own; where they meet, nothing jumps.

    How sharply the waveform bends on average where one block becomes the next, against all other
    places.
    """
    rate, hop = 16000, 400
    mixture = torch.sin(2 * math.pi * 220 * torch.arange(2 * rate) / rate)
    if sound == "music":
        path = Path(rtsep.__file__).parent / "demo" / "guitar.flac"
        mixture = torch.from_numpy(soundfile.read(path, frames=2 * rate, always_2d=True)[0][:, 0])
    torch.manual_seed(1)
    made = small(blocks={"window": 700, "hop": hop, "lookahead": 20, "crossfade": 0})

    def at_seams(crossfade: int) -> float:
        blocks = made.params["blocks"] | {"crossfade": crossfade}
        model = small(blocks=blocks)
        model.load_state_dict(made.state_dict())
        y = model.separate(mixture[None, None])[0, 0, 0, 4 * hop : -4 * hop].diff(n=2).abs()
        # Blocks meet a whole number of hops after the first, less what they are late.
        place = (torch.arange(len(y)) + 1 + model.latency) % hop
        seams = (place == 0) | (place == hop - 1)
        # Two levels of stride 4 have a texture of 16 samples: compared with its other repetitions.
        others = ~seams & ((place % 16 == 0) | (place % 16 == 15))
        return float(y[seams].square().mean().sqrt() / y[others].square().mean().sqrt())

    cut, faded = at_seams(0), at_seams(200)
    print(f"{cut:.2f} times as sharp where windows are cut, {faded:.2f} where they are cross-faded")
    assert cut > 1.15
    assert faded < 1.1


@torch.no_grad()
def test_hybrid() -> None:
    pytest.importorskip("demucs.htdemucs", reason="the extra [demucs] is not installed")
    tiny = dict(segment="1/4", nfft=256, channels=4, depth=2, bottom_channels=8, t_layers=1)
    model = create(
        "demucs-chunked",
        rate=4000,
        channels=2,
        stems=("a", "b"),
        blocks={"window": 1000, "hop": 500, "lookahead": 200, "crossfade": 100},
        hybrid=tiny | {"t_heads": 2, "dconv_comp": 2},
    ).eval()
    x = torch.randn(1, 3000, 2)
    torch.testing.assert_close(twin(model)(x), model(x))
    state, latency = model.initial(1)
    assert latency == 300
    parts = []
    for at in range(0, 3000, 500):
        y, state = model.step(x[:, at : at + 500], state)
        parts.append(y)
    torch.testing.assert_close(torch.cat(parts, 1)[:, 300:], model(x)[:, :-300])
    with pytest.raises(Failure, match="can't be exported: --engine eager"):
        engines.build(model.float(), "onnxruntime", chunk=500)


def test_hybrid_names_its_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "demucs.htdemucs", None)
    with pytest.raises(Failure, match=r"rtsep\[demucs\]"):
        create("demucs-chunked", "htdemucs")


@pytest.mark.parametrize("name", ["low-latency", "balanced", "quality"])
def test_configurations(name: str) -> None:
    blocks = configurations("demucs-chunked")[name]["blocks"]
    model = create("demucs-chunked", name, hidden=(4, 4))
    assert next(iter(configurations("demucs-chunked"))) == "low-latency"
    assert (model.hop, model.latency) == (blocks["hop"], blocks["lookahead"] + blocks["crossfade"])


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"blocks": BLOCKS | {"crossfade": 33}}, "cross-fade of 33"),
        ({"blocks": BLOCKS | {"window": 60}}, "window of 60"),
        ({"blocks": {"window": 160}}, "hop"),
        ({"kernel": (8, 8, 8)}, "one for each of the 2"),
        ({"activation": "round"}, "activation 'round'"),
        ({"branches": 4}, "branches 4"),
        ({"layers": -1}, "layers -1"),
        ({"norm_from": 0, "groups": 3}, "3 groups"),
        ({"consistency": "some"}, "consistency 'some'"),
        ({"stems": ("a",), "consistency": "remainder"}, "nothing to estimate"),
    ],
)
def test_refuses(wrong: dict, said: str) -> None:
    with pytest.raises(WrongCall, match=said):
        create("demucs-chunked", **(SMALL | wrong))
