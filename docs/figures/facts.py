"""Figures that need no run of a scenario: counts of the inputs, the lab's results, and how close a fit is.

`inputs.csv` counts what scenarios and lists have. `lab.csv` is of lab/results, a row a run. `fit.csv` has the
hits of an LRU cache of some entries on the real month, on workloads drawn with the parameters fitted to it,
and on creates that are drawn by Zipf's law alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

import sim
from sim.fast.replay import curve_by_count, look_ups
from sim.fitting.fit import fit
from sim.inputs.generator import DAY, Generate
from sim.workload.generate import generate

ROOT = Path(__file__).parents[2]
LAB = ROOT / "lab" / "results"
ENTRIES = (5, 10, 20, 50)
DRAWS = 20
Row = dict[str, Any]


def inputs(real: Path | None) -> pd.DataFrame:
    """Counts of what the examples have, by scenario or list; those of the real month if it is there."""
    month = pd.read_csv(ROOT / "scenarios/month/images.csv")
    two_tiers = pd.read_csv(ROOT / "scenarios/two_tiers/images.csv")
    rows: list[Row] = [
        {"of": "month", "versions": len(month)} | _images(month) | {"images": month["name"].nunique()},
        {"of": "two_tiers"} | _images(two_tiers) | _limits(ROOT / "scenarios/two_tiers.yaml"),
        {"of": "cloud_images", "images": len(pd.read_csv(ROOT / "sim/data/cloud_images.csv"))},
    ]
    if real is not None:
        times = pd.read_csv(real / "trace.csv").query("event == 'create'")["time"]
        found = {"creates": len(times), "days": int(np.ceil((times.max() - times.min()) / DAY))}
        rows.append({"of": "real"} | _images(pd.read_csv(real / "images.csv")) | found)
    return pd.DataFrame(rows).set_index("of")


def _images(images: pd.DataFrame) -> Row:
    return {"images": len(images), "raw": int((images["disk_format"] == "raw").sum())}


def _limits(path: Path) -> Row:
    """The creates of an example, the places of its small array and the GB of its small cache."""
    case = sim.load(path)
    small = case.scenario.backends["flash-b"]
    return {
        "creates": int((case.trace.events["event"] == "create").sum()),
        "places": small.max_volumes,
        "cache_gb": small.image_volume_cache_max_size_gb,
    }


def lab() -> pd.DataFrame:
    """What docs/is-it-true.md tells of runs beside its tables."""
    compared = pd.read_csv(LAB / "compared.csv").set_index(["run", "measure"])
    rows = [
        {
            "run": run,
            "p50_predicted_s": compared.at[(run, "p50_s"), "predicted"],
            "p50_measured_s": compared.at[(run, "p50_s"), "measured"],
            "longest_lock_wait_s": pd.read_csv(LAB / f"measured/{run}/requests.csv")["lock_wait_s"].max(),
        }
        for run in compared.index.unique("run")
    ]
    of = {"fitted_clone_s": LAB / "imported/calibrated.yaml", "array_clone_s": ROOT / "lab/scenario.yaml"}
    backend = {"run": "flash-a"} | {
        key: yaml.safe_load(path.read_text())["backends"]["flash-a"]["clone_s"] for key, path in of.items()
    }
    return pd.DataFrame([*rows, backend]).set_index("run")


def closeness(real: Path) -> pd.DataFrame:
    """Hit rates of an LRU cache by its entries: of the month in the folder `real`, of `DRAWS` workloads with
    the parameters fitted to it, and of Zipf's law alone."""
    creates = pd.read_csv(real / "trace.csv").query("event == 'create'")
    spec = Generate.model_validate(fit(real / "trace.csv").generate())
    tiers = tuple(creates["volume_type"].unique())
    drawn = [generate(spec, (), tiers, 1, number, real).trace.events for number in range(DRAWS)]
    ranks = np.arange(1, spec.popularity.images + 1, dtype=float)
    weights = ranks**-spec.popularity.zipf
    alone = np.random.default_rng(1).choice(len(ranks), (DRAWS, len(creates)), p=weights / weights.sum())
    kinds = {
        "real": [creates["image_id"]],
        "fitted": [each.loc[each["event"] == "create", "image_id"] for each in drawn],
        "zipf": list(alone),
    }
    rows = {kind: np.mean([_hits(images) for images in each], axis=0) for kind, each in kinds.items()}
    return pd.DataFrame.from_dict(rows, "index", columns=[f"lru_{n}_rate" for n in ENTRIES])


def _hits(images: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """The hit rates of an LRU cache with each of `ENTRIES`, over the creates from an image."""
    asked = pd.Series(np.asarray(images)).replace("", np.nan).dropna()
    codes, names = pd.factorize(asked)
    hits = curve_by_count(look_ups(codes, np.ones(len(names)))).hits[0]
    return np.array([hits[min(n, len(names))] for n in ENTRIES]) / len(codes)


def everything(real: Path | None, earlier: dict[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """All of these files by name. What only the real month tells stays as it was if that is not there."""
    counted = inputs(real)
    if real is None:
        counted = pd.concat([counted, earlier["inputs"].loc[["real"]]])
    found = {"inputs": counted, "lab": lab()}
    return found if real is None else found | {"fit": closeness(real)}
