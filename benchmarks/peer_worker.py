"""One form in a process of its own, for `peers.py`: a peer's or ours, stepped when told to.

    python benchmarks/peer_worker.py FORM [ARGUMENT ...]

Says {"ready": true, "chunk": ..., "rate": ...} in a line of JSON, then for each line with a number
of steps the nanoseconds that each took. Peers run in `.peers` (scripts/peers), ours in our
environment; so nothing here is imported before it is needed.
"""

from __future__ import annotations

import json
import os
import sys
import time

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"

SEED = 0
_RECEPTIVE = 24_480  # samples at 16 kHz that the published Conv-TasNet looks back: 1.53 s


def asteroid():
    """The class as it is, on all that its receptive field covers, for each chunk."""
    torch = _torch()
    from asteroid.models import ConvTasNet

    sizes = dict(n_filters=512, kernel_size=32, stride=16, bn_chan=128, hid_chan=512)
    depth = dict(skip_chan=128, n_blocks=8, n_repeats=3, causal=True, norm_type="cLN")
    model = ConvTasNet(2, sample_rate=16000, mask_act="sigmoid", **sizes, **depth).eval()
    x = torch.randn(1, _RECEPTIVE + 128) * 0.1
    return (lambda: model(x)), 128, 16000


def denoiser(hidden: str, weights: str):
    """`DemucsStreamer`, frame by frame; its weights are saved for ours."""
    torch = _torch()
    from denoiser.demucs import Demucs, DemucsStreamer

    model = Demucs(hidden=int(hidden), causal=True).eval()
    torch.save(model.state_dict(), weights)
    streamer = DemucsStreamer(model, num_frames=1)
    x = torch.randn(1, streamer.stride) * 0.1
    while not streamer.feed(x).numel():  # until a step gives a frame for each
        pass
    return (lambda: streamer.feed(x)), streamer.stride, 16000


def openunmix():
    """Four targets on the one window that a chunk completes: the least that it can do."""
    torch = _torch()
    from openunmix.model import OpenUnmix, Separator

    def target() -> OpenUnmix:
        return OpenUnmix(nb_bins=2049, max_bin=1487, unidirectional=True)

    targets = {name: target().eval() for name in ("vocals", "drums", "bass", "other")}
    model = Separator(targets, niter=0).eval()
    x = torch.randn(1, 2, 4096) * 0.1
    return (lambda: model(x)), 1024, 44100


def nussl(settings: str):
    """The network on the one frame of the spectrum that a chunk completes."""
    torch = _torch()
    import scipy.signal

    # Where newer versions of scipy have the windows that nussl looks for when it is imported.
    for window in ("hamming", "hann", "blackman"):
        setattr(scipy.signal, window, getattr(scipy.signal.windows, window))
    _without_data_sets()
    from nussl.ml import SeparationModel
    from nussl.ml.networks.builders import build_recurrent_mask_inference

    s = json.loads(settings)
    config = build_recurrent_mask_inference(
        s["features"], s["hidden"], s["layers"], False, 0.0, 2, ["sigmoid"]
    )
    model = SeparationModel(config).eval()
    x = {"mix_magnitude": torch.rand(1, 1, s["features"], 1)}
    return (lambda: model(x)), s["hop"], s["rate"]


def hstasnet():
    """Its own streaming function."""
    torch = _torch()
    _without_data_sets()
    from hs_tasnet import HSTasNet

    model = HSTasNet().eval()
    step = model.init_stateful_transform_fn()
    x = torch.randn(2, 512) * 0.1
    return (lambda: step(x)), 512, 44100


def conventional():
    """Conv-TasNet of the published size as it is usually made to stream; see conventional.py."""
    torch = _torch()
    from conventional import Conventional

    size = dict(filters=512, kernel=32, bottleneck=128, hidden=512, skip=128, taps=3)
    model = Conventional(stems=2, blocks=8, repeats=3, **size).eval()
    state, x = model.initial(), torch.randn(1, 1, 128) * 0.1

    def step() -> None:
        nonlocal state
        _, state = model(x, state)

    return step, 128, 16000


def ours(model: str, engine: str, precision: str, chunk: str):
    import numpy as np

    from rtsep import engines

    built = engines.build(
        model,
        engine,
        chunk=int(chunk),
        precision=precision,
        progress=lambda text: print(text, file=sys.stderr),
    )
    rng = np.random.default_rng(SEED)
    x = rng.standard_normal(built.spec.mixture_shape).astype(np.float32) * 0.1
    stems = np.empty(built.spec.stems_shape, np.float32)
    return (lambda: built.process(x, stems)), built.spec.chunk, built.spec.rate


def _without_data_sets() -> None:
    """What reads data sets for training wants a program for video: it is not loaded."""
    from types import ModuleType

    sys.modules["musdb"] = ModuleType("musdb")
    sys.modules["musdb"].DB = None


def _torch():
    import torch

    torch.set_num_threads(1)
    torch.manual_seed(SEED)
    torch.set_grad_enabled(False)
    return torch


FORMS = (asteroid, conventional, denoiser, hstasnet, nussl, openunmix, ours)


def main() -> None:
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print must not disturb the conversation
    name, *arguments = sys.argv[1:]
    make = next(form for form in FORMS if form.__name__ == name)
    try:
        step, chunk, rate = make(*arguments)
        for _ in range(3):
            step()
    except Exception as error:
        out.write(json.dumps({"error": f"{type(error).__name__}: {error}"}) + "\n")
        return
    out.write(json.dumps({"ready": True, "chunk": chunk, "rate": rate}) + "\n")
    for line in sys.stdin:
        taken = []
        for _ in range(int(line)):
            before = time.perf_counter_ns()
            step()
            taken.append(time.perf_counter_ns() - before)
        out.write(json.dumps(taken) + "\n")


if __name__ == "__main__":
    main()
