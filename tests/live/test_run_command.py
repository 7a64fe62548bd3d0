"""`rtsep run` as a user calls it: whole processes, their output, files and exit codes."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from live_runs import assert_sums_to_mix, recorded

from rtsep import demo

QUARTER = ["--factory", "quarter_model:build"]
RTSEP = [sys.executable, "-m", "rtsep", "run"]


def rtsep(*arguments, **options):
    return subprocess.run(
        [*RTSEP, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options
    )


def start(*arguments):
    return subprocess.Popen(
        [*RTSEP, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def children(pid):
    return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def worker_of(pid, seconds=20):
    """The worker's process id, once it runs."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for child in children(pid):
            if b"rtsep.live.worker" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.02)
    raise AssertionError("no worker")


@pytest.fixture
def sound(tmp_path):
    """A stereo file of 0.8 s at 44.1 kHz."""
    x = np.random.default_rng(0).normal(0, 0.1, (35280, 2)).astype(np.float32)
    soundfile.write(tmp_path / "in.wav", x, 44100, "FLOAT")
    return tmp_path / "in.wav"


def test_the_first_start_says_what_it_takes_time_for(first_start):
    # Where other tests came before, they compiled some of it.
    once = [f"rtsep: compiling {what}, once" for what in ("the audio callback", "the worker")]
    assert first_start.splitlines() in (once, once[1:], [])


def test_no_input_is_the_demo():
    done = rtsep(*QUARTER, "--clock", "free", "--duration", 0.5)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("no input named: playing the demo\n")
    assert "nothing asked for: the primary stem" in done.stdout
    rate = soundfile.info(demo.path()).samplerate
    for part in ("device in", "rebuffer", "queue", "resample", "model", "device out", "total"):
        assert re.search(rf"^{part} +[\d.]+ +[\d.]+$", done.stdout, re.M), part
    [samples] = re.findall(r"^internal +(\d+)", done.stdout, re.M)
    assert f"{0.5 + int(samples) / rate:.2f} s of sound" in done.stdout
    assert re.search(r"step p50 [\d.]+ p99 [\d.]+ of [\d.]+ ms  misses 0  voice -\d+", done.stdout)


def test_json_output_and_recording(sound, tmp_path):
    heard, folder = tmp_path / "heard.wav", tmp_path / "rec"
    done = rtsep(
        *QUARTER,
        *("--input", sound, "--output", heard, "--record", folder, "--clock", "free"),
        *("--gain", "voice=-6dB", "--mute", "background", "--block", 100, "--json", "--strict"),
    )
    assert (done.returncode, done.stderr) == (0, "")
    summary = json.loads(done.stdout)
    latency = summary["latency"]
    assert {"model", "engine", "rate", "chunk", "block", "seconds", "rtf", "files"} <= set(summary)
    assert (summary["rate"], summary["block"], summary["chunk"]) == (44100, 100, 64)
    names = ["device_in", "rebuffer", "queue", "resample", "model", "device_out"]
    assert list(latency) == [*names, "internal", "total"]
    assert isinstance(latency["internal"], int) and isinstance(latency["total"], int)
    assert abs(sum(latency[name] for name in names) - latency["total"]) < 1e-9
    assert set(summary["step_ms"]) == {"p50", "p99", "p999", "max"}
    assert summary["misses"] == {"total": 0, "causes": {}}
    files = recorded(folder)
    assert set(files) == {"voice", "background", "mix"}
    assert set(map(Path, summary["files"])) == {*folder.iterdir(), heard}
    y, rate = soundfile.read(heard, dtype="float32")
    assert rate == 44100 and soundfile.info(heard).subtype == "FLOAT"
    assert len(y) == 35280 + latency["internal"] == len(files["mix"])
    assert np.abs(y - files["voice"] * 10 ** (-6 / 20)).max() < 1e-6
    assert_sums_to_mix(files)


def test_levels_and_rest(tmp_path):
    """Turned up and limited; in the silence after a second nothing is stepped."""
    x = np.random.default_rng(0).normal(0, 0.1, (3 * 16000, 1)).astype(np.float32)
    x[16000:] = 0
    soundfile.write(tmp_path / "in.wav", x, 16000, "FLOAT")
    ends = ("--input", tmp_path / "in.wav", "--output", tmp_path / "out.wav", "--clock", "free")
    levels = ("--input-gain", "20dB", "--limit", "-6dB", "--idle", 0.5, "--gain", "voice=0dB")
    done = rtsep(*QUARTER, *ends, *levels)
    assert (done.returncode, done.stderr) == (0, "")
    assert "the output was limited" in done.stdout and "the output clipped" not in done.stdout
    assert re.search(r"^rested for 1\.[45] s of silence$", done.stdout, re.M)
    y = soundfile.read(tmp_path / "out.wav", dtype="float32")[0]
    assert abs(np.abs(y).max() - 10 ** (-6 / 20)) < 1e-6


def test_another_rate(sound):
    done = rtsep(*QUARTER, "--input", sound, "--rate", 48000, "--clock", "free")
    assert done.returncode == 0
    assert f"{sound}: 44100 Hz, resampled beforehand to 48000 Hz" in done.stdout
    assert "; 48000 Hz, 2 channels" in done.stdout


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (["--clock", "slow"], 2, "--clock slow: paced or free"),
        (["--on-miss", "panic"], 2, "--on-miss panic: dry or silence"),
        (["--gain", "voice"], 2, "--gain voice: STEM=GAIN"),
        (["--gain", "voice=loud"], 2, "loud"),
        (["--solo", "drums"], 2, "no stem 'drums': quarter has voice, background"),
        (["--queue", "65"], 2, "queue 65: it is a multiple of the block (64 samples)"),
        (["--block", "0"], 2, "--block 0"),
        (["--block", "many"], 2, "--block"),
        (["--rate", "1"], 2, "--rate 1"),
        (["--duration", "0"], 2, "--duration 0"),
        (["--duration", "nan"], 2, "--duration nan"),
        (["--limit", "3dB"], 2, "--limit 3dB: at most 0dB, full scale, or off"),
        (["--input-gain", "loud"], 2, "--input-gain: a gain of 'loud'"),
        (["--idle", "-1"], 2, "--idle -1: 0 or more seconds"),
        (["--output", "out.mp3"], 2, "--output out.mp3"),
        (["--output", "{tmp}/none/out.wav"], 1, "none/out.wav"),
        (["--input", "{tmp}/gone.wav"], 1, "gone.wav"),
        (["--input", "{tmp}/empty.wav"], 1, "empty"),
        (["--input", "{tmp}/text.wav"], 1, "text.wav"),
        (["--input", "{tmp}/in.wav", "--record", "{tmp}/text.wav"], 1, "can't record to"),
        (["--input", "{tmp}/nan.wav"], 1, "nan.wav"),
        (["--no-such-option"], 2, "no-such-option"),
    ],
)
def test_wrong_calls(arguments, code, message, sound, tmp_path):
    """One line on standard error, an exit code, and nothing left behind."""
    (tmp_path / "empty.wav").write_bytes(b"")
    (tmp_path / "text.wav").write_text("no sound at all, just words\n" * 9)
    x = np.zeros(9000, np.float32)
    x[4000] = np.nan
    soundfile.write(tmp_path / "nan.wav", x, 16000, "FLOAT")
    before = sorted(tmp_path.rglob("*"))
    done = rtsep(*QUARTER, "--clock", "free", *(a.format(tmp=tmp_path) for a in arguments))
    assert done.returncode == code, done.stderr
    assert len(done.stderr.splitlines()) == 1 and done.stderr.startswith("rtsep: ")
    assert message in done.stderr
    assert sorted(tmp_path.rglob("*")) == before


def test_nothing_is_overwritten(sound, tmp_path):
    heard = tmp_path / "heard.wav"
    heard.write_bytes(b"mine")
    arguments = [*QUARTER, "--input", sound, "--output", heard, "--clock", "free"]
    done = rtsep(*arguments)
    assert done.returncode in (1, 2) and "heard.wav" in done.stderr
    assert heard.read_bytes() == b"mine"
    assert rtsep(*arguments, "--overwrite").returncode == 0
    assert soundfile.info(heard).frames > 35280


def test_full_disk(sound, tmp_path):
    """What is heard can't be written: one line, exit code 1, nothing half-written."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("mounting a small tmpfs is not permitted here")
    try:
        done = rtsep(*QUARTER, "--input", sound, "--output", place / "o.wav", "--clock", "free")
        left = list(place.iterdir())
    finally:
        subprocess.run(["umount", str(place)], check=True)
    assert done.returncode == 1 and not left
    assert len(done.stderr.splitlines()) == 1 and "no space left" in done.stderr.lower()


def test_strict():
    starved = ["--factory", "quarter_model:starved", "--duration", 1]
    loose, strict = rtsep(*starved), rtsep(*starved, "--strict")
    assert loose.returncode == 0 and re.search(r"misses: [1-9]\d* \(worker late", loose.stdout)
    assert strict.returncode == 1 and re.fullmatch(r"rtsep: --strict: \d+ misses\n", strict.stderr)


def test_control_c_ends_cleanly(tmp_path):
    """The whole process group gets the signal, as from a terminal; all files are complete."""
    heard = tmp_path / "heard.wav"
    running = subprocess.Popen(
        [*RTSEP, *QUARTER, "--output", heard, "--record", tmp_path / "rec"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for line in running.stdout:
        if line.startswith("worker: "):
            break
    time.sleep(1)
    os.killpg(running.pid, signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (0, "")
    assert "ended by Ctrl-C" in out and "misses: " in out
    files = recorded(tmp_path / "rec")
    assert_sums_to_mix(files)
    assert len(files["mix"]) == soundfile.info(heard).frames > 8000


@pytest.mark.skipif(sys.platform != "linux", reason="finds the worker through /proc")
def test_a_dead_worker_is_said_and_replaced():
    running = start(*QUARTER, "--duration", 100)
    for line in running.stdout:
        if line.startswith("worker: "):
            os.kill(worker_of(running.pid), signal.SIGKILL)
        if "another worker is heard" in line:
            break
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (0, "")
    assert "the worker was restarted: 1 time\n" in out and "worker dead" in out


def test_a_worker_that_dies_again_and_again_is_said_and_fails():
    running = start("--factory", "quarter_model:crashing", "--input", "demo", "--clock", "free")
    out, err = running.communicate(timeout=100)
    assert running.returncode == 1
    words = "the worker failed: ValueError: out of masks, and it was the third within a minute"
    assert f"{words}: no other one is tried, the sound goes on dry\n" in out
    assert err == f"rtsep: {words}; the sound went on dry\n"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A small Conv-TasNet with random weights, and a cache that holds its engine afterwards."""
    from rtsep import checkpoints
    from rtsep.models import create

    folder = tmp_path_factory.mktemp("tiny")
    model = create("convtasnet", filters=16, kernel=128, bottleneck=8, hidden=16, skip=8, blocks=2)
    checkpoints.save(model, folder / "tiny.safetensors")
    before = os.environ.get("RTSEP_CACHE_DIR")
    os.environ["RTSEP_CACHE_DIR"] = str(folder / "cache")
    yield folder / "tiny.safetensors"
    del os.environ["RTSEP_CACHE_DIR"]
    if before is not None:
        os.environ["RTSEP_CACHE_DIR"] = before


@pytest.mark.parametrize("rate, channels", [(16000, 1), (44100, 2), (48000, 1)])
def test_bit_equal_to_separate(rate, channels, tiny, tmp_path):
    """A real engine's recording, late by the internal latency, is what `separate` writes."""
    x = np.random.default_rng(2).normal(0, 0.1, (rate + 77, channels))
    soundfile.write(tmp_path / "in.wav", x, rate, "FLOAT")
    record = ["--record", tmp_path / "live", "--clock", "free", "--json"]
    done = rtsep("--model", tiny, "--input", tmp_path / "in.wav", *record)
    assert done.returncode == 0, done.stderr
    latency = json.loads(done.stdout)["latency"]["internal"]
    separate = [*RTSEP[:-1], "separate", str(tmp_path / "in.wav"), "--model", str(tiny)]
    subprocess.run([*separate, "--out", str(tmp_path / "whole")], check=True, capture_output=True)
    live, whole = recorded(tmp_path / "live"), recorded(tmp_path / "whole" / "in")
    for stem in ("voice", "background"):
        assert not live[stem][:latency].any()
        assert np.array_equal(live[stem][latency:], whole[stem])


@pytest.mark.skipif(sys.platform != "linux", reason="looks into processes through /proc")
def test_no_torch_with_a_cached_engine(tiny):
    """The real model's path: built once, and from then on no torch in either process."""
    assert rtsep("--model", tiny, "--clock", "free", "--duration", 0.1).returncode == 0
    running = start("--model", tiny, "--duration", 3)
    for line in running.stdout:
        if line.startswith("worker: "):
            break
    worker = worker_of(running.pid)
    for pid in (running.pid, worker):
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert "llvmlite" in mapped
        assert "libtorch" not in mapped and "onnxruntime" not in mapped
    out, err = running.communicate(timeout=20)
    assert (running.returncode, err) == (0, "")
    assert not Path(f"/proc/{worker}").exists()
