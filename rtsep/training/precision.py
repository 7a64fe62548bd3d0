"""What a device computes fast."""

from __future__ import annotations

import torch


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether `device` has an instruction for it; where it has none, float32 is far faster."""
    if device.type != "cpu":
        return True
    from rtsep.engines.native import processor

    return processor.here().pairs
