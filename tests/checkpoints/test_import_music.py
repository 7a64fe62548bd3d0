"""Public checkpoints of Open-Unmix and HS-TasNet, and a clear word for what does not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from public_music import FORMS, HSTASNET, OPENUNMIX

from rtsep.checkpoints.importers import convert, detect, read
from rtsep.errors import Failure
from rtsep.streaming import verify_streaming


def public(format: str, **changes):
    """(config, tensors, function) of a public class."""
    torch.manual_seed(1)
    form, config = FORMS[format]
    config = config | changes
    return config, *form(config)


def target(**changes) -> dict:
    return {"target": OPENUNMIX["target"] | changes}


@pytest.mark.parametrize("hop", [8, 16, 4])
@pytest.mark.parametrize("changes", [{}, {"nb_channels": 1, "nb_layers": 1}, {"max_bin": 17}])
@torch.no_grad()
def test_openunmix(hop: int, changes: dict) -> None:
    config, tensors, run = public("openunmix", n_hop=hop, **target(**changes))
    model = convert(tensors, "openunmix", config)
    x = torch.randn(2, model.channels, 240)
    # Between the edges, where the public form weighs windows the more and reflects the end.
    inside = slice(16 - hop if hop < 16 else 0, 240 - 16 - 32)
    torch.testing.assert_close(
        model.separate(x)[..., inside], run(x)[..., inside], rtol=2e-5, atol=2e-5
    )
    verify_streaming(model, hops=16)
    assert (model.stems, model.rate) == (("vocals", "drums"), 8000)


@pytest.mark.parametrize("changes", [{}, {"small": False}, {"stereo": False, "num_sources": 1}])
@torch.no_grad()
def test_hstasnet(changes: dict) -> None:
    config, tensors, run = public("hstasnet", **changes)
    model = convert(tensors, "hstasnet", config)
    x = torch.randn(2, model.channels, 128)
    torch.testing.assert_close(model.separate(x), run(x), rtol=2e-5, atol=2e-5)
    verify_streaming(model, hops=16)
    assert len(model.stems) == config["num_sources"]


@torch.no_grad()
def test_one_target_alone() -> None:
    config, tensors, run = public("openunmix", targets=["bass"])
    prefix = "target_models.bass."
    alone = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    model = convert(alone, "openunmix", config["target"], rate=8000)
    assert (model.stems, model.hop, model.latency) == (("stem1",), 8, 24)
    x = torch.randn(1, 2, 160)
    inside = slice(8, 110)
    torch.testing.assert_close(model.separate(x)[..., inside], run(x)[..., inside])


@torch.no_grad()
def test_a_residual_takes_what_is_left() -> None:
    config, tensors, _ = public("openunmix", residual=True)
    model = convert(tensors, "openunmix", config)
    assert model.stems == ("vocals", "drums", "residual")
    assert model.remainder == "residual"
    x = torch.randn(1, 2, 100)
    torch.testing.assert_close(model.separate(x).sum(1), x)


@pytest.mark.parametrize("format", FORMS)
def test_known_by_its_tensors(format: str) -> None:
    assert detect(public(format)[1]) == format


def test_the_order_of_the_targets_is_the_settings() -> None:
    config, tensors, _ = public("openunmix")
    tensors = dict(sorted(tensors.items()))
    assert convert(tensors, "openunmix", config).stems == ("vocals", "drums")
    assert convert(tensors, "openunmix", {"sample_rate": 8000}).stems == ("drums", "vocals")


@torch.no_grad()
def test_arguments_pickled_beside_the_tensors(tmp_path: Path) -> None:
    config, tensors, run = public("hstasnet")
    stored = config | {"rnn_klass": None, "torch_compile": False}
    path = tmp_path / "public.pt"
    torch.save({"model": tensors, "config": pickle.dumps(stored)}, path)
    x = torch.randn(1, 2, 64)
    torch.testing.assert_close(read(path).separate(x), run(x), rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize(
    "config, said",
    [
        (pickle.dumps({"rnn_klass": Path}), "ask for pathlib.*, which is code"),
        (pickle.dumps({"rnn_klass": torch.nn.GRU}), "torch.nn.modules.rnn.GRU, which is code"),
        (pickle.dumps([1]), "a list, not a dictionary"),
        (b"bytes", "can't be read"),
    ],
)
def test_arguments_that_are_more_than_plain(tmp_path: Path, config: bytes, said: str) -> None:
    path = tmp_path / "public.pt"
    torch.save({"model": public("hstasnet")[1], "config": config}, path)
    with pytest.raises(Failure, match=said):
        read(path)


@pytest.mark.parametrize(
    "format, changes, said",
    [
        ("openunmix", {"niter": 1}, "Wiener filter .* sees the whole signal; .*Blockwise"),
        ("openunmix", {"n_fft": 64}, "n_fft is 64 by the settings, 32 by the tensors"),
        ("openunmix", {"n_hop": 17}, "left padding of 16"),
        ("openunmix", {"sample_rate": 44100}, "sample_rate is 44100"),
        (
            "openunmix",
            {"targets": ["vocals"]},
            "targets are vocals, those of the",
        ),
        ("openunmix", target(nb_layers=3), "nb_layers is 3"),
        ("openunmix", target(unidirectional=False), "unidirectional is False"),
        ("hstasnet", {"small": False}, "small is False by the settings, True by the tensors"),
        ("hstasnet", {"use_gru": True}, "use_gru is True"),
        ("hstasnet", {"overlap_len": 9}, "left padding of 8"),
        ("hstasnet", {"num_sources": 4}, "num_sources is 4"),
    ],
)
def test_settings_that_do_not_fit(format: str, changes: dict, said: str) -> None:
    config, tensors, _ = public(format)
    with pytest.raises(Exception, match=said) as raised:
        convert(tensors, format, config | changes)
    assert type(raised.value).__module__ == "rtsep.errors"


def _without(key: str):
    return lambda tensors: tensors.pop(key)


def _changed(key: str, value: torch.Tensor):
    return lambda tensors: tensors.update({key: value})


@pytest.mark.parametrize(
    "format, change, said",
    [
        ("openunmix", _without("target_models.drums.fc2.weight"), "drums.fc2.weight is missing"),
        ("openunmix", _changed("target_models.drums.fc2.weight", torch.ones(5, 9)), r"\(5, 9\)"),
        ("openunmix", _changed("target_models.drums.input_scale", torch.ones(11)), "another size"),
        ("openunmix", _changed("target_models.drums.extra", torch.ones(1)), "no place"),
        ("openunmix", _changed("stft.window", torch.ones(32)), "stft.window is no Hann window"),
        (
            "openunmix",
            _changed("target_models.drums.lstm.weight_ih_l0_reverse", torch.ones(20, 5)),
            "target_models.drums.lstm run backwards in time, too; .*Blockwise",
        ),
        ("hstasnet", _without("pre_spec_branch.bias_hh_l0"), "bias_hh_l0 is missing"),
        ("hstasnet", _changed("extra", torch.ones(1)), "no place"),
        ("hstasnet", _changed("conv_encode.bias", torch.full((14,), torch.nan)), "NaN"),
        ("hstasnet", _changed("fusion_branch.weight_ih_l0", torch.ones(18, 6)), "3 gates per unit"),
    ],
)
def test_tensors_that_do_not_fit(format: str, change, said: str) -> None:
    config, tensors, _ = public(format)
    change(tensors)
    with pytest.raises(Failure, match=said):
        convert(tensors, format, config)


def test_asks_for_what_shapes_do_not_tell() -> None:
    _, tensors, _ = public("hstasnet")
    with pytest.raises(Failure, match="does not tell sample_rate, overlap_len"):
        convert(tensors, "hstasnet", {})
    convert(tensors, "hstasnet", {"overlap_len": HSTASNET["overlap_len"]}, rate=8000)
