"""`rtsep devices`: what `--input` and `--output` can name."""

from __future__ import annotations

import json

from rtsep.cli.options import AsJson, HostApi


def command(
    host_api: HostApi = None,
    as_json: AsJson = False,
) -> None:
    """List sound devices: names, channels, the rates at which they open, latencies, defaults."""
    from rtsep.live import devices

    try:
        found = devices.devices(host_api)
    except devices.NoDevices as none:
        if not devices.installed():
            raise
        print(json.dumps({"devices": []}, indent=2) if as_json else none)
        return
    rows = [devices.describe(device) for device in found]
    if as_json:
        print(json.dumps({"devices": rows}, indent=2))
        return
    for row in rows:
        print(_lines(row))
    print("* what is taken where none is named")


def _lines(row: dict) -> str:
    """A device: one line, and one for each of its ends."""
    lines = [f"{row['index']:3d}  {row['name']} ({row['host_api']}), usually at {row['rate']} Hz"]
    for kind in ("input", "output"):
        end = row[kind]
        if end["channels"]:
            rates = ", ".join(map(str, end["rates"])) or "no rate: it is busy, perhaps"
            lines.append(
                f"     {'*' if end['default'] else ' '} {kind:6s} {end['channels']:2d} channels  "
                f"{end['latency_ms']:7.2f} ms  opens at {rates}"
            )
    return "\n".join(lines)
