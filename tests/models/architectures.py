"""What tests of architectures share: a twin to compare with, weights that show a mistake."""

from __future__ import annotations

import torch

from rtsep.models.base import Separator
from rtsep.naive import twin
from rtsep.streaming import verify_streaming


def check_twin(model: Separator, **options) -> None:
    """It streams what its naive twin gives of the whole signal, as late as it says."""
    report = verify_streaming(model, twin=twin(model), **options)
    assert report.measured_latency == model.latency


def check_sum(model: Separator, samples: int = 101) -> None:
    """Its stems sum to the mixture."""
    x = torch.randn(2, model.channels, samples)
    torch.testing.assert_close(model.separate(x).sum(1), x)


def with_weights(model: Separator, mean: float, deviation: float) -> Separator:
    """Biases and gains, which begin at 0 and 1, are as random as all others."""
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, mean, deviation)
    return model


def with_statistics(model: Separator) -> Separator:
    """Its norms are as after training."""
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.uniform_(0.05, 0.5)
        elif "norm" in name:
            tensor.normal_(0.3, 0.3)
    return model
