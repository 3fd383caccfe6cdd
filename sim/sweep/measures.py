"""Measures of a run, without the tables that a sweep would throw away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.analysis.metrics import PERCENTILES
from sim.analysis.statistics import Blocks
from sim.fast.engine import Prepared
from sim.fast.names import positions
from sim.fast.occupied import occupied
from sim.fast.state import (
    ACCOUNTS,
    FIELDS,
    FROM_CACHE,
    FROM_DRIVER,
    FROM_STORE,
    NO_SOURCE,
    Array,
    State,
)
from sim.fast.tally import COUNTS, DOWNLOADED, IN_BLOCKS, LATE, OTHERS, PLACE, tally
from sim.inputs.cinders import Cinder
from sim.inputs.scenario import Scenario
from sim.inputs.units import GIB
from sim.model.records import SOURCES
from sim.model.usage import KINDS
from sim.sweep.played import played
from sim.sweep.results import ALL, Row, Rows, Scope
from sim.sweep.varying import Varied

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
TIMES = ["create_s_mean", *(f"create_s_p{percent}" for percent in PERCENTILES)]
USED = KINDS[:-1]
USAGE = [f"{kind}_{quantity}_{stat}" for kind in USED for quantity in FIELDS for stat in ("mean", "peak")]
MEANS = [f"image_{quantity}" for quantity in FIELDS]
MADE_S = "made_s"  # seconds of all creates that succeed
BY_BLOCK = (*COUNTS, MADE_S, *MEANS)
FIGURES = (
    *("creates", "clone_hit_rate", "driver_hit_rate", "store_hit_rate", "cache_hit_rate", *TIMES),
    *("boot_timeout_share", "errors", "other_errors", "downloaded_gib", *USAGE),
)


class Measurer:
    """Plays and measures one prepared case.

    `warm_up_s`: creates before it are left out. `slow_s`: a successful create is slow above the seconds of
    its tier; among all creates, it is slow above the seconds of ALL. Without seconds, no create is slow.
    The time from `warm_up_s` on is split into `blocks` blocks of `block_s` seconds (see
    `sim.analysis.statistics.Blocks`), or is one block if not `in_blocks`.
    """

    def __init__(
        self,
        prepared: Prepared,
        warm_up_s: float = 0.0,
        slow_s: Mapping[str, float] | None = None,
        in_blocks: bool = True,
    ) -> None:
        self.prepared = prepared
        self.varied = Varied(prepared.case.scenario)
        case, names, slow_s = prepared.case, prepared.names, slow_s or {}
        self.time = prepared.asked["time"].to_numpy(np.float64)
        self.last_event = float(case.trace.events["time"].iloc[-1])
        last = case.last_create_s
        blocks = Blocks.between(warm_up_s, last) if in_blocks else Blocks(warm_up_s, last - warm_up_s, 1)
        self.block_s, self.blocks, self._edges = blocks.length_s, blocks.count, blocks.starts()
        self._first = int(np.searchsorted(self.time, warm_up_s))
        asked = prepared.asked.iloc[self._first :]
        other = (asked["image_id"] == "").to_numpy()
        self.requests = int((~other).sum())
        time = self.time[self._first :]
        tier = positions(asked["volume_type"], names.tiers)
        place = (tier * self.blocks + blocks.of(time)).astype(np.int32)
        sizes = np.array([*(image.size_bytes for image in case.images.values()), 0], np.int64)
        its_bytes = sizes[positions(asked["image_id"], list(case.images))]
        slow = np.array([slow_s.get(name, np.inf) for name in (*names.tiers, ALL)])
        self._of_creates = other, time, place, its_bytes, slow

    def play(self, scenario: Scenario, strategy: str, cinder: Cinder | None = None) -> tuple[State, float]:
        """Run a strategy so that `rows` can measure it: `played` with the edges of the blocks."""
        return played(self.prepared, scenario, strategy, self._edges, cinder)

    def rows(self, s: State, scenario: Scenario) -> Rows:
        """Measure what `play` returned: a row for each tier, pool and backend, and one for all."""
        names = self.prepared.names
        counts, made_s, times, last_end = self._count(s, scenario.boot_timeout_s)
        usage = _usage(s, max(self.last_event, last_end, float(s.world[0]["last_change"])))
        peaks = {"pool": s.pools["volumes_peak"].tolist(), "backend": s.backends["volumes_peak"].tolist()}
        scopes: dict[Scope, Sequence[str]] = {
            "tier": names.tiers,
            "pool": names.hosts,
            "backend": names.backends,
            "all": [ALL],
        }
        of_counts, of_seconds, of_usage = _of_creates(counts, s), _of_creates(made_s, s), _of_usage(usage, s)
        rows: dict[tuple[Scope, str], Row] = {}
        total = 0.0
        for scope, of_scope in scopes.items():
            counted, seconds, used = of_counts[scope], of_seconds[scope], of_usage[scope]
            for number, name in enumerate(of_scope):
                figures = _figures(counted[number], times[scope][number], used[number])
                price = total if scope == "all" else _price(scope, name, figures, scenario)
                total += price if scope == "tier" else 0.0
                figures["price_month"] = price
                hits = 100 * figures["clone_hit_rate"]
                held_gib = figures["image_provisioned_gib_mean"]
                figures["gib_per_point"] = held_gib / hits if hits > 0 else np.nan
                rows[scope, name] = Row(
                    scope,
                    name,
                    figures,
                    peaks[scope][number] if scope in peaks else None,
                    {} if scope == "pool" else self._blocks(counted[number], seconds[number], used[number]),
                    self._tiers(counts, made_s, number, s) if scope == "backend" else {},
                )
        return rows

    def _count(
        self, s: State, boot_timeout_s: float
    ) -> tuple[Ints, Floats, dict[str, list[list[float]]], float]:
        """Count the creates after the warm-up. Returns the counts and seconds of `sim.fast.tally`, by pool
        (from 1 on) and tier; `_times`; and the end of the last create, before the warm-up too.
        """
        tiers = len(self.prepared.names.tiers)
        groups, done = (len(s.pools) + 1) * tiers, s.rows[self._first : len(self.time)]
        counts = np.zeros((groups, IN_BLOCKS + len(COUNTS) * self.blocks), np.int64)
        made_s, places = np.zeros((groups, self.blocks)), np.zeros((groups * self.blocks, PLACE), np.int64)
        first, seconds = np.zeros(groups + 1, np.int64), np.empty(len(done))
        counted = (places, counts, made_s, first, seconds)
        last_end = tally(done, *self._of_creates, boot_timeout_s, *counted)
        if self._first:
            last_end = max(last_end, float(s.rows["end"][: self._first].max()))
        by_pool = -1, tiers
        split = counts.reshape(*by_pool, counts.shape[1]), made_s.reshape(*by_pool, self.blocks)
        return *split, _times(seconds, first, s), last_end

    def _blocks(
        self, counts: Sequence[int], made_s: Sequence[float], usage: Sequence[float]
    ) -> dict[str, Sequence[float]]:
        """BY_BLOCK of a row."""
        of_creates, means = self._split(counts[IN_BLOCKS:]), self._split(usage[len(USAGE) :])
        return dict(zip(BY_BLOCK, [*of_creates, made_s, *means], strict=True))

    def _split(self, numbers: Sequence[float]) -> list[Sequence[float]]:
        """Numbers of several measures, each in all blocks, by measure."""
        return [numbers[at : at + self.blocks] for at in range(0, len(numbers), self.blocks)]

    def _tiers(
        self, counts: Ints, made_s: Floats, backend: int, s: State
    ) -> dict[str, dict[str, Sequence[float]]]:
        """The counts in blocks of a backend that serves several tiers, by tier."""
        served = [tier for tier, serves in enumerate(s.serves[backend].tolist()) if serves]
        if len(served) < 2:
            return {}
        first = int(s.backends["first_pool"][backend]) + 1
        its = slice(first, first + int(s.backends["pools"][backend]))
        in_blocks, seconds = counts[its, :, IN_BLOCKS:].sum(axis=0).tolist(), made_s[its].sum(axis=0).tolist()
        return {
            self.prepared.names.tiers[tier]: {
                **dict(zip(COUNTS, self._split(in_blocks[tier]), strict=True)),
                MADE_S: seconds[tier],
            }
            for tier in served
        }


def _of_creates(array: Array, s: State) -> dict[Scope, list[Any]]:
    """The sums, by scope and name, of an array (P + 1, T, ...) by pool (from 1 on) and tier."""
    of_pools = array[1:].sum(axis=1)
    sums: dict[Scope, Array] = {
        "tier": array.sum(axis=0),
        "pool": of_pools,
        "backend": np.add.reduceat(of_pools, s.backends["first_pool"]),
        "all": array.sum(axis=(0, 1), keepdims=True)[0],
    }
    return {scope: of.tolist() for scope, of in sums.items()}


def _of_usage(array: Array, s: State) -> dict[Scope, list[Any]]:
    """The rows, by scope and name, of an array (P + T + 1, ...) by pool, tier and all."""
    pools = len(s.pools)
    of_backends = np.add.reduceat(array[:pools], s.backends["first_pool"])
    told = array.tolist()
    return {"tier": told[pools:-1], "pool": told[:pools], "backend": of_backends.tolist(), "all": told[-1:]}


def _times(seconds: Floats, first: Ints, s: State) -> dict[str, list[list[float]]]:
    """TIMES of the successful creates, by scope and name. `seconds` and `first` are from `sim.fast.tally`.

    A stretch of seconds is ordered in its place, so the scopes go from small to large.
    """
    tiers = int(s.options[0]["tiers"])
    at = first.tolist()[tiers:]  # no create succeeds on no pool
    found: dict[tuple[tuple[int, int], ...], list[float]] = {}

    def of(*parts: tuple[int, int]) -> list[float]:
        """Find TIMES of creates in stretches, once: a tier, a pool and a backend often have the same."""
        some = tuple(part for part in parts if part[0] < part[1])
        if some not in found:
            found[some] = _times_of([seconds[start:end] for start, end in some])
        return found[some]

    pools = range(0, len(at) - 1, tiers)
    backends = zip(s.backends["first_pool"].tolist(), s.backends["pools"].tolist(), strict=True)
    return {
        "tier": [of(*((at[pool + tier], at[pool + tier + 1]) for pool in pools)) for tier in range(tiers)],
        "pool": [of((at[pool], at[pool + tiers])) for pool in pools],
        "backend": [of((at[pool * tiers], at[(pool + count) * tiers])) for pool, count in backends],
        "all": [of((0, at[-1]))],
    }


def _times_of(parts: Sequence[Floats]) -> list[float]:
    """TIMES: the mean, and PERCENTILES as `np.percentile` interpolates them; NaN without creates."""
    if not parts:
        return [np.nan] * len(TIMES)
    ordered = parts[0] if len(parts) == 1 else np.concatenate(parts)
    ordered.sort()
    last = len(ordered) - 1
    found = [float(ordered.sum()) / len(ordered)]
    for percent in PERCENTILES:
        below, share = divmod(last * (percent / 100), 1)
        low, high = ordered.item(int(below)), ordered.item(min(int(below) + 1, last))
        found.append(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)
    return found


def _figures(counts: Sequence[int], times: Sequence[float], usage: Sequence[float]) -> dict[str, float]:
    """FIGURES of a row."""
    creates = sum(counts[: len(SOURCES)])
    clones = (counts[FROM_DRIVER], counts[FROM_STORE], counts[FROM_CACHE])
    parts = (sum(clones), *clones, counts[LATE])
    *rates, late = [part / creates for part in parts] if creates else [np.nan] * len(parts)
    others = (counts[NO_SOURCE], counts[OTHERS], counts[DOWNLOADED] / GIB)
    values = (creates, *rates, *times, late, *others, *usage[: len(USAGE)])
    return dict(zip(FIGURES, values, strict=True))


def _told(accounts: Array) -> Floats:
    """Accounts as numbers: (..., P + T + 1, kinds, level | area | peak, FIELDS and `since`)."""
    return accounts.view(np.float64).reshape(*accounts.shape[:-1], -1, ACCOUNTS, 3, len(FIELDS) + 1)


def _usage(s: State, end: float) -> Floats:
    """USAGE of each pool, tier and all, as `sim.fast.engine.usage_of` has it; then MEANS over time, each in
    all blocks (P + T + 1, columns).
    """
    told = _told(s.accounts)
    found = np.empty((len(told), len(USAGE) + len(MEANS) * len(s.edges)))
    occupied(told, _told(s.edge_accounts), s.edges, end, found)
    return found


def _price(scope: Scope, name: str, figures: Mapping[str, float], scenario: Scenario) -> float:
    """The monthly price of the image-volumes; NaN for a pool or backend that serves several tiers."""
    tiers = [name] if scope == "tier" else scenario.backend_at(name).volume_types
    if len(tiers) > 1:
        return np.nan
    tier = scenario.tiers[tiers[0]]
    of_space = tier.price_gib_month * figures["image_physical_gib_mean"]
    return of_space + tier.price_volume_month * figures["image_volumes_mean"]
