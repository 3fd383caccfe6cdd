"""Ctrl-C at random moments of every command: `make interrupted`, or `python -m tests.interrupted COMMAND…`.

Each must end with exit code 130 and the one line `interrupted`, and leave nothing half-written. Moments begin
when the command is there to catch signals: before that, Python itself is starting. The process is stopped
first (SIGSTOP): if the system then says that it is dead, and no more that it is stopped, it had ended before
its signal, and is started again. Every other signal goes to the whole process group, as a terminal's does.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
SMALLEST, GENERATED = ROOT / "scenarios" / "smallest.yaml", ROOT / "scenarios" / "generated.yaml"
LIMITS = "backends.*.image_volume_cache_max_count=1..6"
READ = ["--db", "sqlite:///DATABASE", "--conf", "CLOUD/cinder.conf"]
COMMANDS = {
    "validate": ["validate", GENERATED],
    "run": ["run", SMALLEST, "--strategy", "cache-only", "--out", "OUT"],
    "compare": ["compare", SMALLEST, "--engine", "fast", "--out", "OUT"],
    "compare by workers": ["compare", SMALLEST, "--engine", "fast", "--workers", "2", "--out", "OUT"],
    "sweep": ["sweep", SMALLEST, "--vary", LIMITS, "--workers", "2", "--out", "OUT"],
    "plan": ["plan", SMALLEST, "--target-hit-rate", "flash=0.5", "--workers", "2", "--out", "OUT"],
    "advise": ["advise", SMALLEST, "--workers", "2", "--out", "OUT"],
    "curve": ["curve", SMALLEST, "--engine", "fast", "--out", "OUT"],
    "generate": ["generate", GENERATED, "--out", "OUT/trace.csv"],
    "import": ["import", "--conf", "CLOUD/cinder.conf", "--out", "OUT/new"],
    "calibrate": ["calibrate", "CLOUD"],
    "watch": ["watch", "--once", *READ],
    "watch again": ["watch", "--once", "--advise-every-hours", "24", *READ],
    "verdict": ["verdict", "CLOUD/promise.json", *READ, "--out", "OUT/verdict"],
    "fit": ["fit", SMALLEST.with_suffix("") / "trace.csv"],
    "verify": ["verify", SMALLEST, "--strategies", "cache-only"],
    "help": ["compare", "--help"],  # imports, and the reading of options
    "compile": ["compare", SMALLEST, "--engine", "fast", "--out", "OUT"],  # with nothing compiled before
    "Dask": ["sweep", SMALLEST, "--vary", LIMITS, "--dask", "SCHEDULER", "--out", "OUT"],
}
COMPILING_S = 15  # moments for the command that compiles, which takes longer than anybody waits
BACKEND = """[{name}]
volume_driver = cinder.volume.drivers.rbd.RBDDriver
volume_backend_name = gold
image_volume_cache_enabled = true
"""
CONF = "[DEFAULT]\nenabled_backends = a,b\n" + BACKEND.format(name="a") + BACKEND.format(name="b")
PROMISE = '{"strategy": "cache-only", "backends": {"a": {"hit_rate": 0.0, "p95_s": 1e6}}}'  # it is kept


def imported(folder: Path) -> None:
    """Write a database with all tables, which `watch` reads, and what `import` makes of it, which is all that
    `calibrate` reads."""
    from sqlalchemy.engine import URL

    from tests.importers import rows

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Cinder's code and its libraries warn of each other
        with rows.writing(URL.create("sqlite", database=f"{folder}/cinder.sqlite")) as written:
            rows.everything(written)
    (folder / "cinder.conf").write_text(CONF)
    command = [sys.executable, "-m", "sim", "import", "--db", f"sqlite:///{folder}/cinder.sqlite"]
    command += ["--conf", f"{folder}/cinder.conf", "--out", f"{folder}/cloud"]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def started(command: str, out: Path, places: dict[str, str]) -> subprocess.Popen[str]:
    """The command, writing below `out`."""
    places = places | {"OUT": str(out), "CLOUD": str(out / "cloud")}
    if command == "calibrate":
        shutil.copytree(places["IMPORTED"], out / "cloud")
    else:
        (out / "cloud").mkdir()
        (out / "cloud" / "cinder.conf").write_text(CONF)
        (out / "cloud" / "promise.json").write_text(PROMISE)
    given = [
        re.sub("|".join(places), lambda found: places[found[0]], str(each)) for each in COMMANDS[command]
    ]
    compiled = {"NUMBA_CACHE_DIR": str(out / "compiled")} if command == "compile" else {}
    return subprocess.Popen(
        [sys.executable, "-m", "sim", *given], env=os.environ | compiled,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=ROOT,
    )  # fmt: skip


def caught(pid: int) -> bool:
    """Whether the command is there: it, unlike Python, catches SIGTERM."""
    found = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{pid}/status").read_text())
    return found is not None and bool(int(found[1], 16) >> (signal.SIGTERM - 1) & 1)


def alive(pid: int) -> bool:
    """Stop a process that runs. Returns whether there was one to stop."""
    os.kill(pid, signal.SIGSTOP)
    while (state := Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]) not in "TtZX":
        time.sleep(0.001)
    return state in "Tt"


def seconds(command: str, places: dict[str, str]) -> float:
    """How long the command takes when nothing stops it. Raises RuntimeError if it fails."""
    if command == "compile":
        return COMPILING_S
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        with started(command, Path(out), places) as process:
            _, err = process.communicate()
        if process.returncode:
            raise RuntimeError(f"{command} ended with {process.returncode}: {err}")
        return time.monotonic() - began


def ending(command: str, after_s: float, group: bool, places: dict[str, str]) -> tuple[int, str, bool] | None:
    """Exit code, stderr and whether something is left half-written; None if it ended by itself."""
    out = Path(tempfile.mkdtemp())
    try:
        with started(command, out, places) as process:
            while process.poll() is None and not caught(process.pid):
                time.sleep(0.002)
            time.sleep(after_s)
            if process.poll() is not None or not alive(process.pid):
                process.communicate()
                return None
            (os.killpg if group else os.kill)(process.pid, signal.SIGINT)
            os.kill(process.pid, signal.SIGCONT)
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
    wrong = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        places = {"IMPORTED": f"{folder}/cloud", "DATABASE": f"{folder}/cinder.sqlite"}
        if {"calibrate", "watch", "watch again", "verdict"} & set(given.commands):
            imported(Path(folder))
        if "Dask" in given.commands:
            from distributed import LocalCluster

            cluster = LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0")
            places["SCHEDULER"] = stack.enter_context(cluster).scheduler_address
        for command in given.commands:
            wrong += interrupted(command, given.signals, given.seed, places)
    sys.exit(1 if wrong else 0)


def interrupted(command: str, signals: int, seed: int, places: dict[str, str]) -> int:
    """Interrupt a command so many times, and print how it ended; returns how often that was wrong."""
    rng, longest = random.Random(seed), seconds(command, places)
    found, early = Counter[tuple[int, str, bool]](), 0
    while (number := found.total()) < signals:
        ended = ending(command, rng.uniform(0, longest), bool(number % 2), places)
        if ended is None:
            longest, early = 0.95 * longest, early + 1
        else:
            found[ended] += 1
    good = found.pop((130, "interrupted", False), 0)
    print(f"{command}: {good} of {signals} ended with 130 ({early} ended before)", flush=True)
    for ended, count in found.items():
        print(f"  {count} x {ended}", flush=True)
    return signals - good


if __name__ == "__main__":
    main()
