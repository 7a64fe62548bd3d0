"""What the doctor says: of this machine as it is, and of one that lacks something."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

from rtsep import engines
from rtsep.doctor import computing, sound, system
from rtsep.doctor.finding import ADVICE, BROKEN, GOOD

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="limits of POSIX")
DOCTOR = [sys.executable, "-m", "rtsep", "doctor"]


def parts(report: dict) -> dict[str, dict]:
    return {finding["part"]: finding for finding in report["findings"]}


def test_every_line_is_good_or_says_what_to_do():
    done = subprocess.run([*DOCTOR, "--json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    report = json.loads(done.stdout)
    assert report["runs"]
    for finding in report["findings"]:
        assert finding["state"] in (GOOD, ADVICE) and finding["text"]
        assert (finding["advice"] is None) == (finding["state"] == GOOD)
    assert {"portaudio", "midi", "real time", "processor", "engines", "gpu", "cache"} <= set(
        parts(report)
    )
    table = subprocess.run(DOCTOR, capture_output=True, text=True)
    assert table.returncode == 0
    for finding in report["findings"]:
        assert finding["part"] == "cache" or finding["text"] in table.stdout


def test_it_loads_no_torch_and_no_engine():
    code = (
        "import sys; from rtsep import doctor; doctor.examine();"
        "print(sorted({'torch', 'onnxruntime', 'numba'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr


def test_without_shared_memory_no_run_is_possible():
    """And the code says so: as much as a file may hold is less than a run's rings."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    done = subprocess.run([*DOCTOR, "--json"], capture_output=True, text=True, preexec_fn=limit)
    report = json.loads(done.stdout)
    found = parts(report)["shared memory"]
    assert done.returncode == 1 and not report["runs"]
    assert found["state"] == BROKEN and "File too large" in found["text"] and found["advice"]


@pytest.mark.parametrize(
    "available, state, said",
    [
        ({"onnxruntime": None, "native": None}, GOOD, "onnxruntime, native"),
        ({"native": "it is not installed: pip install it", "onnxruntime": None}, ADVICE, "onnx"),
        ({"native": "it is not installed: pip install it"}, BROKEN, "there is none"),
    ],
)
def test_engines(monkeypatch, available, state, said):
    monkeypatch.setattr(engines, "available", lambda: available)
    first, *others = [f for f in computing.findings() if f.part.startswith("engine")]
    assert first.state == state and said in first.text
    assert len(others) == sum(reason is not None for reason in available.values())
    assert all(f.state == ADVICE and f.advice == "pip install it" for f in others)


@pytest.mark.parametrize(
    "governors, state",
    [(["performance"] * 2, GOOD), (["performance", "powersave"], ADVICE), ([], GOOD)],
)
def test_governor(tmp_path, governors, state):
    for k, governor in enumerate(governors):
        folder = tmp_path / f"cpu{k}" / "cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_governor").write_text(f"{governor}\n")
    finding = system.governor(tmp_path)
    assert finding.state == state and finding.facts["governors"] == sorted(set(governors))
    assert state == GOOD or "cpupower" in finding.advice


def test_a_cache_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    finding = computing.kept(tmp_path / "file")
    assert finding.state == ADVICE and "RTSEP_CACHE_DIR" in finding.advice
    finding = computing.kept(tmp_path / "new" / "folder")
    assert finding.state == GOOD and not (tmp_path / "new").exists()


def test_devices_that_may_not_be_opened(tmp_path):
    """Nothing is told where there is none, or where they may."""
    assert not [f for f in sound.findings(tmp_path) if "right" in f.text]
    (tmp_path / "pcmC0D0p").touch()
    assert not [f for f in sound.findings(tmp_path) if "right" in f.text]
