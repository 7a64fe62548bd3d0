"""`rtsep doctor`: what this machine has for live sound, and what to do about what it lacks."""

from __future__ import annotations

import json

from rtsep.cli.options import AsJson


def command(as_json: AsJson = False) -> int:
    """Look at devices, real-time privileges, MIDI, engines and cache: good, or what to do."""
    from rtsep import doctor

    findings = doctor.examine()
    broken = any(finding.state == doctor.BROKEN for finding in findings)
    if as_json:
        rows = [finding.as_json() for finding in findings]
        print(json.dumps({"runs": not broken, "findings": rows}, indent=2))
    else:
        width = max(len(finding.part) for finding in findings)
        for finding in findings:
            print(f"{finding.state:6s}  {finding.part:{width}s}  {finding.text}")
            if finding.advice is not None:
                print(f"{'':{width + 8}s}  -> {finding.advice}")
    return 1 if broken else 0
