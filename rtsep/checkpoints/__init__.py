"""Checkpoints: one safetensors file each, spec and SHA-256 in its metadata."""

from rtsep.checkpoints.format import describe, load, parameter_count, read_spec, save

__all__ = ["describe", "load", "parameter_count", "read_spec", "save"]
