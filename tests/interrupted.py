"""Ctrl-C at random moments of every command: `make interrupted`, or `python -m tests.interrupted COMMAND…`.

Each must end with exit code 130 and the one line `interrupted`, and leave nothing half-written. What ends
before its signal is started again. Moments begin when the command is there to catch signals: before that,
Python itself is starting. Every other signal goes to the whole process group, as a terminal's does.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALLEST, GENERATED = ROOT / "scenarios" / "smallest.yaml", ROOT / "scenarios" / "generated.yaml"
LIMITS = "backends.*.image_volume_cache_max_count=1..6"
COMMANDS = {
    "validate": ["validate", GENERATED],
    "run": ["run", SMALLEST, "--strategy", "cache-only", "--out", "OUT"],
    "compare": ["compare", SMALLEST, "--engine", "fast", "--out", "OUT"],
    "sweep": ["sweep", SMALLEST, "--vary", LIMITS, "--workers", "2", "--out", "OUT"],
    "plan": ["plan", SMALLEST, "--target-hit-rate", "flash=0.5", "--workers", "2", "--out", "OUT"],
    "curve": ["curve", SMALLEST, "--engine", "fast", "--out", "OUT"],
    "generate": ["generate", GENERATED, "--out", "OUT/trace.csv"],
    "import": ["import", "--conf", "CLOUD/cinder.conf", "--out", "OUT/new"],
    "calibrate": ["calibrate", "CLOUD"],
    "fit": ["fit", SMALLEST.with_suffix("") / "trace.csv"],
    "verify": ["verify", SMALLEST, "--strategies", "cache-only"],
}
CONF = """[DEFAULT]
enabled_backends = a
[a]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = a
image_volume_cache_enabled = true
"""


def started(command: str, out: Path) -> subprocess.Popen[str]:
    """The command, writing below `out`."""
    places = {"OUT": str(out), "CLOUD": str(out / "cloud")}
    (out / "cloud").mkdir()
    (out / "cloud" / "cinder.conf").write_text(CONF)
    given = [re.sub("OUT|CLOUD", lambda found: places[found[0]], str(each)) for each in COMMANDS[command]]
    return subprocess.Popen(
        [sys.executable, "-m", "sim", *given],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
    )  # fmt: skip


def caught(pid: int) -> bool:
    """Whether the command is there: it, unlike Python, catches SIGTERM."""
    found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


def seconds(command: str) -> float:
    """How long the command takes when nothing stops it."""
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        with started(command, Path(out)) as process:
            process.communicate()
        return time.monotonic() - began


def ending(command: str, after_s: float, group: bool) -> tuple[int, str, bool] | None:
    """Exit code, stderr and whether something is left half-written; None if it ended by itself."""
    out = Path(tempfile.mkdtemp())
    try:
        with started(command, out) as process:
            while process.poll() is None and not caught(process.pid):
                time.sleep(0.002)
            time.sleep(after_s)
            if process.poll() is not None:
                process.communicate()
                return None
            (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
            _, err = process.communicate()
        left = any(path.name.startswith(".") for path in out.rglob("*"))
        return process.returncode, err.strip(), left
    finally:
        shutil.rmtree(out)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("commands", nargs="*", default=list(COMMANDS))
    parser.add_argument("--signals", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started does not ignore Ctrl-C
    rng, wrong = random.Random(given.seed), 0
    for command in given.commands:
        longest, found, early = seconds(command), Counter[tuple[int, str, bool]](), 0
        while (number := found.total()) < given.signals:
            ended = ending(command, rng.uniform(0, longest), bool(number % 2))
            if ended is None:
                longest, early = 0.95 * longest, early + 1
            else:
                found[ended] += 1
        good = sum(count for ended, count in found.items() if ended == (130, "interrupted", False))
        wrong += given.signals - good
        print(f"{command}: {good} of {given.signals} ended with 130 ({early} ended before)", flush=True)
        for ended, count in found.items():
            if ended != (130, "interrupted", False):
                print(f"  {count} x {ended}", flush=True)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
