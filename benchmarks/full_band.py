"""What becomes of a voice above the model's band: shared, left out, or left in.

    apt-get download alsa-utils supercollider-common puredata-doc
    for file in *.deb; do dpkg -x $file sounds; done
    python benchmarks/full_band.py sounds [--model convtasnet] [--out FILE.json]

Wide-band speech (the recordings below, 44.1 and 48 kHz) in white and pink noise and in a babble of
the other voices, at two signal-to-noise ratios. Of the voice stem the log-spectral distance to
the clean voice above 8 kHz is taken, in dB: root mean square over bins, mean over frames of 1024
samples; what lies 60 dB below the loudest bin of the clean voice there counts as that.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr

from rtsep import benchmark
from rtsep.pipeline import Pipeline, build

RESULTS = Path(__file__).parent / "results" / "full_band.json"
VOICES = ["a11wlk01.wav", "voice.wav", "voice2.wav"]
VOICES += [f"{place}.wav" for place in ("Front_Center", "Front_Left", "Front_Right", "Rear_Center")]
VOICES += [f"{place}.wav" for place in ("Rear_Left", "Rear_Right", "Side_Left", "Side_Right")]
BAND = 8000, 20000  # Hz
RATIOS = (0, 10)  # dB
NOISES = ("white", "pink", "babble")
_FRAME, _FLOOR = 1024, 60.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="where the packages were unpacked")
    parser.add_argument("--model", default="convtasnet")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    voices = {name: sound(next(options.folder.rglob(name))) for name in VOICES}
    rows, pipelines = [], {}
    for name, (voice, rate) in voices.items():
        if rate not in pipelines:
            pipelines[rate] = [build(options.model, rate, 1, full_band=it) for it in (True, False)]
        for kind in NOISES:
            noise = noise_of(kind, name, voices, len(voice), rate)
            for ratio in RATIOS:
                distances = measure(pipelines[rate], voice, noise, ratio)
                rows.append({"voice": name, "rate": rate, "noise": kind, "snr": ratio} | distances)
                print(rows[-1], flush=True)
    forms = ("shared", "left_out", "left_in")
    report = {
        "machine": benchmark.machine(),
        "versions": benchmark.versions(),
        "model": options.model,
        "band_hz": BAND,
        "distance_db": {form: _mean(rows, form) for form in forms},
        "by_noise_and_snr": [
            {"noise": kind, "snr": ratio}
            | {form: _mean(rows, form, noise=kind, snr=ratio) for form in forms}
            for kind in NOISES
            for ratio in RATIOS
        ],
        "results": rows,
    }
    print(report["distance_db"])
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(report, indent=2) + "\n")


def sound(path: Path) -> tuple[np.ndarray, int]:
    """The first channel, at 44.1 or 48 kHz, its peak at -6 dB."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    voice = samples[:, 0]
    return 0.5 * voice / np.abs(voice).max(), rate


def noise_of(kind: str, name: str, voices: dict, n: int, rate: int) -> np.ndarray:
    """(n,), always the same."""
    rng = np.random.default_rng(VOICES.index(name))
    if kind == "babble":
        others = [voice for other, voice in voices.items() if other != name]
        return sum(
            np.resize(np.roll(soxr.resample(v, r, rate), rng.integers(r)), n) for v, r in others
        )
    white = rng.standard_normal(n)
    if kind == "white":
        return white
    spectrum = np.fft.rfft(white)
    return np.fft.irfft(spectrum / np.sqrt(np.maximum(np.arange(len(spectrum)), 1)), n)


def measure(
    pipelines: list[Pipeline], voice: np.ndarray, noise: np.ndarray, ratio: float
) -> dict[str, float]:
    """Each form's distance in dB."""
    rate = pipelines[0].rate
    noise = noise * np.sqrt(np.mean(voice**2) / np.mean(noise**2)) * 10 ** (-ratio / 20)
    mixture = voice + noise
    shared, out = (separated(pipeline, mixture) for pipeline in pipelines)
    forms = {"shared": shared, "left_out": out, "left_in": out + above(mixture, rate)}
    return {form: round(distance(x, voice, rate), 3) for form, x in forms.items()}


def separated(pipeline: Pipeline, mixture: np.ndarray) -> np.ndarray:
    """The voice (n,) of a mixture (n,)."""
    pipeline.reset()
    parts = [pipeline.process(mixture[None]), pipeline.flush(len(mixture))]
    return np.concatenate(parts, axis=2)[pipeline.stems.index("voice"), 0]


def above(x: np.ndarray, rate: int) -> np.ndarray:
    """What lies above the model's band."""
    spectrum = np.fft.rfft(x)
    spectrum[np.fft.rfftfreq(len(x), 1 / rate) < BAND[0]] = 0
    return np.fft.irfft(spectrum, len(x))


def distance(x: np.ndarray, clean: np.ndarray, rate: int) -> float:
    levels, known = power(x, rate), power(clean, rate)
    floor = 10 * np.log10(known.max()) - _FLOOR
    levels, known = (np.maximum(10 * np.log10(p + 1e-30), floor) for p in (levels, known))
    return float(np.sqrt(((levels - known) ** 2).mean(axis=1)).mean())


def power(x: np.ndarray, rate: int) -> np.ndarray:
    """(frames, bins) of the band."""
    frames = np.lib.stride_tricks.sliding_window_view(x, _FRAME)[:: _FRAME // 2]
    spectra = np.abs(np.fft.rfft(frames * np.hanning(_FRAME))) ** 2
    hertz = np.fft.rfftfreq(_FRAME, 1 / rate)
    return spectra[:, (hertz > BAND[0]) & (hertz < BAND[1])]


def _mean(rows: list[dict], form: str, **only) -> float:
    chosen = [row[form] for row in rows if all(row[key] == value for key, value in only.items())]
    return round(float(np.mean(chosen)), 2)


if __name__ == "__main__":
    main()
