"""Counts of the creates of a run, in two passes over their rows."""

from __future__ import annotations

from sim.fast.jit import compiled, entry
from sim.fast.state import DOWNLOAD, NO_SOURCE, Array
from sim.model.records import SOURCES

# What is counted in blocks of time (see `sim.sweep.measures.Measurer.rows`).
COUNTS = ("creates", "clones", "errors", "made", "slow", "slow_all", "other_errors")
CREATES, CLONES, ERRORS, MADE, SLOW, SLOW_ALL, OTHER_ERRORS = range(len(COUNTS))
# Columns of counts: creates by source, the late ones, bytes downloaded, failed creates without an image; from
# IN_BLOCKS on, each of COUNTS by block.
LATE, DOWNLOADED, OTHERS, IN_BLOCKS = range(len(SOURCES), len(SOURCES) + 4)
# Columns of places: creates by source, failed creates without an image, and where the next seconds go.
FAILED, NEXT, PLACE = range(len(SOURCES), len(SOURCES) + 3)


@entry
def tally(
    end: Array,
    host: Array,
    source: Array,
    available: Array,
    other: Array,
    asked: Array,
    place: Array,
    size_bytes: Array,
    slow_s: Array,
    boot_timeout_s: float,
    places: Array,
    counts: Array,
    made_s: Array,
    first: Array,
    seconds: Array,
) -> float:
    """Count creates, one a row of the first arrays, by pool (0 being none) and tier. Returns the last end.

    `other` marks creates without an image: only their errors count. Of T tiers and B blocks, `place` is
    tier * B + block. `slow_s` (T + 1): above it one is slow, by tier, then for all; above `boot_timeout_s` it
    is late. Filled in for each of G groups, pool * T + tier: `counts` (G, columns); `made_s` (G, B), the
    seconds of all creates that succeed; `seconds`, those of each, from where `first` (G + 1) says to where
    the next begin. `places` (G * B, PLACE) is for use here. All these are zeros before.
    """
    blocks = made_s.shape[1]
    width = (len(slow_s) - 1) * blocks
    for row in range(len(end)):
        at = (host[row] + 1) * width + place[row]
        if other[row]:
            places[at, FAILED] += int(not available[row])
        else:
            places[at, source[row]] += 1
    begin = 0
    for at in range(len(places)):
        places[at, NEXT] = begin
        for of in range(NO_SOURCE + 1, len(SOURCES)):
            begin += places[at, of]
    last_end = 0.0
    for row in range(len(end)):
        last_end = max(last_end, end[row])
        if source[row] != NO_SOURCE:
            at = (host[row] + 1) * width + place[row]
            seconds[places[at, NEXT]] = end[row] - asked[row]
            places[at, NEXT] += 1
            if source[row] == DOWNLOAD:
                counts[at // blocks, DOWNLOADED] += size_bytes[row]
    _add_up(places, seconds, slow_s, boot_timeout_s, counts, made_s, first)
    return last_end


@compiled
def _add_up(
    places: Array,
    seconds: Array,
    slow_s: Array,
    boot_timeout_s: float,
    counts: Array,
    made_s: Array,
    first: Array,
) -> None:
    """Fill in what follows from the places."""
    tiers, blocks = len(slow_s) - 1, made_s.shape[1]
    begin = 0
    for at in range(len(places)):
        group, block, last = at // blocks, at % blocks, places[at, NEXT]
        total, slow, slow_all, late = 0.0, 0, 0, 0
        for number in range(begin, last):
            taken = seconds[number]
            total += taken
            slow += int(taken > slow_s[group % tiers])
            slow_all += int(taken > slow_s[tiers])
            late += int(taken > boot_timeout_s)
        made_s[group, block] = total
        counts[group, LATE] += late
        made, errors, failed = last - begin, places[at, NO_SOURCE], places[at, FAILED]
        told = made + errors, made - places[at, DOWNLOAD], errors, made, slow, slow_all, failed  # as COUNTS
        for measure in range(len(COUNTS)):
            counts[group, IN_BLOCKS + measure * blocks + block] = told[measure]
        for of in range(len(SOURCES)):
            counts[group, of] += places[at, of]
        counts[group, OTHERS] += failed
        begin = first[group + 1] = last
