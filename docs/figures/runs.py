"""What `make figures` simulates, all with engine `fast`: the rows of docs/figures/runs.csv.

The first column names a row: the scenario, a tier, a pool or `all`, and the strategy, such as
`two_tiers/disk/cache-only`. What is changed follows a `+`: `month/all/cache-only+lock_per_pool`.
`{measure}_low` and `{measure}_high` are the ends of the 95 % interval, over replications or by a bootstrap
over the days of a trace. `{measure}_more` is the paired difference to the same strategy without the change,
for replications.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import sim
from docs.figures import raw_share, tables
from sim.analysis.metrics import uploads_of
from sim.analysis.statistics import Sample
from sim.sweep.intervals import MEASURES, intervals
from sim.sweep.sweep import sweep, tidy
from sim.sweep.varying import Point, listed

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "scenarios"
KEPT = ROOT / "out" / "figures"  # cells that need not run again
REPLICATIONS = 10
CACHES = ("cache-only", "combined")
PAIRED = ("clone_hit_rate", "create_s_p95")
MEANS = (
    *("creates", "store_hit_rate", "cache_hit_rate", "create_s_p50"),
    *("image_provisioned_gib_peak", "image_volumes_mean", "image_volumes_peak", "user_volumes_mean"),
)
GB, COUNT = "backends.{}.image_volume_cache_max_size_gb", "backends.{}.image_volume_cache_max_count"
AS_IS: dict[str, dict[str, Any]] = {"": {}}
Changes = Mapping[str, Mapping[str, Any]]  # values of keys, by the name of the change


@dataclass(frozen=True)
class Asked:
    """Strategies on one scenario, each with its changes; "" is the scenario as it is."""

    name: str
    path: Path
    strategies: Mapping[str, Changes]
    replications: int = 1
    pools: tuple[str, ...] = ()  # strategies with their changes that have a row for each pool
    raw: tuple[Path, int] | None = None  # the scenario whose lines are dealt anew, and the % that are raw


def asked(folder: Path) -> list[Asked]:
    """Everything that is simulated. Changed scenarios are written into `folder`."""
    month, two_tiers = SCENARIOS / "month.yaml", SCENARIOS / "two_tiers.yaml"
    what_ifs = _what_ifs()
    cache = {"cache-only": what_ifs["cache-only"]}
    as_is = dict.fromkeys(tables.STRATEGIES, AS_IS)
    policies = {name: {"what_if.eviction": name} for name in tables.POLICIES}
    on_disk = {"on-disk": {"store.home": "disk-a#p0"}}
    stacked = {"stacked": {"cinder.capacity_weight_multiplier": -1}}
    of_month = as_is | {
        "store-only": AS_IS | on_disk,
        "cache-only": what_ifs["cache-only"] | policies | _limits() | stacked,
        "combined": what_ifs["combined"] | on_disk,
    }
    of_two_tiers = as_is | what_ifs | {"cache-only": what_ifs["cache-only"] | policies | _places()}
    methods = {f"upload={upload}": {"upload": upload} for upload in tables.UPLOADS}
    prefetched = {"upload=copy+prefetch": {"upload": "copy", "what_if.prefetch": True}}
    of_uploads = dict.fromkeys(("store-only", "combined", "on-demand-store"), methods)
    of_uploads |= {"cache-only": what_ifs["cache-only"] | methods | prefetched}
    of_small = dict.fromkeys(tables.SMALL, cache) | {"golden_images": of_uploads}
    found = [
        Asked("month", month, of_month, REPLICATIONS, ("cache-only", "cache-only+prefer_clones")),
        Asked("two_tiers", two_tiers, of_two_tiers),
    ]
    for name, strategies in of_small.items():
        count = REPLICATIONS if name == "generated" else 1
        found.append(Asked(name, SCENARIOS / f"{name}.yaml", strategies, count))
    for name, change in NODES.items():
        path = changed(month, folder, f"month-{name}", change)
        found.append(Asked(path.stem, path, {"cache-only": AS_IS}, REPLICATIONS))
    for of, count in ((month, REPLICATIONS), (two_tiers, 1)):
        for share in tables.SHARES:
            path = changed(of, folder, f"{of.stem}-raw-{share}", raw_share.change(share))
            of_shares = dict.fromkeys(tables.STRATEGIES[1:], AS_IS)
            found.append(Asked(path.stem, path, of_shares, count, raw=(of, share)))
    return found


def _what_ifs() -> dict[str, dict[str, Mapping[str, Any]]]:
    """The rows of scenarios/all_what_ifs.csv by strategy, named by the what-ifs that they turn on."""
    found: dict[str, dict[str, Mapping[str, Any]]] = {}
    for point in listed(SCENARIOS / "all_what_ifs.csv", CACHES):
        on = [key.partition(".")[2] for key, value in point.values if value]
        name = "+".join(on) if len(on) < 2 else "all" + "+prefetch" * ("prefetch" in on)
        found.setdefault(point.strategy, {})[name] = dict(point.values)
    return found


def _limits() -> dict[str, dict[str, Any]]:
    """Other limits of the caches of flash."""
    gb, count = GB.format("flash-*"), COUNT.format("flash-*")
    return {
        "no-count": {count: 0},
        "450gb": {gb: 450},
        "450gb+100": {gb: 450, count: 100},
        "no-limits": {gb: 0, count: 0},
    }


def _places() -> dict[str, dict[str, Any]]:
    """More places on the flash arrays of two_tiers.yaml, and a larger cache on the small one."""
    places = {"backends.flash-a.pools.p0.max_volumes": 120, "backends.flash-b.max_volumes": 120}
    larger = {GB.format("flash-b"): 100}
    return {"places": places, "larger": larger, "places+larger": places | larger}


def changed(path: Path, folder: Path, name: str, change: Callable[[dict[str, Any], Path], None]) -> Path:
    """A scenario with changes that no value of a key makes."""
    raw = yaml.safe_load(path.read_text())
    raw["images"] = str((path.parent / raw["images"]).resolve())
    if "trace" in raw["workload"]:
        raw["workload"]["trace"] = str((path.parent / raw["workload"]["trace"]).resolve())
    change(raw, folder)
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(raw))
    return folder / f"{name}.yaml"


def _three_backends(raw: dict[str, Any], folder: Path) -> None:
    raw["backends"] = {
        f"{tier}-{node}": raw["backends"][f"{tier}-a"] | {"node": node}
        for tier in raw["tiers"]
        for node in ("c1", "c2", "c3")
    }
    raw["store"]["home"] = "flash-c1#p0"


def _one_backend(lock_scope: str) -> Callable[[dict[str, Any], Path], None]:
    def change(raw: dict[str, Any], folder: Path) -> None:
        nodes = {"nodes": ["c1", "c2", "c3"], "cluster": True}
        raw["backends"] = {f"{tier}-a": raw["backends"][f"{tier}-a"] | nodes for tier in raw["tiers"]}
        raw["cinder"] = raw.get("cinder", {}) | {"lock_scope": lock_scope}

    return change


NODES = {
    "three-backends": _three_backends,
    "one-backend-node": _one_backend("node"),
    "one-backend-cloud": _one_backend("cloud"),
}


def real_months(shipped: Path, real: Path, folder: Path) -> Iterator[Asked]:
    """The month of real creations, with its trace and images in the folder `real`, on the arrays of the
    shipped one; and on clouds of three nodes."""

    def change(raw: dict[str, Any], _: Path) -> None:
        raw["images"] = str((real / "images.csv").resolve())
        raw["workload"] = {"trace": str((real / "trace.csv").resolve())}

    path = changed(shipped, folder, "real", change)
    yield Asked("real", path, dict.fromkeys(tables.STRATEGIES, AS_IS))
    for name, nodes in NODES.items():
        yield Asked(f"real-{name}", changed(path, folder, f"real-{name}", nodes), {"cache-only": AS_IS})


def simulated(one: Asked) -> pd.DataFrame:
    """The rows of one scenario."""
    names = [
        (strategy + f"+{change}" * bool(change), Point(tuple(values.items()), strategy))
        for strategy, changes in one.strategies.items()
        for change, values in changes.items()
    ]
    case = sim.load(one.path)
    points = [point for _, point in names]
    results = sweep(case, points, replications=one.replications, folder=KEPT / one.name)
    if failed := [result.error for result in results if result.error]:
        raise RuntimeError(f"{one.name}: {failed[0]}")
    parts = []
    for at, (name, _) in enumerate(names):  # one by one: points do not all vary the same keys
        own = results[at * one.replications : (at + 1) * one.replications]
        base = next(n for n, (other, _) in enumerate(names) if other == name.partition("+")[0] or n == at)
        parts.append(_rows(case, one, name, own, results[base * one.replications :][: one.replications]))
    rows = pd.concat(parts, ignore_index=True)
    if one.raw is not None:
        rows["raw_creates_rate"] = raw_share.of_creates(*one.raw, one.replications)
    return rows


def _rows(case: Any, one: Asked, name: str, own: Any, base: Any) -> pd.DataFrame:
    cells = tidy(own)
    cells = cells[cells["scope"].isin(["tier", "all", *["pool"] * (name in one.pools)])]
    found = intervals(case, own).set_index(["scope", "name"])
    sample = Sample.of_replications(len(own)) if len(own) > 1 else None
    rows = []
    for (scope, where), group in cells.groupby(["scope", "name"], sort=False):
        row = {"run": f"{one.name}/{where or 'all'}/{name}"}
        for measure in MEASURES:
            row |= {
                key: found.at[(scope, where), key] for key in (measure, f"{measure}_low", f"{measure}_high")
            }
        row |= group[list(MEANS)].mean().to_dict()
        if sample is not None and own is not base:
            others = tidy(base).query("scope == @scope and name == @where")
            for measure in PAIRED:
                estimate = sample.mean(group[measure].to_numpy() - others[measure].to_numpy())
                half = float(sample.half_widths(estimate))
                more = float(estimate.point)
                row |= {
                    f"{measure}_more": more,
                    f"{measure}_more_low": more - half,
                    f"{measure}_more_high": more + half,
                }
        rows.append(row)
    return pd.DataFrame(rows)


def upload_seconds(folder: Path) -> Iterator[dict[str, Any]]:
    """What the uploads of golden_images.yaml take, by method."""
    for upload in tables.UPLOADS:

        def change(raw: dict[str, Any], _: Path, upload: str = upload) -> None:
            raw["upload"] = upload

        case = sim.load(changed(SCENARIOS / "golden_images.yaml", folder, upload, change))
        seconds = uploads_of(sim.run(case, "cache-only", "fast"), "cache-only")["upload_s_p50"]
        yield {"run": f"golden_images/uploads/{upload}", "upload_s_p50": float(seconds.iloc[0])}


def everything(real: Path | None) -> tuple[pd.DataFrame, pd.DataFrame | None]:
    """The rows of runs.csv, and those of real.csv if there is the folder of the real month."""
    folder = KEPT / "scenarios"
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for one in asked(folder):
        print(one.name, flush=True)
        rows.append(simulated(one))
    every = pd.concat([*rows, pd.DataFrame(upload_seconds(folder))], ignore_index=True)
    if real is None:
        return every, None
    return every, pd.concat(map(simulated, real_months(SCENARIOS / "month.yaml", real, folder)))
