"""The recommendation of a comparison: a row for the cloud, and backends whose cache should wait."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sim.analysis.comparison import BASELINE, Comparison
from sim.analysis.names import mapped
from sim.analysis.wording import by, count, events_of
from sim.inputs.hosts import backend_of
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.model.records import FILL_FAILED, TOO_LARGE, Records
from sim.model.usage import ALL

SLOWER = 1.1  # a tier is slower if its p95 exceeds this many times the p95 without image-volumes
AT_LIMIT = r"(\S+) is at its limit of \d+ volumes"  # the message of an array, about a pool or itself
FAILED_DIGITS = 3  # shares of failed creates that are equal to this many digits count as equal

Raises = Mapping[str, list[str]]  # by tier, what to raise first


def without_cache(strategy: str) -> str:
    """The strategy that is the same but for its cache."""
    schemes = STRATEGIES[strategy].allowed_direct_url_schemes
    return next(
        name
        for name, each in STRATEGIES.items()
        if each.allowed_direct_url_schemes == schemes and not each.image_volume_cache_enabled
    )


@dataclass(frozen=True)
class Advice:
    """The recommendation: the `row`'s name in the tables, and by tier the backends whose cache should `wait`.

    `why` has a sentence for each tier that is worse off than without image-volumes. A cache can wait on some
    backends, because each backend has its own switch. The Cinder store cannot: it serves the whole cloud.
    """

    row: str
    wait: dict[str, list[str]] = field(default_factory=dict)
    why: dict[str, str] = field(default_factory=dict)

    @property
    def backends(self) -> list[str]:
        """The backends whose cache should wait."""
        return list(dict.fromkeys(name for names in self.wait.values() for name in names))


def means_of(summaries: pd.DataFrame, found: Comparison | None) -> pd.DataFrame:
    """The summaries, or the means over replications in their shape."""
    if found is None or found.of != "replications":
        return summaries
    wide = found.measures.pivot(index=["tier", "strategy"], columns="measure", values="mean")
    keys = pd.MultiIndex.from_frame(found.measures[["tier", "strategy"]].drop_duplicates())
    return wide.reindex(keys)[list(dict.fromkeys(found.measures["measure"]))].reset_index()


def most_hits(summaries: pd.DataFrame) -> str:
    """The row with the most clone hits over all tiers."""
    rows = summaries[summaries["tier"] == ALL]
    return str(rows["strategy"].iloc[int(rows["clone_hit_rate"].fillna(-1).argmax())])


def failed(rows: pd.DataFrame) -> pd.Series:
    """Failed creates, from an image and without one."""
    return rows["errors"] + rows["other_errors"]


def recommended(summaries: pd.DataFrame, found: Comparison | None) -> str:
    """The row with the fewest failures, then the lowest cost, among those with about the most hits.

    About the most means: as many as the best one's interval allows. `summaries`: rows of
    `sim.analysis.metrics.summary`. `found`: their intervals.
    """
    summaries = means_of(summaries, found)
    best, rows = most_hits(summaries), summaries[summaries["tier"] == ALL].set_index("strategy")
    least = rows["clone_hit_rate"][best]
    if found is not None:
        own = found.measures[
            (found.measures["tier"] == ALL) & (found.measures["measure"] == "clone_hit_rate")
        ]
        least = float(own.set_index("strategy")["low"].get(best, least))
    near = rows[rows["clone_hit_rate"] >= least]
    near = near.assign(failed=(failed(near) / near["creates"]).round(FAILED_DIGITS))
    near = near.sort_values(["failed", "price_month", "image_provisioned_gib_mean"], kind="stable")
    return str(near.index[0]) if len(near) else best


def advice(
    summaries: pd.DataFrame, found: Comparison | None, scenario: Scenario, strategy_of: Mapping[str, str]
) -> Advice:
    """The row to run, and the tiers whose cache should wait because it makes the tier worse off.

    `strategy_of`: the strategy of each row. A tier is worse off if more of its creates fail than with `none`,
    or if its p95 is more than SLOWER times as long. Without a row `none` nothing is compared.
    """
    chosen = recommended(summaries, found)
    means = means_of(summaries, found)
    if chosen == BASELINE or BASELINE not in set(means["strategy"]):
        return Advice(chosen)
    rows = {(row["strategy"], row["tier"]): row for row in means.to_dict("records")}
    wait, why = {}, {}
    for tier in scenario.tiers:
        told = _worse(rows[chosen, tier], rows[BASELINE, tier])
        if not told:
            continue
        why[tier] = f"{tier} is worse off with {chosen} than with {BASELINE}: {told}"
        serving = [name for name, backend in scenario.backends.items() if tier in backend.volume_types]
        if STRATEGIES[strategy_of[chosen]].image_volume_cache_enabled:
            wait[tier] = [name for name in serving if scenario.backends[name].image_volume_cache_enabled]
    # A backend keeps its cache if it also serves a tier that is better off with it.
    kept = {
        name
        for tier in scenario.tiers
        if tier not in wait
        for name, backend in scenario.backends.items()
        if tier in backend.volume_types
    }
    wait = {tier: left for tier, names in wait.items() if (left := [n for n in names if n not in kept])}
    return Advice(chosen, wait, why)


def _worse(with_it: Mapping[Hashable, Any], without: Mapping[Hashable, Any]) -> str:
    parts = []
    if with_it["create_s_p95"] > SLOWER * without["create_s_p95"]:
        parts.append(f"p95 {without['create_s_p95']:,.0f} -> {with_it['create_s_p95']:,.0f} s")
    before, after = (float(row["errors"] + row["other_errors"]) for row in (without, with_it))
    if after > before:
        parts.append(f"failed creates {before:,.4g} -> {after:,.4g}")
    return ", ".join(parts)


def to_raise(records: Records, case: Case) -> dict[str, list[str]]:
    """By tier, the limits that made its creates slow or fail with a cache, and values that suffice."""
    told: dict[str, list[str]] = {}
    skips = events_of(records, "skip")
    refused = skips[skips["reason"].astype(str).str.startswith(TOO_LARGE)]
    for backend, chosen in by(refused.assign(backend=mapped(refused["host"], backend_of)), "backend"):
        images, gib = count(chosen["image_id"].nunique(), "image"), chosen["size_gib"].max()
        told[backend] = [f"image_volume_cache_max_size_gb of {backend} to {gib:,} (it refuses {images})"]
    over_quota = skips[skips["reason"].astype(str) == f"{FILL_FAILED}OverQuota"]
    for backend, chosen in by(over_quota.assign(backend=mapped(over_quota["host"], backend_of)), "backend"):
        fills = count(len(chosen), "cache fill")
        told.setdefault(backend, []).append(f"the internal tenant's quota (it refused {fills} on {backend})")
    tables = (records.requests, records.others)
    held = pd.concat([table.loc[table["cache_held"] > 0, ["error", "cache_held"]] for table in tables])
    full = held["error"].str.extract(AT_LIMIT, expand=False).fillna("").map(backend_of)
    for backend, chosen in by(held.assign(backend=full)[full != ""], "backend"):
        failed_there = f"{count(len(chosen), 'create')} failed while the cache held places"
        told.setdefault(backend, []).append(f"max_volumes of {backend} ({failed_there})")
    found: dict[str, list[str]] = {}
    for backend, lines in told.items():
        for tier in case.scenario.backends[backend].volume_types:
            found.setdefault(tier, []).extend(lines)
    return found
