"""Measures of a run, without the tables that a sweep would throw away."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
from sim.fast.tally import COUNTS, DOWNLOADED, LATE, OTHERS, PLACE, TOTALS, tally
from sim.inputs.cinders import Cinder
from sim.inputs.scenario import Scenario
from sim.inputs.units import GIB
from sim.model.records import SOURCES
from sim.model.usage import KINDS
from sim.sweep.played import played
from sim.sweep.results import ALL, Row, Rows, Scope
from sim.sweep.scopes import Scopes
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
    *("price_month", "gib_per_point"),
)
HELD, PHYSICAL, VOLUMES = (
    USAGE.index(f"image_{quantity}_mean") for quantity in ("provisioned_gib", "physical_gib", "volumes")
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
        self._scopes = Scopes(case.scenario, names)
        self._of_creates = other, time, place, its_bytes, slow, self._scopes.of_groups

    def play(self, scenario: Scenario, strategy: str, cinder: Cinder | None = None) -> tuple[State, float]:
        """Run a strategy so that `rows` can measure it: `played` with the edges of the blocks."""
        return played(self.prepared, scenario, strategy, self._edges, cinder)

    def rows(self, s: State, scenario: Scenario) -> Rows:
        """Measure what `play` returned: a row for each tier, pool and backend, and one for all."""
        scopes = self._scopes
        totals, in_blocks, made_s, times, last_end = self._count(s, scenario.boot_timeout_s)
        usage = self._usage(s, max(self.last_event, last_end, float(s.world[0]["last_change"])))
        used, means = usage[:, : len(USAGE)], usage[:, len(USAGE) :].reshape(len(usage), -1, self.blocks)
        seconds = scopes.sums(made_s)
        peaks = [*s.pools["volumes_peak"].tolist(), *s.backends["volumes_peak"].tolist()]
        rows: dict[tuple[Scope, str], Row] = {}
        total = 0.0
        told = zip(scopes.names, totals.tolist(), times, used.tolist(), strict=False)
        for number, ((scope, name), counts, its_times, its_usage) in enumerate(told):
            price = total if scope == "all" else self._price(scopes.served[number], its_usage, scenario)
            total += price if scope == "tier" else 0.0
            figures = _figures(counts, its_times, its_usage, price)
            peak = peaks[number - scopes.tiers] if scope in ("pool", "backend") else None
            blocks: dict[str, Sequence[float]] = {}
            if scope != "pool":
                each = *in_blocks[number].tolist(), seconds[number].tolist(), *means[number].tolist()
                blocks = dict(zip(BY_BLOCK, each, strict=True))
            tiers = self._tiers(in_blocks, made_s, number) if scope == "backend" else {}
            rows[scope, name] = Row(scope, name, figures, peak, blocks, tiers)
        return rows

    def _count(self, s: State, boot_timeout_s: float) -> tuple[Ints, Ints, Floats, list[list[float]], float]:
        """Count the creates after the warm-up. Returns the totals, counts in blocks and seconds of
        `sim.fast.tally`; `_times`; and the end of the last create, before the warm-up too.
        """
        scopes, done = self._scopes, s.rows[self._first : len(self.time)]
        groups, rows = scopes.groups, scopes.count + scopes.groups + 1
        totals, in_blocks = (
            np.zeros((rows, TOTALS), np.int64),
            np.zeros((rows, len(COUNTS), self.blocks), np.int64),
        )
        made_s, places = np.zeros((groups, self.blocks)), np.zeros((groups * self.blocks, PLACE), np.int64)
        first, seconds = np.zeros(groups + 1, np.int64), np.empty(len(done))
        counted = (places, totals, in_blocks, made_s, first, seconds)
        last_end = tally(done, *self._of_creates, boot_timeout_s, *counted)
        if self._first:
            last_end = max(last_end, float(s.rows["end"][: self._first].max()))
        return totals, in_blocks, made_s, self._times(seconds, first.tolist()), last_end

    def _times(self, seconds: Floats, first: Sequence[int]) -> list[list[float]]:
        """TIMES of the successful creates of each scope. `seconds` and `first` are from `sim.fast.tally`.

        A stretch of seconds is ordered in its place, so the scopes go from small to large. A tier, a pool and
        a backend often have the same creates, of which TIMES are found once.
        """
        found: dict[tuple[tuple[int, int], ...], list[float]] = {}
        times = []
        for stretches in self._scopes.stretches:
            some = tuple([(first[at], first[end]) for at, end in stretches if first[at] < first[end]])
            if some not in found:
                found[some] = _times_of([seconds[start:end] for start, end in some])
            times.append(found[some])
        return times

    def _usage(self, s: State, end: float) -> Floats:
        """USAGE of each scope, as `sim.fast.engine.usage_of` has it; then MEANS over time, each in all blocks
        (scopes, columns).
        """
        scopes = self._scopes
        found = np.empty((scopes.count, len(USAGE) + len(MEANS) * len(s.edges)))
        occupied(_told(s.accounts), _told(s.edge_accounts), s.edges, end, scopes.of_accounts, found)
        scopes.add_backends(found)
        return found

    def _price(self, serves: Sequence[int], usage: Sequence[float], scenario: Scenario) -> float:
        """The monthly price of the image-volumes; NaN for a pool or backend that serves several tiers."""
        if len(serves) > 1:
            return np.nan
        tier = scenario.tiers[self.prepared.names.tiers[serves[0]]]
        return tier.price_gib_month * usage[PHYSICAL] + tier.price_volume_month * usage[VOLUMES]

    def _tiers(self, in_blocks: Ints, made_s: Floats, number: int) -> dict[str, dict[str, Sequence[float]]]:
        """The counts in blocks of a backend that serves several tiers, by tier."""
        scopes = self._scopes
        if len(scopes.served[number]) < 2:
            return {}
        its = slice(*scopes.stretches[number][0])
        counts, seconds = (
            array[its].reshape(-1, scopes.tiers, *array.shape[1:]).sum(axis=0).tolist()
            for array in (in_blocks[scopes.count :], made_s)
        )
        return {
            self.prepared.names.tiers[tier]: {
                **dict(zip(COUNTS, counts[tier], strict=True)),
                MADE_S: seconds[tier],
            }
            for tier in scopes.served[number]
        }


def _times_of(parts: Sequence[Floats]) -> list[float]:
    """TIMES: the mean, and PERCENTILES as `np.percentile` interpolates them; NaN without creates."""
    if not parts:
        return [np.nan] * len(TIMES)
    ordered = parts[0] if len(parts) == 1 else np.concatenate(parts)
    ordered.view(np.int64).sort()  # faster, and the same order: no second is negative
    last = len(ordered) - 1
    found = [float(np.add.reduce(ordered)) / len(ordered)]
    for percent in PERCENTILES:
        below, share = divmod(last * (percent / 100), 1)
        low, high = ordered.item(int(below)), ordered.item(min(int(below) + 1, last))
        found.append(high - (high - low) * (1 - share) if share >= 0.5 else low + (high - low) * share)
    return found


def _figures(
    counts: Sequence[int], times: Sequence[float], usage: Sequence[float], price: float
) -> dict[str, float]:
    """FIGURES of a row."""
    creates = sum(counts[: len(SOURCES)])
    clones = (counts[FROM_DRIVER], counts[FROM_STORE], counts[FROM_CACHE])
    parts = (sum(clones), *clones, counts[LATE])
    *rates, late = [part / creates for part in parts] if creates else [np.nan] * len(parts)
    others = (counts[NO_SOURCE], counts[OTHERS], counts[DOWNLOADED] / GIB)
    hits = 100 * rates[0]
    of_space = price, usage[HELD] / hits if hits > 0 else np.nan
    return dict(zip(FIGURES, (creates, *rates, *times, late, *others, *usage, *of_space), strict=True))


def _told(accounts: Array) -> Floats:
    """Accounts as numbers: (..., P + T + 1, kinds, level | area | peak, FIELDS and `since`)."""
    return accounts.view(np.float64).reshape(*accounts.shape[:-1], -1, ACCOUNTS, 3, len(FIELDS) + 1)
