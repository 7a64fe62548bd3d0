"""What tables are made of: lines of cells, and what the figures were taken on."""

from __future__ import annotations


def machine(report: dict) -> str:
    machine, versions = report["machine"], report["versions"]
    core = f" ({machine['core']})" if "core" in machine else ""
    return (
        f"{machine['processor']}{core}, {machine['cores']} cores; torch {versions['torch']}, "
        f"onnxruntime {versions['onnxruntime']}."
    )


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
