"""The limits that a plan looks at: for each backend, pairs of size and count up to its working set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from sim.analysis.curves import curve
from sim.inputs.limits import OFF, Limits, todays
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.model.arrays import GIB
from sim.sweep.varying import Point

# Up to so many values of each limit every whole one is looked at; of more, so many in equal ratios.
MOST_COUNTS = 20
MOST_SIZES = 24
FINER = 6  # values of each limit between two of these, near what was chosen


Groups = Mapping[str, tuple[str, ...]]  # backends that are sized together, by the name of the first


def groups(case: Case, planned: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The backends between which the scheduler chooses for a planned tier belong together; others are alone.

    Which of them gets a create changes with every limit, so only what they all come to can be compared; and
    the scheduler fills them alike.
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
    """The limits of each backend, of those of their groups."""
    return {name: chosen[group] for group, members in groups.items() for name in members}


def working_sets(cases: Iterable[Case], strategy: str, groups: Groups) -> dict[str, tuple[range, range]]:
    """By group, counts and GiB from the least that hold an image to the largest working set of its pools.

    `cases` are replications: the widest counts.
    """
    found = {group: (range(1, 1), range(1, 1)) for group in groups}
    group_of = {name: group for group, members in groups.items() for name in members}
    for case in cases:
        smallest = min(max(1, -(-image.virtual_size_bytes // GIB)) for image in case.images.values())
        for row in curve(case, strategy, engine="fast").working_set.to_dict("records"):
            group = group_of[row["host"].partition("#")[0]]
            counts, sizes = found[group]
            if row["images"]:
                least = min([smallest, *sizes[:1]])
                counts = range(1, max(counts.stop, row["images"] + 1))
                found[group] = (counts, range(least, max(sizes.stop, row["gib"] + 1)))
    return found


def values_of(span: range, most: int) -> list[int]:
    """All of them, or `most` in equal ratios, first and last among them."""
    if len(span) <= most:
        return list(span)
    ratios = np.geomspace(span[0], span[-1], most).round().astype(int)
    return sorted({int(value) for value in ratios})


def grid(counts: Sequence[int], sizes: Sequence[int]) -> list[Limits]:
    """Every pair, and the cache that is off, which comes first."""
    return [OFF, *(Limits(True, size, count) for count in counts for size in sizes)]


def candidates(
    scenario: Scenario,
    strategy: str,
    groups: Groups,
    spans: Mapping[str, tuple[range, range]],
    planned: Iterable[str],
) -> dict[str, list[Limits]]:
    """By group, the limits to look at under a strategy; backends that serve no planned tier keep today's."""
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
    """Limits between the chosen ones and the next smaller that were looked at (`above`: next larger, too)."""
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
    """The limit and some values between it and the next of `values`; only itself if it is Cinder's 0."""
    if not limit:
        return [limit]
    low = max((value for value in values if value < limit), default=limit)
    high = min((value for value in values if value > limit), default=limit) if above else limit
    between = [np.linspace(*ends, FINER + 1).round() for ends in ((low, limit), (limit, high))]
    return sorted({int(value) for value in np.concatenate(between)} - {low, high} | {limit})


def points(
    strategy: str, groups: Groups, limits: Mapping[str, Sequence[Limits]], common: Mapping[str, Any]
) -> list[Point]:
    """Cells that show each group with each of its limits: in one cell every group has its next ones.

    Backends do not share a cache, so a cell tells of all groups; what they do share (Glance, locks) makes it
    an approximation, for which a plan is simulated whole at its end. `common` are the values of all cells.
    """
    return [
        chosen_point(
            strategy,
            of_backends({group: of[min(number, len(of) - 1)] for group, of in limits.items()}, groups),
            common,
        )
        for number in range(max(len(each) for each in limits.values()))
    ]


def chosen_point(strategy: str, chosen: Mapping[str, Limits], common: Mapping[str, Any]) -> Point:
    """The cell of one plan: limits by backend."""
    values = dict(common)
    for backend, limits in chosen.items():
        values |= limits.values(backend)
    return Point(tuple(values.items()), strategy)
