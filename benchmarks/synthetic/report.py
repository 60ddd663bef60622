"""The last line that a benchmark prints."""

import json
from datetime import UTC, datetime

from synthetic.devices import device_name


def print_report(name, figures, settings):
    """One JSON object, as every report of the project is one."""
    report = {
        "name": name,
        "figures": figures,
        "settings": settings,
        "device": device_name(),
        "seed": 0,
        "command": f"python benchmarks/{name}.py",
        "made_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    print(json.dumps(report))
