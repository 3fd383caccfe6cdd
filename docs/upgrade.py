"""The table of docs/upgrade.md: `python docs/upgrade.py` compares all releases on the repo's scenarios.

The rows are those in which a release decides otherwise than the one before it.
"""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sim.inputs.cinders import SUPPORTED

ROOT = Path(__file__).parent.parent
OUT = Path(__file__).with_suffix(".csv")
RELEASES = ",".join(dict.fromkeys(release.partition(".")[0] for release in SUPPORTED))
COLUMNS = (
    "scenario",
    "strategy",
    "from",
    "to",
    "decided otherwise",
    "clone hits %",
    "p95 s",
    "failed",
    "why",
)


def rows(scenario: Path) -> list[dict[str, Any]]:
    """What each release changes on one scenario, with all its strategies."""
    command = [sys.executable, "-m", "sim", "compare", str(scenario), "--cinder", RELEASES, "--json"]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    return [_row(scenario, one) for one in json.loads(done.stdout)["cinders"] if one["told"]]


def _row(scenario: Path, one: dict[str, Any]) -> dict[str, Any]:
    hits, p95s = (
        [f"{each * by:.1f}" for each in one[key]] for key, by in (("hit_rates", 100), ("p95s_s", 1))
    )
    known = re.findall(r"\((\w+) in cinder/", " ".join(one["known"]))
    cells = (scenario.stem, one["way"], one["first"], one["second"], one["decisions"])
    pairs = (hits, p95s, map(str, one["failed"]))
    return dict(zip(COLUMNS, (*cells, *map(" → ".join, pairs), ", ".join(known)), strict=True))


def main() -> None:
    scenarios = sorted(path for path in ROOT.glob("scenarios/*.yaml") if path.stem != "what_ifs")
    found = [row for path in scenarios for row in rows(path)]
    with OUT.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)


if __name__ == "__main__":
    main()
