"""What tests of architectures share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="module")
def made_in_float64():
    """Models are made in float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)
