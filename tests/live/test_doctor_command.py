"""`rtsep doctor` on a JACK server: what it says is what `rtsep devices` and a run say."""

import json
import subprocess

import numpy as np
from jack_card import Card, Server, needs_jack
from test_run_command import RTSEP

pytestmark = needs_jack


def asked(*arguments) -> dict:
    done = subprocess.run([*RTSEP[:-1], *arguments, "--json"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_doctor():
    with Server(256) as server:
        card = Card(server, "card", np.zeros((1, 1), np.float32), 3)
        try:
            findings = asked("doctor")["findings"]
            listed = asked("devices")["devices"]
            run = asked("run", "--factory", "quarter_model:build", "--duration", "0.1")
        finally:
            card.close()
    by_part = {finding["part"]: finding for finding in findings}
    assert "JACK Audio Connection Kit" in by_part["portaudio"]["host_apis"]
    rows = [finding["device"] for finding in findings if finding["part"] == "device"]
    assert rows == listed and {"system", "card"} <= {row["name"] for row in rows}
    (card,) = [row for row in rows if row["name"] == "card"]
    (text,) = [f["text"] for f in findings if f.get("device") == card]
    ends = [f"{card[kind]['latency_ms']:.2f} ms, at 48000 Hz" for kind in ("input", "output")]
    assert text.endswith(f"1 inputs, {ends[0]}; 3 outputs, {ends[1]}")
    assert by_part["real time"]["text"].split(",")[0] in run["granted"]
