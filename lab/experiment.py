"""The experiment of docs/is-it-true.md: measure one run, import, calibrate, predict all, measure, compare."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from lab import chance, cloud, compare, conf, killed, measure
from lab.player import Player
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case
from sim.inputs.yamlfile import read_yaml
from sim.run import run
from sim.workload.loading import load

HERE = Path(__file__).parent
RESULTS = HERE / "results"
PICTURE = HERE.parent / "docs" / "is-it-true.png"
TABLES = ("requests", "cache", "cache_events")
REPEATS = 20


def configurations(path: Path = HERE / "configurations.yaml") -> dict[str, dict[str, Any]]:
    """What each run changes."""
    return _mapping(path)


def _mapping(path: Path) -> dict[str, Any]:
    problems = Problems()
    found = read_yaml(path, problems)
    if found is None:
        raise BadInput(problems.lines())
    return {str(name): value for name, value in found.items()}


def case_of(name: str, scenario: Path = HERE / "scenario.yaml") -> tuple[Case, str]:
    """The case and the strategy of a run, as the lab is set up for it."""
    changes = dict(configurations()[name])
    strategy = changes.pop("strategy", "cache-only")
    values: dict[tuple[str, ...], object] = {}
    if "trace" in changes:
        values[("workload", "trace")] = changes.pop("trace")
    values |= {tuple(key.split(".")): value for key, value in changes.items()}
    if strategy == "none":
        for backend in load(scenario).scenario.backends:
            values[("backends", backend, "image_volume_cache_enabled")] = False
    return load(scenario, values=values), strategy


def measure_run(name: str, folder: Path, out: Path) -> None:
    """Sets the lab up for a run, plays it, and writes what it did below `out`.

    `folder` keeps everything but the volumes.
    """
    case, _ = case_of(name)
    with cloud.running(case, folder) as lab:
        memory = _memory_mib(folder)
        player = Player(case, lab)
        player.upload(folder.parent / "images")
        print(f"{name}: ready after {lab.start_s:.0f} s, {memory:.0f} MiB; plays", flush=True)
        seen = player.play()
        found = measure.tables(seen, player, lab)
        _write(found, out)
        (folder / "glance_ids.json").write_text(json.dumps(player.glance_ids))
        facts = {
            "start_s": round(lab.start_s, 1),
            "memory_mib": round(memory),
            "disk_mib": round(_disk_mib(folder)),
            "play_s": round(time.time() - player.start, 1),
            "load_average": os.getloadavg()[2],
        }
        (out / "costs.json").write_text(json.dumps(facts, indent=1) + "\n")
        if name == "baseline":
            print(imported(lab, folder / "imported"))
    shutil.rmtree(folder / "arrays", ignore_errors=True)  # up to 27 GiB


def imported(lab: cloud.Lab, out: Path) -> str:
    """What `cinder-cache import` prints when it reads the lab."""
    services = [part for node in conf.nodes(lab.scenario) for part in ("--service", f"cinder-{node}.conf")]
    sources = [*("--conf", "cinder.conf"), *services, "--db", conf.database(lab.ports), "--glance", "lab"]
    sources += ["--notifications", "notifications.jsonl"]
    return _sim(lab.folder, "import", "--out", out, *sources)


def _sim(folder: Path, *arguments: Any) -> str:
    command = [sys.executable, "-m", "sim", *map(str, arguments)]
    env = {**os.environ, "PYTHONPATH": str(cloud.ROOT)}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True)
    if done.returncode:
        raise cloud.Broken(f"cinder-cache {arguments[0]}: {done.stderr}")
    return done.stdout + done.stderr


def predict(calibrated: Path, out: Path) -> None:
    """Simulates every run with the calibrated times, and writes the tables and their hashes below `out`.

    What import and calibrate cannot tell is the lab's (see `cloud_of`), or in known.yaml.
    """
    known = {tuple(key.split(".")): value for key, value in _mapping(HERE / "known.yaml").items()}
    for name in configurations():
        case, strategy = case_of(name)
        case = cloud_of(case, calibrated)
        case = replace(case, scenario=case.scenario.varied(known))
        found = run(case, strategy, "cinder")
        tables = {table: getattr(found, table) for table in TABLES}
        _write(tables | {"chance": chance.drawn(case, strategy, REPEATS)}, out / name)
    hashes = [
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(out)}"
        for path in sorted(out.glob("*/*.csv"))
    ]
    (out / "SHA256SUMS").write_text("\n".join(hashes) + "\n")


FITTED = ("create_s", "clone_s", "write_mib_s", "convert_mib_s")


def cloud_of(case: Case, calibrated: Path) -> Case:
    """The case with the times and rates that `calibrate` fitted to the first run, and nothing else of it."""
    fitted = load(calibrated).scenario
    values: dict[tuple[str, ...], object] = {("glance", "stream_mib_s"): fitted.glance.stream_mib_s}
    for name in case.scenario.backends:
        for key in FITTED:
            values[("backends", name, key)] = getattr(fitted.backends[name], key)
    return replace(case, scenario=case.scenario.varied(values))


def _write(tables: Mapping[str, pd.DataFrame], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        table.round(3).to_csv(out / f"{name}.csv", index=False)


def _memory_mib(folder: Path) -> float:
    """Memory of the lab's processes that is theirs alone, and their share of what they share."""
    total = 0
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if f"LAB={folder}".encode() in (path / "environ").read_bytes().split(b"\0"):
                (line,) = (one for one in (path / "smaps_rollup").open() if one.startswith("Pss:"))
                total += int(line.split()[1])
        except OSError:
            continue
    return total / 1024


def _disk_mib(folder: Path) -> float:
    """What the files of the lab take; those on the arrays are in the arrays' own files."""
    total = 0
    for where, folders, names in os.walk(folder):
        if where == str(folder / "arrays"):
            folders.clear()
        total += sum((Path(where) / name).lstat().st_blocks * 512 for name in names)
    return total / (1 << 20)


def do(folder: Path) -> None:
    """The whole experiment: the first run, import, calibrate, all predictions, all other runs, the kills."""
    measure_run("baseline", folder / "baseline", RESULTS / "measured/baseline")
    own = folder / "baseline/imported"
    print(_sim(folder, "calibrate", own))
    for name in ("scenario.yaml", "calibrated.yaml", "images.csv", "trace.csv"):
        shutil.copy(own / name, RESULTS / "imported" / name)
    predict(own / "calibrated.yaml", RESULTS / "predicted")
    for name in configurations():
        if name != "baseline":
            measure_run(name, folder / name, RESULTS / "measured" / name)
    measure_run("baseline", folder / "again", RESULTS / "repeated/baseline")
    killed.watch(folder / "killed", RESULTS / "killed.csv")
    report(RESULTS, PICTURE)


def report(results: Path, picture: Path) -> None:
    """Writes what the page shows, from the tables of all runs that were predicted and measured."""
    from lab import plot

    predicted, measured = results / "predicted", results / "measured"
    runs = [name for name in configurations() if (measured / name / "requests.csv").exists()]
    compared = compare.compared(predicted, measured, runs)
    compared.to_csv(results / "compared.csv", index=False)
    plot.wide(compared).to_csv(results / "overview.csv", index=False)
    repeated = compare.compared(predicted, results / "repeated", ["baseline"])
    repeated.to_csv(results / "repeated.csv", index=False)
    compare.agreement(predicted, measured, runs).to_csv(results / "agreement.csv", index=False)
    costs = [{"run": run} | json.loads((measured / run / "costs.json").read_text()) for run in runs]
    pd.DataFrame(costs).to_csv(results / "costs.csv", index=False)
    plot.distributions(predicted, measured, runs).savefig(picture, dpi=100)
