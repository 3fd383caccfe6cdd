"""The limits to simulate for a plan: for each backend, pairs of size and count up to its working set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from sim.analysis.curves import look_ups
from sim.fast.engine import Prepared
from sim.inputs.hosts import backend_of
from sim.inputs.limits import OFF, Limits, todays
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.model.records import named_column
from sim.sweep.played import played
from sim.sweep.varying import Point

# A limit with up to this many whole values has all of them; else it has this many, in equal ratios.
MOST_COUNTS = 20
MOST_SIZES = 24
FINER = 6  # values of each limit between two of these, near what was chosen


Groups = Mapping[str, tuple[str, ...]]  # backends that are sized together, by the name of the first


def groups(case: Case, planned: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Groups of backends among which the scheduler chooses for a planned tier; other backends are alone.

    Every limit changes which backend gets a create. So only the sum over a group can be compared, and the
    scheduler fills its backends alike.
    """
    events, backends = case.trace.events, case.scenario.backends
    free = events[(events["event"] == "create") & (events["image_id"] != "") & (events["host"] == "")]
    first_of = {name: name for name in backends}
    for tier in sorted(set(free["volume_type"].astype(str)).intersection(planned)):
        joined = {first_of[name] for name, each in backends.items() if tier in each.volume_types}
        first = next(name for name in backends if name in joined)
        first_of = {name: first if each in joined else each for name, each in first_of.items()}
    return {
        first: tuple(name for name, each in first_of.items() if each == first)
        for first in dict.fromkeys(first_of.values())
    }


def of_backends(chosen: Mapping[str, Limits], groups: Groups) -> dict[str, Limits]:
    """The limits of each backend, from those of the groups."""
    return {name: chosen[group] for group, members in groups.items() for name in members}


def working_sets(cases: Iterable[Case], strategy: str, groups: Groups) -> dict[str, tuple[range, range]]:
    """By group, the range of counts and of GiB: from one image to the largest working set of its pools.

    `cases` are replications; the widest range of them counts.
    """
    found = {group: (range(1, 1), range(1, 1)) for group in groups}
    group_of = {name: group for group, members in groups.items() for name in members}
    for case in cases:
        smallest = min(image.virtual_gib for image in case.images.values())
        for pool in look_ups(case, strategy, hosts=_hosts(case, strategy)):
            group = group_of[backend_of(pool.host)]
            counts, sizes = found[group]
            if pool.images:
                least = min([smallest, *sizes[:1]])
                counts = range(1, max(counts.stop, pool.images + 1))
                found[group] = (counts, range(least, max(sizes.stop, pool.gib + 1)))
    return found


def _hosts(case: Case, strategy: str) -> pd.Series[str]:
    """Where a run of engine `fast` has put each create from an image, without its tables."""
    prepared = Prepared(case)
    state, _ = played(prepared, case.scenario, strategy)
    of_image = (prepared.asked["image_id"] != "").to_numpy()
    return named_column(state.rows["host"][: len(of_image)][of_image], prepared.names.hosts)


def values_of(span: range, most: int) -> list[int]:
    """All values of a range, or `most` of them in equal ratios, with the first and the last."""
    if len(span) <= most:
        return list(span)
    ratios = np.geomspace(span[0], span[-1], most).round().astype(int)
    return sorted({int(value) for value in ratios})


def grid(counts: Sequence[int], sizes: Sequence[int]) -> list[Limits]:
    """The cache that is off, then every pair."""
    return [OFF, *(Limits(True, size, count) for count in counts for size in sizes)]


def candidates(
    scenario: Scenario,
    strategy: str,
    groups: Groups,
    spans: Mapping[str, tuple[range, range]],
    planned: Iterable[str],
) -> dict[str, list[Limits]]:
    """By group, the limits to simulate under a strategy. Backends that serve no planned tier keep today's."""
    found: dict[str, list[Limits]] = {}
    for group, members in groups.items():
        today = {todays(scenario.backends[name]) for name in members}
        tiers = {tier for name in members for tier in scenario.backends[name].volume_types}
        if not STRATEGIES[strategy].image_volume_cache_enabled:
            found[group] = [OFF]
        elif not tiers.intersection(planned):
            found[group] = list(today)
        else:
            counts, sizes = spans[group]
            looked_at = grid(values_of(counts, MOST_COUNTS), values_of(sizes, MOST_SIZES))
            found[group] = list(dict.fromkeys([*looked_at, *(today if len(today) == 1 else ())]))
    return found


def finer(looked_at: Sequence[Limits], chosen: Limits, above: bool) -> list[Limits]:
    """Limits between the chosen ones and the next smaller that were simulated (`above`: next larger, too)."""
    if not chosen.enabled:
        return []
    sizes, counts = (
        _near(sorted({value for each, value in values if each.enabled and value}), limit, above)
        for values, limit in (
            ([(each, each.max_size_gb) for each in looked_at], chosen.max_size_gb),
            ([(each, each.max_count) for each in looked_at], chosen.max_count),
        )
    )
    return [each for each in grid(counts, sizes)[1:] if each not in set(looked_at)]


def _near(values: Sequence[int], limit: int, above: bool) -> list[int]:
    """The limit and some values between it and its neighbours in `values`; just 0 if it is Cinder's 0."""
    if not limit:
        return [limit]
    low = max((value for value in values if value < limit), default=limit)
    high = min((value for value in values if value > limit), default=limit) if above else limit
    between = [np.linspace(*ends, FINER + 1).round() for ends in ((low, limit), (limit, high))]
    return sorted({int(value) for value in np.concatenate(between)} - {low, high} | {limit})


def points(
    strategy: str, groups: Groups, limits: Mapping[str, Sequence[Limits]], common: Mapping[str, Any]
) -> list[Point]:
    """Points that show each group with each of its limits: from point to point, every group takes its next.

    Backends do not share a cache, so one point shows all groups. Backends do share Glance and locks, so this
    is an approximation. That is why the plan is simulated as a whole at the end. `common` are the values of
    all points.
    """
    return [chosen_point(strategy, each, common) for each in in_turn(groups, limits)]


def in_turn(groups: Groups, limits: Mapping[str, Sequence[Limits]]) -> list[dict[str, Limits]]:
    """The limits of every backend at each of these points."""
    return [
        of_backends({group: of[min(number, len(of) - 1)] for group, of in limits.items()}, groups)
        for number in range(max(len(each) for each in limits.values()))
    ]


def chosen_point(strategy: str, chosen: Mapping[str, Limits], common: Mapping[str, Any]) -> Point:
    """The point of one plan, from limits by backend."""
    values = dict(common)
    for backend, limits in chosen.items():
        values |= limits.values(backend)
    return Point(tuple(values.items()), strategy)
