"""Our checkpoints: what is saved is loaded, and nothing else is."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from rtsep import create, load
from rtsep.checkpoints import format as checkpoint
from rtsep.checkpoints import parameter_count, read_spec, save
from rtsep.errors import Failure, WrongCall

SMALL = {"filters": 6, "kernel": 8, "bottleneck": 4, "hidden": 5, "skip": 3, "blocks": 2}
CARD = {"licence": "CC0", "limits": ["noise only"], "metrics": {"si_sdr_i": 6.5}, "by": "Zoë 🎙"}


@pytest.fixture
def model():
    return create("convtasnet", **SMALL, repeats=1, norm="cumulative", stems=("voice", "noise"))


@pytest.fixture
def path(model, tmp_path) -> Path:
    save(model, tmp_path / "small.safetensors", card=CARD)
    return tmp_path / "small.safetensors"


def forge(path: Path, tensors: dict | None = None, **changes) -> Path:
    """Another checkpoint whose digest is right: its spec changed, or its tensors."""
    tensors = load_file(path) if tensors is None else tensors
    content = json.loads(read_spec(path).to_json())
    content |= changes
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    parts = [
        (key, checkpoint._DTYPES[str(v.dtype)], list(v.shape), v.view(-1).numpy().tobytes())
        for key, v in tensors.items()
    ]
    forged = path.with_name("forged.safetensors")
    save_file(tensors, forged, {"rtsep": text, "sha256": checkpoint._digest(text, parts)})
    return forged


def test_round_trip(model, path) -> None:
    spec, loaded = read_spec(path), load(path)
    assert spec == loaded.spec
    assert (spec.name, spec.arch, spec.rate, spec.channels) == ("small", "convtasnet", 16000, 1)
    assert (spec.stems, spec.primary, spec.remainder) == (("voice", "noise"), "voice", "noise")
    assert (spec.hop, spec.latency) == (model.hop, model.latency) == (4, 4)
    assert spec.card == CARD
    assert len(spec.digest) == 64
    x = torch.randn(2, 1, 50)
    assert torch.equal(loaded.separate(x), model.separate(x))
    assert not loaded.training


def test_saved_twice_is_the_same(model, path, tmp_path) -> None:
    again = save(load(path), tmp_path / "again.safetensors", name="small", card=CARD)
    assert again == read_spec(path)


def test_digest_covers_spec_and_tensors(model, path, tmp_path) -> None:
    digests = {read_spec(path).digest}
    digests.add(save(model, tmp_path / "a.safetensors", name="other", card=CARD).digest)
    digests.add(save(model, tmp_path / "b.safetensors", name="small").digest)
    with torch.no_grad():
        next(model.parameters()).view(-1)[0] += 1e-3
    digests.add(save(model, tmp_path / "c.safetensors", name="small", card=CARD).digest)
    assert len(digests) == 4


def test_parameter_count(model, path) -> None:
    assert parameter_count(path) == sum(p.numel() for p in model.parameters())


def test_is_plain_safetensors(model, path) -> None:
    tensors = load_file(path)
    assert tensors.keys() == model.state_dict().keys()


def test_spec_is_read_without_torch(path) -> None:
    code = f"import sys; from rtsep.checkpoints import read_spec; read_spec({str(path)!r}); " + (
        "print([m for m in ('torch', 'safetensors') if m in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_one_bit_flipped_anywhere(path) -> None:
    """In the header's length, in the header, in the tensors: always seen."""
    content = path.read_bytes()
    header = 8 + int.from_bytes(content[:8], "little")
    draw = random.Random(0)
    bits = [*range(64), *draw.sample(range(64, 8 * header), 800)]
    bits += draw.sample(range(8 * header, 8 * len(content)), 300)
    damaged = path.with_name("damaged.safetensors")
    for bit in bits:
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.write_bytes(flipped)
        with pytest.raises(Failure, match="damaged|no rtsep checkpoint") as error:
            load(damaged)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize("kept", [0, 1, 8, 9, 200, -1])
def test_cut_short(path, kept: int) -> None:
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(Failure, match="damaged"):
        load(path)


def test_something_appended(path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(Failure, match="damaged"):
        load(path)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"no checkpoint",
        b"\xff" * 100,
        b"\x02\0\0\0\0\0\0\0[]",
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x04\0\0\0\0\0\0\0null",
        (200_000).to_bytes(8, "little") + b"[" * 200_000,
        (39).to_bytes(8, "little") + b'{"__metadata__":{"rtsep":1,"sha256":2}}',
        (17).to_bytes(8, "little") + b'{"a":{"dtype":1}}',
        (19).to_bytes(8, "little") + b'{"__metadata__":[]}',
    ],
    ids=range(10),
)
def test_not_a_checkpoint(tmp_path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with pytest.raises(Failure, match="no safetensors file|no rtsep checkpoint"):
        load(path)


def test_a_public_checkpoint(tmp_path) -> None:
    path = tmp_path / "x.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    torch.save({"weight": torch.zeros(3)}, tmp_path / "x.pt")
    for public in (path, tmp_path / "x.pt"):
        with pytest.raises(Failure, match=f"no rtsep checkpoint: .* 'rtsep import {public}"):
            load(public)


def test_a_folder_and_nothing(tmp_path) -> None:
    with pytest.raises(Failure, match="can't read"):
        read_spec(tmp_path)
    with pytest.raises(WrongCall, match="no model"):
        load(tmp_path / "nothing.safetensors")


def test_another_format(path) -> None:
    with pytest.raises(Failure, match="format 2, this rtsep reads 1"):
        load(forge(path, format=2))


def test_unknown_architecture(path) -> None:
    with pytest.raises(Failure, match="forged.*makes no model: no architecture 'transformer'"):
        load(forge(path, arch="transformer"))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite(path, value: float) -> None:
    tensors = load_file(path)
    key = max(tensors)
    tensors[key].view(-1)[-1] = value
    with pytest.raises(Failure, match=f"tensor {key} holds NaN or infinity"):
        load(forge(path, tensors))


def test_tensors_that_contradict_the_spec(path) -> None:
    tensors = load_file(path)
    key = min(tensors)
    with pytest.raises(Failure, match=f"contradict the spec: 1 missing, the first is {key}"):
        load(forge(path, {k: v for k, v in tensors.items() if k != key}))
    with pytest.raises(Failure, match="contradict the spec: 1 too many, the first is more"):
        load(forge(path, tensors | {"more": torch.zeros(2)}))
    with pytest.raises(Failure, match=f"contradict the spec: {key} is "):
        load(forge(path, tensors | {key: torch.zeros(2)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"hop": 8},
        {"latency": 0},
        {"rate": 48000},
        {"channels": 2},
        {"stems": ["voice", "other"]},
        {"stems": 2},
        {"params": []},
        {"params": {"bogus": 1}},
        {"more": 1},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_a_spec_that_contradicts_itself(path, changes: dict) -> None:
    with pytest.raises(Failure):
        load(forge(path, **changes))


def test_a_name_with_a_point(model, tmp_path) -> None:
    assert save(model, tmp_path / "voice.v2.safetensors").name == "voice.v2"


@pytest.mark.parametrize("place", ["missing/x.safetensors", "file/x.safetensors", ""])
def test_what_cannot_be_written(model, tmp_path, place: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Failure, match="can't write"):
        save(model, tmp_path / place)
    assert os.listdir(tmp_path) == ["file"]
