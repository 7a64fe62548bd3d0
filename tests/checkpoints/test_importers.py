"""Public checkpoints in, ours out: every configuration, and a clear word for what does not fit."""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import pytest
import torch
from public_forms import ASTEROID, CADENZA, FORMS, NAPLAB
from safetensors.torch import save_file
from small_separator import save_model

import rtsep
from rtsep.checkpoints.importers import FORMATS, convert, detect, read
from rtsep.cli.import_ import command
from rtsep.errors import Failure, WrongCall
from rtsep.streaming import verify_streaming

VARIANTS = [
    ("asteroid", {}),
    ("asteroid", {"skip_chan": 0}),
    ("asteroid", {"norm_type": "cgLN", "encoder_activation": "relu", "mask_act": "relu"}),
    ("asteroid", {"mask_act": "softmax", "n_src": 3, "stride": 8}),
    ("asteroid", {"kernel_size": 11, "stride": 4, "norm_type": "cgLN"}),
    ("asteroid", {"kernel_size": 10, "stride": 2, "conv_kernel_size": 4, "n_src": 1}),
    ("asteroid", {"n_blocks": 3, "n_repeats": 1, "skip_chan": 0, "mask_act": "tanh"}),
    ("asteroid", {"encoder_activation": "sigmoid", "conv_kernel_size": 2}),
    ("naplab", {}),
    ("naplab", {"layer": 3, "stack": 1, "kernel": 2, "num_spk": 3}),
    ("naplab", {"sr": 11025, "kernel": 5}),
    ("cadenza", {}),
    ("cadenza", {"mask_nonlinear": "softmax", "C": 3, "audio_channels": 1}),
    ("cadenza", {"L": 9, "P": 2, "X": 3, "R": 1, "C": 1}),
]


def public(format: str, **changes):
    """(config, tensors, function) of a public class."""
    form, config = FORMS[format]
    config = config | changes
    return config, *form(config)


@pytest.mark.parametrize("format, changes", VARIANTS)
@torch.no_grad()
def test_equals_the_public_form(format: str, changes: dict) -> None:
    config, tensors, run = public(format, **changes)
    model = convert(tensors, format, config)
    x = torch.randn(2, model.channels, 203)
    expected = run(x)
    # Where the public form ends with its last window, ours would have had another one.
    hop = model.params["stride"]
    ends = expected.shape[-1] - (0 if format == "naplab" else model.params["kernel"] - hop)
    torch.testing.assert_close(
        model.separate(x)[..., :ends], expected[..., :ends], rtol=2e-5, atol=2e-5
    )
    verify_streaming(model, hops=16)


def test_what_is_taken_over() -> None:
    model = convert(
        public("cadenza")[1], "cadenza", CADENZA, stems=("vocals", "rest"), primary="rest"
    )
    assert (model.rate, model.channels, model.hop, model.latency) == (44100, 2, 4, 4)
    assert (model.stems, model.primary, model.remainder) == (("vocals", "rest"), "rest", "rest")
    model = convert(public("naplab")[1], "naplab", NAPLAB, rate=16000)
    assert (model.rate, model.stems) == (16000, ("stem1", "stem2"))


def test_half_precision_is_widened() -> None:
    config, tensors, _ = public("asteroid")
    model = convert({k: v.half() for k, v in tensors.items()}, "asteroid", config)
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def test_the_tensors_are_our_own() -> None:
    config, tensors, _ = public("asteroid")
    model = convert(tensors, "asteroid", config)
    y = model.separate(torch.ones(1, 1, 50))
    for value in tensors.values():
        value.zero_()
    assert torch.equal(model.separate(torch.ones(1, 1, 50)), y)


NEEDED = [
    ("asteroid", ["sample_rate", "stride", "norm_type", "mask_act", "n_blocks"]),
    ("naplab", ["sr", "layer"]),
    ("cadenza", ["samplerate", "norm_type", "mask_nonlinear"]),
]


@pytest.mark.parametrize("format, needed", NEEDED)
def test_asks_by_name_for_what_shapes_do_not_tell(format: str, needed: list[str]) -> None:
    config, tensors, _ = public(format)
    with pytest.raises(Failure, match=f"does not tell {', '.join(needed)}: name them .*--config"):
        convert(tensors, format, {})
    for name in needed:
        with pytest.raises(Failure, match=f"does not tell {name}: name it in a JSON file"):
            convert(tensors, format, {k: v for k, v in config.items() if k != name})
    convert(tensors, format, {name: config[name] for name in needed})
    convert(tensors, format, {name: config[name] for name in needed[1:]}, rate=8000)


@pytest.mark.parametrize(
    "format, changes, said",
    [
        ("asteroid", {"norm_type": "gLN"}, "block.5 .9 layers. see the whole signal"),
        ("asteroid", {"norm_type": "BN"}, "norm_type 'BN' can't be streamed"),
        ("asteroid", {"causal": False}, "not causal"),
        ("asteroid", {"mask_act": "sometimes"}, "mask_act 'sometimes'"),
        ("asteroid", {"encoder_activation": "softmax"}, "encoder_activation 'softmax'"),
        ("asteroid", {"fb_name": "stft"}, "fb_name 'stft'"),
        ("asteroid", {"n_filters": 13}, "n_filters is 13 by the settings, 12 by the tensors"),
        ("asteroid", {"n_src": 3}, "n_src is 3"),
        ("asteroid", {"n_blocks": 3}, "n_blocks is 3, by the tensors there are 4"),
        ("asteroid", {"n_blocks": 0}, "n_blocks is 0"),
        ("asteroid", {"n_repeats": 3}, "n_repeats is 3"),
        ("asteroid", {"stride": 9}, "stride 9 skips"),
        ("asteroid", {"stride": 0}, "stride 0"),
        ("asteroid", {"stride": "four"}, "stride is 'four': it must be a whole number"),
        ("asteroid", {"stride": 4.5}, "stride is 4.5"),
        ("asteroid", {"stride": float("inf")}, "stride is inf"),
        ("asteroid", {"sample_rate": -1}, "rate -1"),
        ("asteroid", {"sample_rate": True}, "sample_rate is True"),
        ("naplab", {"causal": False}, "not causal"),
        ("naplab", {"kernel": 4}, "kernel is 4"),
        ("naplab", {"stack": 1}, "stack is 1"),
        ("cadenza", {"norm_type": "gLN"}, "net.3 .9 layers. see the whole signal"),
        ("cadenza", {"norm_type": "id"}, "norm_type 'id'"),
        ("cadenza", {"causal": False}, "not causal"),
        ("cadenza", {"audio_channels": 1}, "audio_channels is 1"),
        ("cadenza", {"X": 4}, "X is 4"),
        ("cadenza", {"mask_nonlinear": "sigmoid"}, "mask_nonlinear 'sigmoid'"),
    ],
)
def test_settings_that_do_not_fit(format: str, changes: dict, said: str) -> None:
    config, tensors, _ = public(format)
    with pytest.raises(Failure, match=said) as error:
        convert(tensors, format, config | changes)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("format", FORMS)
def test_every_tensor_is_needed_in_its_shape_and_finite(format: str) -> None:
    config, tensors, _ = public(format)
    for key, value in tensors.items():
        without = {k: v for k, v in tensors.items() if k != key}
        # Without it, this may be another class's checkpoint; it is never taken for this one.
        with pytest.raises(Failure) as error:
            convert(without, format, config)
        assert "\n" not in str(error.value)
        with pytest.raises(Failure):
            convert(tensors | {key: torch.zeros(3, 1, 2, 4)}, format, config)
        bad = value.clone()
        bad.view(-1)[-1] = float("nan")
        with pytest.raises(Failure, match=f"tensor {key} holds NaN or infinity"):
            convert(tensors | {key: bad}, format, config)


@pytest.mark.parametrize("format", FORMS)
def test_a_missing_an_extra_and_a_misshapen_tensor(format: str) -> None:
    config, tensors, _ = public(format)
    key = list(tensors)[-1]
    with pytest.raises(Failure, match=f"tensor {key} is missing"):
        convert({k: v for k, v in tensors.items() if k != key}, format, config)
    with pytest.raises(Failure, match="1 tensors have no place in the model, the first is more"):
        convert(tensors | {"more": torch.zeros(2)}, format, config)
    with pytest.raises(Failure, match=rf"tensor {key} is \(1, 2\), expected "):
        convert(tensors | {key: torch.zeros(1, 2)}, format, config)
    for other in set(FORMS) - {format}:
        with pytest.raises(Failure, match=f"those of {format}, not of {other}"):
            convert(tensors, other, config)


def test_layouts_of_models_that_are_not_causal() -> None:
    """By the keys alone, whatever the settings say."""
    config, tensors, _ = public("asteroid")
    renamed = {k.replace(".3.0.", ".3."): v for k, v in tensors.items()}
    with pytest.raises(Failure, match="masker.TCN.0.shared_block.3 to .* look ahead; .*Blockwise"):
        convert(renamed, "asteroid", config)
    config, tensors, _ = public("naplab")
    renamed = {k.replace(".gain", ".weight"): v for k, v in tensors.items()}
    with pytest.raises(Failure, match=r"TCN.TCN.0.dconv1d to .* \(4 layers\) look ahead"):
        convert(renamed, "naplab", config)
    config, tensors, _ = public("cadenza")
    lower = {"3.net.2": "3.net.1", "3.net.3": "3.net.2", "3.net.4": "3.net.3"}
    renamed = {}
    for key, value in tensors.items():
        old = next((part for part in lower if part in key), None)
        renamed[key.replace(old, lower[old]) if old else key] = value
    with pytest.raises(Failure, match="network.2.0.0.net.3.net.0 to .* look ahead"):
        convert(renamed, "cadenza", config)


def test_batch_norms() -> None:
    config, tensors, _ = public("asteroid")
    tensors["masker.TCN.0.shared_block.2.running_mean"] = torch.zeros(7)
    with pytest.raises(Failure, match="batch norms"):
        convert(tensors, "asteroid", config)


def test_unknown_format() -> None:
    with pytest.raises(WrongCall, match="no format 'spleeter'; there is asteroid, naplab, cadenza"):
        convert({}, "spleeter", {})


def test_files(tmp_path: Path) -> None:
    """asteroid's dictionary, a plain state dict, safetensors; settings inside or beside."""
    config, tensors, _ = public("asteroid")
    packed, plain, safe = (tmp_path / name for name in ("a.pt", "b.pth", "c.safetensors"))
    torch.save({"model_name": "ConvTasNet", "state_dict": tensors, "model_args": config}, packed)
    torch.save(tensors, plain)
    save_file(tensors, safe)
    wrapped, bare = tmp_path / "wrapped.json", tmp_path / "bare.json"
    wrapped.write_text(json.dumps({"format": "asteroid", "config": config}))
    bare.write_text(json.dumps(config))
    models = [
        read(packed, "asteroid"),
        read(plain, "asteroid", wrapped),
        read(safe, "asteroid", bare),
        read(safe, "asteroid", config),
        read(packed, "asteroid", {"sample_rate": 8000.0}),
    ]
    x = torch.randn(1, 1, 60)
    expected = models[0].separate(x)
    assert all(torch.equal(model.separate(x), expected) for model in models)


class Surprise:
    """What a checkpoint must not do when it is read."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('a checkpoint ran code')",))


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    cases = [
        (b"", "safely"),
        (b"no checkpoint at all", "safely"),
        (pickle.dumps(Surprise()), "safely"),
        (b"\x10\0\0\0\0\0\0\0{" + b"x" * 40, "safely"),
    ]
    for content, said in cases:
        path.write_bytes(content)
        with pytest.raises(Failure, match=said) as error:
            read(path, "asteroid")
        assert "\n" not in str(error.value)
    for content, said in [
        ([torch.zeros(1)], "no state dict but a list"),
        ({"a": 1}, "a is no tensor"),
        ({"state_dict": 3}, "no dictionaries"),
        ({}, "holds no tensors"),
        ({"state_dict": Surprise()}, "safely"),
    ]:
        torch.save(content, path)
        with pytest.raises(Failure, match=said):
            read(path, "asteroid")
    with pytest.raises(Failure, match="no such file"):
        read(tmp_path / "nothing.pt", "asteroid")
    with pytest.raises(Failure, match="no such file"):
        read(tmp_path, "asteroid")


@pytest.mark.parametrize(
    "content, said", [("", "no JSON"), ("{", "no JSON"), ("[1]", "no JSON object"), ("3", "object")]
)
def test_settings_that_are_none(tmp_path: Path, content: str, said: str) -> None:
    path, settings = tmp_path / "x.pt", tmp_path / "x.json"
    torch.save(public("naplab")[1], path)
    settings.write_text(content)
    with pytest.raises(Failure, match=said):
        read(path, "naplab", settings)
    with pytest.raises(Failure, match="can't read"):
        read(path, "naplab", tmp_path / "nothing.json")


def test_command(tmp_path: Path, capsys) -> None:
    config, tensors, _ = public("asteroid")
    source, settings, out = (tmp_path / n for n in ("a.pt", "a.json", "denoise.safetensors"))
    torch.save({"state_dict": tensors, "model_args": config}, source)
    settings.write_text(json.dumps(config | {"sample_rate": 16000}))
    options = {"format": "asteroid", "out": out, "config": settings}
    command(source, **options, stems="voice, noise", name="denoise-2", licence="MIT")
    assert (
        "denoise-2, from asteroid, voice, noise at 16000 Hz, 4 samples (0.25 ms) late"
        in capsys.readouterr().out
    )
    model = rtsep.load(out)
    assert (model.spec.name, model.stems, model.rate) == ("denoise-2", ("voice", "noise"), 16000)
    assert model.spec.card["imported"] == {"format": "asteroid", "file": "a.pt"}
    assert model.spec.card["licence"] == "MIT"
    with pytest.raises(Failure, match="exists: --overwrite"):
        command(source, **options)
    command(source, **options, overwrite=True)
    with pytest.raises(Failure, match="1 stems named, the checkpoint has 2"):
        command(source, **options, stems="voice", overwrite=True)
    with pytest.raises(WrongCall, match="primary stem 'drums'"):
        command(source, **options, primary="drums", overwrite=True)
    assert rtsep.load(out).stems == ("stem1", "stem2")


@pytest.mark.parametrize("format", FORMATS)
def test_the_format_is_told_by_content(format: str, tmp_path: Path) -> None:
    if format not in FORMS:
        pytest.skip(f"{format} is held against its recorded vectors")
    config, tensors, _ = public(format)
    assert detect(tensors) == format
    source, settings = tmp_path / "a.pt", tmp_path / "a.json"
    torch.save(tensors, source)
    settings.write_text(json.dumps(config))
    command(source, config=settings, out=tmp_path / "x.safetensors")
    model = rtsep.load(tmp_path / "x.safetensors")
    assert model.spec.card["imported"]["format"] == format


def test_a_checkpoint_that_is_of_no_format(tmp_path: Path) -> None:
    with pytest.raises(Failure, match="don't tell the format: name it, one of asteroid, naplab"):
        detect(["conv.weight"])
    save_model(tmp_path / "ours.safetensors")
    with pytest.raises(Failure, match="ours.safetensors is rtsep's already"):
        command(tmp_path / "ours.safetensors", out=tmp_path / "x.safetensors")


def test_nothing_half_written(tmp_path: Path) -> None:
    source = tmp_path / "a.pt"
    torch.save(public("asteroid")[1], source)
    with pytest.raises(Failure, match="does not tell"):
        command(source, format="asteroid", out=tmp_path / "x.safetensors")
    assert [path.name for path in tmp_path.iterdir()] == ["a.pt"]


def test_sizes_of_the_bases() -> None:
    """Without padding, latency is the window less a hop, rounded up to whole hops."""
    for kernel, stride, late in [(8, 4, 4), (11, 4, 8), (9, 4, 8), (10, 2, 8), (8, 8, 0)]:
        config, tensors, _ = public("asteroid", kernel_size=kernel, stride=stride)
        assert convert(tensors, "asteroid", config).latency == late
    assert ASTEROID["kernel_size"] == 8
