"""Hits without the plugin `clone-first`, with it, and with its option removed: one type on two backends."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from lab import cloud, measure
from lab.player import Player
from sim.inputs.scenario import Case
from sim.run import run
from sim.workload.loading import load

SCENARIO = Path(__file__).parent / "clone_first.yaml"
PLUGIN = cloud.ROOT / "plugins" / "clone-first"
RUNS = {"before": (False, False), "installed": (True, True), "undone": (True, False)}  # package, option


def case_of(option: bool) -> Case:
    return load(SCENARIO, values={("what_if", "prefer_clones"): option})


def measured(folder: Path, out: Path) -> pd.DataFrame:
    """A row for each of `RUNS`: hits, downloads and errors, as measured and as simulated."""
    out.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, (package, option) in RUNS.items():
        case = case_of(option)
        with cloud.running(case, folder / name, plugin=PLUGIN if package else None) as lab:
            player = Player(case, lab)
            player.upload(folder / "images")
            requests = measure.tables(player.play(), player, lab)["requests"]
        requests.round(3).to_csv(out / f"{name}.csv", index=False)
        rows.append({"run": name, "of": "measured"} | counts(requests))
        rows.append({"run": name, "of": "simulated"} | counts(run(case, "cache-only", "cinder").requests))
    table = pd.DataFrame(rows)
    table.to_csv(out / "hits.csv", index=False)
    return table


def counts(requests: pd.DataFrame) -> dict[str, int]:
    """Creates by what made their volume, and how many pools made them."""
    source = requests["source"].astype(str)
    made = {name: int((source == name).sum()) for name in ("cache", "download", "none")}
    return {"creates": len(requests), **made, "pools": requests["host"].nunique()}
