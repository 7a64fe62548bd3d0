"""Checkpoints: one safetensors file each, spec and SHA-256 in its metadata."""

from rtsep.checkpoints.format import load, read_spec, save

__all__ = ["load", "read_spec", "save"]
