"""Figures of all benchmarks, shown at the end beside those that were recorded last."""

from __future__ import annotations

import csv
import os
import platform
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HISTORY = ROOT / "benchmarks" / "history.csv"


@pytest.fixture(scope="session")
def figures() -> Iterator[dict[str, str]]:
    """What was measured, by name with its unit; with RECORD=1 it becomes a line of the history.

    A line is of one commit. What was not measured with it is empty there, and what was measured before under
    the same name is the last record of it.
    """
    found: dict[str, str] = {}
    yield found
    if not found:
        return
    with HISTORY.open(encoding="utf-8", newline="") as opened:
        lines = list(csv.DictReader(opened))
    print(f"\n\n{'':56} {'now':>10} {'recorded':>10}")
    for name, figure in found.items():
        of = next((line for line in reversed(lines) if line.get(name)), None)
        about = f"{of[name]:>10}  {of['commit']}, {of['date']}, {of['machine']}" if of else ""
        print(f"{name:56} {figure:>10} {about}")
    if os.environ.get("RECORD"):
        commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, text=True).strip()
        about_it = {"commit": commit, "date": f"{datetime.now(UTC):%Y-%m-%d}", "machine": machine()}
        lines.append(about_it | found)
        with HISTORY.open("w", encoding="utf-8", newline="") as opened:
            heads = dict.fromkeys(head for line in lines for head in line)
            writer = csv.DictWriter(opened, list(heads), restval="", lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)


def machine() -> str:
    """The processor, and how many of it."""
    told = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    name = told[0].partition(":")[2].strip() if told else platform.processor()
    return f"{os.cpu_count()} x {name}"
