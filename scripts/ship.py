"""Puts a trained checkpoint among the weights that ship, with its scores and its card.

    python scripts/ship.py CHECKPOINT --set DEV [--force]

DEV is what `rtsep mix NAME --split dev` wrote. The model is scored streamed, at several input
levels; scores go into the checkpoint's spec and into the card `rtsep/weights/NAME.md` beside it.
Weights that are there are only replaced by ones that score better.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from pathlib import Path

from rtsep.checkpoints import load, parameter_count, read_spec, save
from rtsep.evaluation.score import score
from rtsep.spec import ModelSpec

WEIGHTS = Path(__file__).parent.parent / "rtsep" / "weights"
GAINS = (-30.0, -20.0, -10.0, 10.0)
_CHUNK = 16  # hops per step: faster than one by one, and the same to 1e-5
LIMITS = (
    "One voice against everything else: with several people talking, what it keeps is not defined.",
    "Babble, crowds, applause and other voices are where it helps least.",
    "16 kHz: what a microphone hears above 7 kHz goes to the background.",
    "It does not remove a room: an echoing voice stays an echoing voice.",
    "Trained on read and prompted speech, mostly English: singing and shouting were not there.",
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--set", type=Path, required=True)
    parser.add_argument("--force", action="store_true", help="replace better weights, too")
    options = parser.parse_args()

    model = load(options.checkpoint)
    result = score(str(options.checkpoint), options.set, chunk=_CHUNK * model.hop, gains=GAINS)
    metrics = figures(result)
    target = WEIGHTS / f"{model.spec.name}.safetensors"
    if target.exists() and not options.force:
        before = read_spec(target).card.get("metrics", {}).get("voice_si_sdr_i_db", {})
        if before.get("mean", -99) >= metrics["voice_si_sdr_i_db"]["mean"]:
            sys.exit(f"{target.name} scores {before['mean']} dB, this one no better: left alone")
    card = model.spec.card | {"metrics": metrics, "limits": list(LIMITS), "licence": "MIT"}
    save(model, target, name=model.spec.name, card=card)
    target.chmod(0o644)
    target.with_suffix(".md").write_text(text(target, result), encoding="utf-8")
    print(f"{target}: {metrics['voice_si_sdr_i_db']}")


def _time(samples: int, spec: ModelSpec) -> str:
    return f"{samples} samples ({1e3 * samples / spec.rate:g} ms)"


def _convtasnet(spec: ModelSpec) -> str:
    p = spec.params
    return (
        f"causal Conv-TasNet of {p['repeats']} x {p['blocks']} blocks of {p['bottleneck']}/"
        f"{p['hidden']} channels on a Fourier basis; it looks at {_time(p['kernel'], spec)} and is "
        f"heard through {_time(p['synthesis'], spec)} of them (an asymmetric pair of windows)"
    )


def _maskinference(spec: ModelSpec) -> str:
    p = spec.params
    return (
        f"Mask Inference with {p['layers']} forward LSTMs of {p['hidden']} units; it looks at "
        f"{_time(p['window'], spec)} and is heard through {_time(p['synthesis'], spec)} of them "
        "(an asymmetric pair of windows)"
    )


def _demucs(spec: ModelSpec) -> str:
    p = spec.params
    return (
        f"causal Demucs with levels of {' and '.join(map(str, p['hidden']))} channels and "
        f"{p['layers']} forward LSTMs; its first level looks at {_time(p['kernel'][0], spec)} and "
        f"is heard through {_time(p['synthesis'][0], spec)} of them"
    )


NETWORKS = {"convtasnet": _convtasnet, "maskinference": _maskinference, "demucs": _demucs}


def figures(result: dict) -> dict:
    """What of a score goes into the spec: improvement of SI-SDR, in dB, rounded."""

    def rounded(scores: dict) -> dict:
        return {kind: round(scores["si_sdr_i"][kind], 2) for kind in ("mean", "median")}

    return {f"{stem}_si_sdr_i_db": rounded(scores) for stem, scores in result["stems"].items()} | {
        "by_input_gain": {
            f"{level['gain_db']:+g} dB": rounded(level["stems"]["voice"])["mean"]
            for level in result["levels"]
        },
        "set": f"{len(result['cases'])} development mixtures of 5 s, streamed",
    }


def text(path: Path, result: dict) -> str:
    """The card, in Markdown."""
    spec = read_spec(path)
    metrics, trained = spec.card["metrics"], spec.card.get("trained", {})
    kinds: dict[str, list[float]] = {}
    for case in result["cases"]:
        kind = case["name"].partition("-")[2]
        kinds.setdefault(kind, []).append(case["stems"]["voice"]["si_sdr_i"])
    by_kind = sorted((statistics.mean(gains), kind) for kind, gains in kinds.items())
    lines = [
        f"# {spec.name}",
        "",
        f"{' against '.join(spec.stems)}, {spec.rate} Hz, mono (each channel of a stereo sound is "
        "separated alike). Written by `scripts/ship.py`; the same facts are in the checkpoint.",
        "",
        f"- **Network**: {NETWORKS[spec.arch](spec)}; {parameter_count(path) / 1e6:.2f} M "
        f"parameters, hop {_time(spec.hop, spec)}.",
        f"- **Latency**: {_time(spec.latency, spec)}; nothing looks ahead. The stems sum to the "
        "mixture.",
        f"- **Trained on**: {spec.card.get('data', 'not said')} Sources and licences: "
        "[TRAINING_DATA.md](TRAINING_DATA.md). Recipe: `rtsep/training/recipes/"
        f"{spec.name}.toml`.",
        f"- **Trained for**: {trained.get('steps', '?')} steps, {trained.get('minutes', '?')} "
        f"minutes on one or two CPU cores, shared with other work{trained.get('history', '')}.",
        "- **Licence of the weights**: MIT.",
        "",
        "## How well it separates",
        "",
        f"Improvement of SI-SDR on {metrics['set']} (`rtsep mix {spec.name} --split dev`, then "
        "`rtsep eval`); speakers and recordings that training never heard.",
        "",
        "| stem | mean | median |",
        "| --- | ---: | ---: |",
    ]
    for stem in spec.stems:
        scores = metrics[f"{stem}_si_sdr_i_db"]
        lines.append(f"| {stem} | {scores['mean']:+.2f} dB | {scores['median']:+.2f} dB |")
    levels = ", ".join(f"{gain} {score:+.2f}" for gain, score in metrics["by_input_gain"].items())
    lines += [
        "",
        f"The voice at other input levels (mean, without clipping): {levels}.",
        "",
        "By kind of background, worst first (mean of the voice, dB): "
        + ", ".join(f"{kind} {gain:+.1f}" for gain, kind in by_kind)
        + ".",
        "",
        "## What it can't do",
        "",
        *(f"- {limit}" for limit in spec.card["limits"]),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
