"""What a user waits for: processor seconds and memory of whole commands.

`make bench`. The compiled code is kept in a folder of its own: `compile` is the first start, with nothing
kept, and all others find it there. Processor seconds are those of the process and of what it started, the
least of some runs. They depend on the machine, which is recorded beside them, and are never asserted. With
the benchmarks disabled, small cases are run once, to see that they still run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from pytest_benchmark.fixture import BenchmarkFixture
from test_speed import month

from sim.inputs.trace import write_trace

ROOT = Path(__file__).parents[2]
MILLION, FEW, ROUNDS = 1_000_000, 60, 3
SMALL = "run scenarios/smallest.yaml --strategy combined --engine fast"  # it calls all that others call
COMMANDS = {
    "help": "--help",
    "validate": "validate scenarios/two_tiers.yaml",
    "compile": SMALL,
    "small run": SMALL,
    "a million creates, Parquet": "run MONTH --strategy combined --engine fast --format parquet --out OUT",
    "a million creates, CSV": "run MONTH --strategy combined --engine fast --format csv --out OUT",
    "plan of a month": "plan scenarios/month.yaml --target-hit-rate 0.8 --out OUT",
}
# A process counts the memory of the one that started it until it runs its own program: this one is small.
LAUNCHER = """
import resource, subprocess, sys, time
began_s = time.perf_counter()
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True)
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print(used.ru_utime + used.ru_stime, time.perf_counter() - began_s, used.ru_maxrss / 1024)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For the compiled code, the scenario and the results."""
    return tmp_path_factory.mktemp("commands")


@pytest.fixture(scope="module")
def scenario(folder: Path, request: pytest.FixtureRequest) -> Path:
    """The month again and again, as a file: to a million creates, or few with benchmarks disabled."""
    few = request.config.getoption("--benchmark-disable")
    case = month(FEW if few and not request.config.getoption("--benchmark-enable") else MILLION, pinned=False)
    write_trace(case.trace, folder / "trace.parquet")
    document = case.scenario.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    keys = ("image_id", "name", "disk_format", "container_format", "size_bytes", "virtual_size_bytes")
    images = [{key: getattr(image, key) for key in keys} for image in case.images.values()]
    path = folder / "month.yaml"
    path.write_text(yaml.safe_dump(document | {"images": images, "workload": {"trace": "trace.parquet"}}))
    return path


@pytest.mark.parametrize("name", COMMANDS)
def test_command(
    name: str, benchmark: BenchmarkFixture, figures: dict[str, str], scenario: Path, folder: Path
) -> None:
    if benchmark.disabled and name not in ("help", "a million creates, Parquet"):
        pytest.skip("each takes seconds, and the two others show that the test runs")
    kept = folder / "compiled"
    # With benchmarks disabled the user's own compiled code serves.
    environment = os.environ | ({} if benchmark.disabled else {"XDG_CACHE_HOME": str(kept)})
    found: list[tuple[float, ...]] = []
    places = {"MONTH": str(scenario), "OUT": str(folder / "out")}
    arguments = [places.get(each, each) for each in COMMANDS[name].split()]

    def run() -> None:
        shutil.rmtree(folder / "out", ignore_errors=True)  # a plan would find the cells of the one before
        command = [sys.executable, "-c", LAUNCHER, sys.executable, "-m", "sim", *arguments]
        told = subprocess.run(
            command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
        found.append(tuple(map(float, told.stdout.split())))

    benchmark.pedantic(run, rounds=1 if name == "compile" else ROUNDS, iterations=1)
    if benchmark.stats is not None:
        spent_s, elapsed_s, _ = min(found)
        figures[f"{name}: processor s"] = f"{spent_s:.2f}"
        if "plan" in name:
            figures[f"{name}: elapsed s"] = f"{elapsed_s:.1f}"
        if "million" in name:
            figures[f"{name}: peak MiB"] = f"{max(peak for *_, peak in found):.0f}"
