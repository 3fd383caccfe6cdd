"""Every limit of every backend simulated, and the best of them by definition: no code of the planner's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import yaml

import sim
from sim.inputs.scenario import Case
from sim.model.records import Records

Cache = tuple[int, int] | None  # GiB and images, 0 for any; None is a cache that is off
Mask = npt.NDArray[np.bool_]
GIB = 2**30
DAY_S = 86_400.0
CACHED = ("cache-only", "combined")  # the strategies under which limits matter
BACKEND: dict[str, Any] = {
    "create_s": 1,
    "clone_s": 2,
    "delete_s": 1,
    "write_mib_s": 512,
    "image_volume_cache_enabled": True,
}


def backend(tier: str, today: Cache, pools: Sequence[str] = ("p0",), **others: Any) -> dict[str, Any]:
    """A backend of a scenario, with today's limits."""
    return {**BACKEND, "volume_type": tier, "pools": {pool: {} for pool in pools}, **options(today), **others}


def options(cache: Cache) -> dict[str, Any]:
    """Cinder's options of a cache."""
    size, count = cache or (0, 0)
    return {
        "image_volume_cache_enabled": cache is not None,
        "image_volume_cache_max_size_gb": size,
        "image_volume_cache_max_count": count,
    }


def said(of: Mapping[str, Any]) -> Cache:
    """The cache that options set."""
    if not of["image_volume_cache_enabled"]:
        return None
    return (of["image_volume_cache_max_size_gb"], of["image_volume_cache_max_count"])


@dataclass(frozen=True)
class Use:
    """Creates on a host: so many, of images with these chances, spread over the days."""

    host: str
    tier: str
    chances: Mapping[str, float]
    creates: int
    lives_s: float = 40_000.0


def write(
    folder: Path,
    backends: Mapping[str, Mapping[str, Any]],
    gib: Mapping[str, int],
    events: pd.DataFrame,
    store_hosts: Mapping[str, str] | None = None,
    **others: Any,
) -> Path:
    """A scenario file, its images (raw, by GiB) and its trace; Glance has no limits, unless in `others`."""
    folder.mkdir(parents=True, exist_ok=True)
    tiers = dict.fromkeys(each["volume_type"] for each in backends.values())
    scenario: dict[str, Any] = {
        "glance": {"streams": None, "stream_mib_s": 128},
        "tiers": {tier: {} for tier in tiers},
        "backends": dict(backends),
        "images": "images.csv",
        "workload": {"trace": "trace.csv"},
        **others,
    }
    images = [
        (name, name, "raw", "bare", size * GIB, size * GIB, (store_hosts or {}).get(name, ""))
        for name, size in gib.items()
    ]
    columns = ["image_id", "name", "disk_format", "container_format", "size_bytes", "virtual_size_bytes"]
    pd.DataFrame(images, columns=[*columns, "store_hosts"]).to_csv(folder / "images.csv", index=False)
    events.to_csv(folder / "trace.csv", index=False)
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario, sort_keys=False))
    return path


def drawn(uses: Iterable[Use], days: float, seed: int) -> pd.DataFrame:
    """The events of a trace: creates at random times, deleted after some time."""
    rng = np.random.default_rng(seed)
    rows = []
    for use in uses:
        chances = np.array(list(use.chances.values()))
        for time in np.sort(rng.uniform(0, days * DAY_S, use.creates)).round(1).tolist():
            image = str(rng.choice(list(use.chances), p=chances / chances.sum()))
            name = f"v{len(rows)}"
            rows.append((time, "create", name, image, 8, use.tier, use.host))
            gone = time + 60 + round(rng.exponential(use.lives_s), 1)
            rows.append((gone, "delete", name, "", "", "", ""))
    return table_of(rows)


def table_of(rows: Sequence[tuple[Any, ...]]) -> pd.DataFrame:
    """A trace of its rows, in any order."""
    columns = ["time", "event", "volume_id", "image_id", "size_gib", "volume_type", "host"]
    return pd.DataFrame(rows, columns=columns).sort_values("time", kind="stable", ignore_index=True)


# -- everything simulated ------------------------------------------------------------------------------


def caches_of(case: Case, name: str) -> list[Cache]:
    """Off, every pair up to the largest working set of the backend's pools, and today's."""
    events = case.trace.events
    created = events[
        (events["event"] == "create") & (events["host"].astype(str).str.split("#").str[0] == name)
    ]
    counts, sizes = [0], [0]
    for _, of_pool in created.groupby(created["host"].astype(str)):
        images = set(of_pool["image_id"].astype(str))
        counts.append(len(images))
        sizes.append(sum(case.images[image].virtual_size_bytes // GIB for image in images))
    pairs = itertools.product(range(1, max(sizes) + 1), range(1, max(counts) + 1))
    today = said(case.scenario.backends[name].model_dump())
    return list(dict.fromkeys([None, *pairs, today]))


@dataclass(frozen=True)
class Everything:
    """Every combination of every backend's caches under every strategy.

    `cells`: a row each, with `strategy`, a column of the cache by backend, and by tier (`all`) and figure
    ("flash hit_rate"): hit_rate, p95_s, errors, creates, space_gib (peaks added up), price_month, cost.
    """

    case: Case
    cells: pd.DataFrame

    def today(self, backends: Iterable[str]) -> Mask:
        """The cells in which these backends have today's limits, or none have a cache by the strategy."""
        keep = np.ones(len(self.cells), bool)
        off = ~self.cells["strategy"].isin(CACHED).to_numpy()
        for name in backends:
            limits = said(self.case.scenario.backends[name].model_dump())
            keep &= off | np.array([cache == limits for cache in self.cells[name]])
        return keep

    def larger(self) -> Mask:
        """(n, n): whether cell j has every backend's limits at least as large as cell i has them."""
        strategy = pd.factorize(self.cells["strategy"])[0]
        found = strategy[:, None] == strategy[None, :]
        for name in self.case.scenario.backends:
            size, count = (
                np.array([-1.0 if cache is None else cache[at] or np.inf for cache in self.cells[name]])
                for at in (0, 1)
            )
            found &= (size[None, :] >= size[:, None]) & (count[None, :] >= count[:, None])
        return found


def everything(path: Path, growth: float = 1.0, strategies: Sequence[str] | None = None) -> Everything:
    """Simulate all there is."""
    from sim.workload.loading import load

    case = load(path, values={} if growth == 1 else {("workload", "growth"): growth})
    names = list(case.scenario.backends)
    rows = []
    for strategy in strategies or case.scenario.strategies:
        choices = [caches_of(case, name) if strategy in CACHED else [None] for name in names]
        for caches in itertools.product(*choices):
            chosen = dict(zip(names, caches, strict=True))
            rows.append({"strategy": strategy, **chosen, **figures_of(case, strategy, chosen)})
    cells = pd.DataFrame(rows)
    for name in names:
        cells[name] = pd.Series([row[name] for row in rows], dtype=object)
    return Everything(case, cells)


def simulated(
    case: Case,
    strategy: str,
    chosen: Mapping[str, Cache],
    others: Mapping[tuple[str, ...], Any] | None = None,
) -> tuple[Case, Records]:
    """One run, with these limits and without the internal tenant's quotas."""
    values: dict[tuple[str, ...], Any] = {
        ("backends", name, key): value
        for name, cache in chosen.items()
        for key, value in options(cache).items()
    }
    quotas = ("internal_tenant_quota_volumes", "internal_tenant_quota_gigabytes")
    values |= {("cinder", quota): None for quota in quotas} | dict(others or {})
    varied = Case(case.path, case.scenario.varied(values), case.images, case.trace, case.initial)
    return varied, sim.run(varied, strategy, "fast")


def figures_of(case: Case, strategy: str, chosen: Mapping[str, Cache]) -> dict[str, float]:
    """What a run comes to, by tier and figure."""
    _, records = simulated(case, strategy, chosen)
    usage = records.usage.query("kind == 'image'")
    used = {(of["scope"], of["name"]): of for of in usage.to_dict("records")}

    def held(scope: str, name: str, column: str) -> float:
        return float(used[scope, name][column]) if (scope, name) in used else 0.0

    tiers = case.scenario.tiers
    found = {
        "all cost": sum(cost_of(case, host, partial(held, "pool", host)) for host in case.scenario.pools())
    }
    for tier, spec in tiers.items():
        hosts = case.scenario.hosts_of(tier)
        found[f"{tier} space_gib"] = sum(held("pool", host, "provisioned_gib_peak") for host in hosts)
        price = spec.price_gib_month * held("tier", tier, "physical_gib_mean")
        found[f"{tier} price_month"] = price + spec.price_volume_month * held("tier", tier, "volumes_mean")
    found["all price_month"] = sum(found[f"{tier} price_month"] for tier in tiers)
    found["all space_gib"] = sum(held("pool", host, "provisioned_gib_peak") for host in case.scenario.pools())
    requests = records.requests
    of_tier = requests["volume_type"].to_numpy(object)
    made = requests["status"].to_numpy(object) == "available"
    cloned = np.isin(requests["source"].to_numpy(object).astype(str), ("cache", "store", "driver"))
    seconds = (requests["end"] - requests["time"]).to_numpy(float)
    for tier in (*tiers, "all"):
        here = (of_tier == tier) | (tier == "all")
        found |= {
            f"{tier} hit_rate": cloned[here].sum() / here.sum(),
            f"{tier} p95_s": p95_s(seconds[here & made]),
            f"{tier} errors": float((here & ~made).sum()),
            f"{tier} creates": float(here.sum()),
        }
    return found


def cost_of(case: Case, host: str, held: Callable[[str], float]) -> float:
    """What a pool's image-volumes cost: GiB, or, if any tier has prices, the dearest of its own."""
    tiers = case.scenario.tiers
    gib, volumes = held("provisioned_gib_mean"), held("volumes_mean")
    if not any(tier.price_gib_month or tier.price_volume_month for tier in tiers.values()):
        return gib
    its = [tiers[name] for name in case.scenario.backends[host.partition("#")[0]].volume_types]
    return gib * max(tier.price_gib_month for tier in its) + volumes * max(
        tier.price_volume_month for tier in its
    )


def p95_s(seconds: npt.NDArray[np.float64]) -> float:
    """The least seconds that 95 % of creates do not exceed."""
    return float(np.percentile(seconds, 95, method="inverted_cdf")) if len(seconds) else np.nan


# -- the best by definition ----------------------------------------------------------------------------

Rule = Callable[[pd.DataFrame], "pd.Series[Any]"]  # whether each cell keeps a bound


def least(column: str, bound: float) -> Rule:
    """At least so much."""
    return lambda cells: cells[column] >= bound - 1e-9


def most(column: str, bound: float) -> Rule:
    """At most so much."""
    return lambda cells: cells[column] <= bound + 1e-9


def all_of(rules: Iterable[Rule], cells: pd.DataFrame) -> Mask:
    """Which cells keep all rules."""
    kept = np.ones(len(cells), bool)
    for rule in rules:
        kept &= rule(cells).to_numpy(bool)
    return kept


def good(of: Everything, looked_at: Mask, goals: Sequence[Rule], budgets: Sequence[Rule]) -> Mask:
    """The cells within the budgets from which every larger one within the budgets reaches the goals."""
    allowed = looked_at & all_of(budgets, of.cells)
    misses = allowed & ~all_of(goals, of.cells)
    return allowed & ~(of.larger() & misses[None, :]).any(axis=1)


def cheapest(of: Everything, among: Mask) -> Mask:
    """Those of the cells that cost least."""
    costs = of.cells["all cost"].where(among)
    return among & (costs <= costs.min() * (1 + 1e-6) + 1e-9).to_numpy()


def cell_of(of: Everything, document: Mapping[str, Any]) -> int:
    """The row of what a plan's document recommends."""
    same = np.array(of.cells["strategy"] == document["strategy"])
    for name, its in document["backends"].items():
        same &= np.array([cache == said(its) for cache in of.cells[name]])
    (row,) = np.flatnonzero(same)
    return int(row)


def smallest_of(of: Everything, among: Mask) -> Mask:
    """Those than which no other one of the same strategy has smaller limits."""
    smaller = of.larger().T & ~np.eye(len(of.cells), dtype=bool)
    return among & ~(smaller & among[None, :]).any(axis=1)
