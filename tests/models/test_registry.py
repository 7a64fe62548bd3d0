"""Names of architectures and of models."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rtsep import create, load
from rtsep.errors import WrongCall
from rtsep.models import architectures, find, shipped


def test_architectures_are_what_can_be_created() -> None:
    assert "convtasnet" in architectures()
    for arch in architectures():
        assert create(arch).arch == arch


def test_unknown_architecture() -> None:
    with pytest.raises(WrongCall, match="no architecture 'transformer'; there is convtasnet"):
        create("transformer")


@pytest.mark.parametrize("call", [find, load])
def test_unknown_model(call) -> None:
    with pytest.raises(WrongCall, match="no model 'nobody'"):
        call("nobody")


@pytest.mark.parametrize("name", shipped())
def test_what_ships_loads(name: str) -> None:
    model = load(name)
    assert model.spec.name == name
    assert not model.training


def test_names_are_found_without_torch() -> None:
    code = "import sys, rtsep.models; rtsep.models.shipped(); print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
