"""Public implementations, recorded: the same outputs, whole and streamed, from the same weights.

The vectors are looked for in the folder that `RTSEP_PARITY_DIR` names, else in `../shared/parity`
beside the repository; how each public class is compared lies in `parity/`.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from parity import FORMS
from parity.vectors import FOLDER, FOUND, NAMED, Vector

import rtsep

if NAMED and not FOUND:
    pytest.fail(f"RTSEP_PARITY_DIR: {FOLDER} holds no vector", pytrace=False)
if not FOUND:
    pytest.skip(f"no parity vectors in {FOLDER}: nothing compared", allow_module_level=True)

COVERED = [pytest.param(v, id=v.path.stem) for v in FOUND if v.public_class in FORMS]


@pytest.mark.parametrize("vector", [pytest.param(v, id=v.path.stem) for v in FOUND])
def test_its_form_is_known(vector: Vector) -> None:
    assert vector.public_class in FORMS, f"nothing here answers for {vector.public_class}"


@pytest.mark.parametrize("vector", COVERED)
@torch.no_grad()
def test_whole(vector: Vector) -> None:
    FORMS[vector.public_class].check_whole(vector)


@pytest.mark.parametrize("vector", COVERED)
@pytest.mark.parametrize("seed", range(3))
@torch.no_grad()
def test_streamed(vector: Vector, seed: int) -> None:
    FORMS[vector.public_class].check_streamed(vector, seed)


@pytest.mark.parametrize("vector", COVERED)
def test_look_ahead(vector: Vector) -> None:
    if vector.metadata.get("measured_lookahead_samples") is None:
        pytest.skip("the vector states no look-ahead")
    FORMS[vector.public_class].check_look_ahead(vector)


@pytest.mark.parametrize("vector", COVERED)
def test_command_line(vector: Vector, tmp_path: Path) -> None:
    """`rtsep import` of the public file makes a checkpoint whose model has the vector's output."""
    from rtsep.cli.import_ import command

    form, source = FORMS[vector.public_class], vector.path.with_suffix(".pt")
    if not source.is_file():
        pytest.skip(f"the vector comes without {source.name}")
    out = tmp_path / "imported.safetensors"
    config = form.settings_file(vector, tmp_path)
    command(source, format=vector.metadata["format"], config=config, out=out)
    form.check_imported(vector, rtsep.load(out))
