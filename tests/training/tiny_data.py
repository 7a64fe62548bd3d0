"""A data folder of a few seconds, a recipe for a model of a few weights, and where the real are."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE = 16000
COLUMNS = ("path", "kind", "source_group", "speaker_or_recording_id", "class", "seconds")

RECIPE = """
name = "tiny"
development = ""
seed = 3

[model]
arch = "convtasnet"
filters = 16
kernel = 64
bottleneck = 8
hidden = 8
skip = 0
blocks = 2
repeats = 1
consistency = "remainder"

[mixing]
seconds = 0.5

[optimiser]
steps = 6
batch = 2
warmup = 2
"""


def write_data(folder: Path) -> Path:
    """Three speakers, three classes of noise and two tracks, all synthesised."""
    rng = np.random.default_rng(1)
    rows = []
    for speaker in range(3):
        for take in range(2):
            rows.append((f"speech/s{speaker}_{take}.wav", "speech", "lab", f"s{speaker}", "read"))
    for label in ("rain", "dog", "fan"):
        rows.append((f"noise/{label}.wav", "noise", "field", f"r_{label}", label))
    rows += [(f"music/t{i}.wav", "music", "band", f"t{i}", "music") for i in range(2)]
    with (folder / "index.csv").open("w", newline="") as out:
        lines = csv.writer(out)
        lines.writerow(COLUMNS)
        for number, row in enumerate(rows):
            seconds = 1 + 0.25 * (number % 4)
            time = np.arange(int(seconds * RATE)) / RATE
            tone = np.sin(2 * np.pi * (120 + 40 * number) * time) * (0.6 + 0.4 * np.sin(9 * time))
            sound = 0.3 * tone + 0.05 * rng.standard_normal(len(time))
            path = folder / row[0]
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, sound, RATE)
            lines.writerow((*row, seconds))
    return folder


def real_data() -> Path:
    """The folder that holds the sounds of the shipped recipe; the test is skipped without it."""
    chosen = os.environ.get("RTSEP_DATA_DIR")
    folder = Path(chosen) if chosen else Path(__file__).parents[3] / "shared" / "data"
    if not (folder / "index.csv").exists():
        pytest.skip(f"no training sounds in {folder}: RTSEP_DATA_DIR names another folder")
    return folder
