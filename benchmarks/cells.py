"""What tables are made of: lines of cells, and what the figures were taken on."""

from __future__ import annotations


def machine(report: dict) -> str:
    machine, versions = report["machine"], report["versions"]
    return (
        f"{machine['processor']}, {machine['cores']} cores; torch {versions['torch']}, "
        f"onnxruntime {versions['onnxruntime']}."
    )


def line(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"
