"""Runs a command over older results, kills it at a moment, and looks at what is there."""

from __future__ import annotations

import atexit
import multiprocessing
import os
import random
import re
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
SMALLEST = (ROOT / "scenarios" / "smallest.yaml").read_text()
COUNT = "backends.*.image_volume_cache_max_count"
CONF = """[DEFAULT]
enabled_backends = a
[a]
volume_driver = cinder.volume.drivers.lvm.LVMVolumeDriver
volume_backend_name = flash
image_volume_cache_enabled = true
image_volume_cache_max_count = {count}
"""
GENERATED = """name: generated
seed: {seed}
tiers: {{flash: {{}}}}
backends: {{a: {{volume_type: flash, pools: {{p0: {{}}}}, image_volume_cache_max_count: 2}}}}
workload: {{generate: {{duration: 6h, creates_per_day: 2000, uploads_per_day: 40}}}}
"""
# It is kept, or it is too early to tell: a verdict that is not kept ends with 1.
PROMISE = '{{"strategy": "cache-only", "backends": {{"a": {{"hit_rate": {hits}, "p95_s": 1e6}}}}}}'
# What differs from run to run: how long it took.
TIMES = re.compile(r'"?(engine_s|wall_s|cell_s)"?: *[0-9.e+-]+')
# What commands import late.
LATER = (
    "sim.report.comparison",
    "sim.report.swept",
    "sim.report.planned",
    "sim.fast.engine",
    "sim.cinder.engine",
)
CELLS = "cells"  # each is a file by itself, with a name of its content

# A command's arguments, in which {scenario} and {out} are paths, and {workers} are where its cells run.
COMMANDS = {
    "run": "run {scenario} --strategy combined --out {out}",
    "compare": "compare {scenario} --strategies none,cache-only,combined --engine fast {workers} --out {out}",
    "curve": "curve {scenario} --engine fast --out {out}",
    "advise": "advise {scenario} {workers} --out {out}",
    "plan": "plan {scenario} --target-hit-rate 0.1 {workers} --out {out}",
    "sweep": f"sweep {{scenario}} --vary {COUNT}=1..3 {{workers}} --out {{out}}",
    "generate": "generate {generated} --out {out}/trace.csv",
    "import": "import --conf {conf} --out {out}",
    "verdict": "verdict {promise} --db sqlite:///{db} --since 2026-03-01 --until 2026-04-01 --out {out}",
    "storm": "storm {scenario} --creates 20 --out {out}",
}


def command(arguments: list[str]) -> None:
    """Run the command line in this process, without a word."""
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    sys.argv = ["cinder-cache", *arguments]
    from sim.cli import main

    try:
        main()
    finally:
        atexit._run_exitfuncs()  # a forked process does not; without it, workers wait for more for minutes


def context() -> multiprocessing.context.ForkServerContext:
    """Processes that have imported everything, so that a command starts at once."""
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(["sim.cli.commands", "sim.planner.answer", *LATER])
    return found


@dataclass
class Kills:
    """A command with older and newer inputs. `told` has a line for each thing that was wrong."""

    name: str
    folder: Path
    workers: str = "--workers 1"
    told: list[str] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=lambda: {"old": 0, "new": 0, "without a manifest": 0})

    def __post_init__(self) -> None:
        self.context = context()
        self.out = self.folder / "out" / "results"
        self.out.parent.mkdir(parents=True)
        for age, clone_s, count, seed in (("old", 2, 3, 1), ("new", 3, 4, 2)):
            inputs = self.folder / age
            inputs.mkdir()
            shutil.copytree(ROOT / "scenarios" / "smallest", inputs / "smallest")
            (inputs / "scenario.yaml").write_text(SMALLEST.replace("clone_s: 2", f"clone_s: {clone_s}"))
            (inputs / "generated.yaml").write_text(GENERATED.format(seed=seed))
            (inputs / "cinder.conf").write_text(CONF.format(count=count))
            (inputs / "promise.json").write_text(PROMISE.format(hits=count / 1000))
            if self.name == "verdict":
                from tests.fuzz.test_import_databases import whole  # Cinder's code makes it

                (inputs / "cinder.sqlite").write_bytes(whole())
        # `import` makes new folders only, and an older one is refused.
        if self.name != "import":
            self.finish("old")
            shutil.copytree(self.out, self.folder / "kept")
        self.old = contents(self.out)
        since = time.monotonic()
        self.restore()
        self.finish("new")
        self.seconds = time.monotonic() - since
        self.new = contents(self.out)
        assert self.old != self.new and self.new

    def arguments(self, age: str) -> list[str]:
        inputs = self.folder / age
        places = {"scenario": inputs / "scenario.yaml", "generated": inputs / "generated.yaml"}
        places |= {"promise": inputs / "promise.json", "db": inputs / "cinder.sqlite"}
        places |= {"conf": inputs / "cinder.conf", "out": self.out}
        text = COMMANDS[self.name].replace("{workers}", self.workers)
        return [each.format(**places) for each in text.split()]  # a path may have spaces

    def start(self, age: str) -> multiprocessing.process.BaseProcess:
        process = self.context.Process(target=command, args=(self.arguments(age),))
        process.start()
        return process

    def finish(self, age: str) -> None:
        process = self.start(age)
        process.join()
        assert process.exitcode == 0, f"{self.name} ended with {process.exitcode}"

    def restore(self) -> None:
        """The older results, beside what killed processes have left: the next one has to remove that."""
        for path in self.out.glob("[!.]*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if (self.folder / "kept").exists():
            shutil.copytree(self.folder / "kept", self.out, dirs_exist_ok=True)
        elif self.out.exists():
            self.out.rmdir()  # `import` makes new folders only

    def kill(self, after_s: float) -> None:
        """Kill the command after so many seconds, and tell what is wrong with the results."""
        self.restore()
        process = self.start("new")
        process.join(after_s)
        process.kill()
        process.join()
        found = contents(self.out)
        if found in (self.old, self.new):
            self.counts["old" if found == self.old else "new"] += 1
        elif any(name.endswith("manifest.json") for name in {*self.old, *self.new} - {*found}):
            self.counts["without a manifest"] += 1  # in the instant in which files change their names
        else:
            self.told.append(f"{self.name} killed after {after_s:.3f} s: {self._mixed(found)}")

    def _mixed(self, found: dict[str, str]) -> str:
        def age(name: str) -> str:
            here = found.get(name)
            ages = [word for word, of in (("old", self.old), ("new", self.new)) if of.get(name) == here]
            return "both" if len(ages) == 2 else ages[0] if ages else "neither"

        return ", ".join(f"{name} {age(name)}" for name in sorted({*found, *self.old, *self.new}))

    def end(self) -> None:
        """The next run: it gives the newer results, and leaves nothing of those that were killed."""
        self.restore()
        self.finish("new")
        if contents(self.out) != self.new:
            self.told.append(f"{self.name}: the next run does not give what a run gives")
        self.told += [f"{self.name}: {path} is left" for path in left(self.folder / "out")]


def contents(folder: Path) -> dict[str, str]:
    """The text of each file of results, but for times; hidden files are not results."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if path.is_file() and not any(part.startswith(".") or part == CELLS for part in name.parts):
            found[str(name)] = TIMES.sub(r"\1", path.read_text(errors="surrogateescape"))  # pictures, too
    return found


def left(folder: Path) -> Iterator[Path]:
    """What is hidden, below a folder."""
    return (path for path in folder.rglob(".*"))


def moments(seed: int, number: int, seconds: float) -> list[float]:
    """When to kill, at random: half of them at any time, the others in the last third, when files come."""
    dice = random.Random(seed)
    return [seconds * dice.uniform(0.66 * (n % 2), 1.05) for n in range(number)]
