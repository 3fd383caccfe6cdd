"""Counts of the creates of a run, in two passes over their rows."""

from __future__ import annotations

import numpy as np

from sim.fast.jit import compiled, entry
from sim.fast.state import DOWNLOAD, NO_SOURCE, Array
from sim.model.records import SOURCES

# What is counted in blocks of time (see `sim.sweep.measures.Measurer.rows`).
COUNTS = ("creates", "clones", "errors", "made", "slow", "slow_all", "other_errors")
CREATES, CLONES, ERRORS, MADE, SLOW, SLOW_ALL, OTHER_ERRORS = range(len(COUNTS))
# Columns of totals: creates by source, the late ones, bytes downloaded, failed creates without an image.
LATE, DOWNLOADED, OTHERS, TOTALS = range(len(SOURCES), len(SOURCES) + 4)
# Columns of places: creates by source, failed creates without an image, bytes downloaded, and where the next
# seconds go.
FAILED, BYTES, NEXT, PLACE = range(len(SOURCES), len(SOURCES) + 4)


@entry
def tally(
    rows: Array,
    other: Array,
    asked: Array,
    place: Array,
    size_bytes: Array,
    slow_s: Array,
    scopes: Array,
    boot_timeout_s: float,
    places: Array,
    totals: Array,
    in_blocks: Array,
    made_s: Array,
    first: Array,
    seconds: Array,
) -> float:
    """Count creates, of which `rows` has the results, by pool (0 being none) and tier. Returns the last end.

    `other` marks creates without an image: only their errors count. Of T tiers and B blocks, `place` is
    tier * B + block. `slow_s` (T + 1): above it one is slow, by tier, then for all; above `boot_timeout_s` it
    is late. Filled in for each of G groups, pool * T + tier: `made_s` (G, B), the seconds of all creates that
    succeed; `seconds`, those of each, from where `first` (G + 1) says to where the next begin. Filled in for
    the scopes that `scopes` (G, ...) names for each group: `totals` (scopes, TOTALS) and `in_blocks` (scopes,
    COUNTS, B). `places` (G * B, PLACE) is for use here. All these are zeros before.
    """
    blocks = made_s.shape[1]
    width = (len(slow_s) - 1) * blocks
    # An index without a sign counts from no array's end: compiled code does not ask whether it does.
    for number in range(len(rows)):
        row = rows[number]
        at = np.uintp((row["host"] + 1) * width + place[number])
        if other[number]:
            places[at, FAILED] += int(not row["available"])
        else:
            places[at, np.uintp(row["source"])] += 1
    begin = 0
    for each in range(len(places)):
        places[each, NEXT] = begin
        for of in range(NO_SOURCE + 1, len(SOURCES)):
            begin += places[each, of]
    last_end = 0.0
    for number in range(len(rows)):
        row = rows[number]
        last_end = max(last_end, row["end"])
        if row["source"] != NO_SOURCE:
            at = np.uintp((row["host"] + 1) * width + place[number])
            seconds[np.uintp(places[at, NEXT])] = row["end"] - asked[number]
            places[at, NEXT] += 1
            if row["source"] == DOWNLOAD:
                places[at, BYTES] += size_bytes[number]
    _add_up(places, seconds, slow_s, scopes, boot_timeout_s, totals, in_blocks, made_s, first)
    return last_end


@compiled
def _add_up(
    places: Array,
    seconds: Array,
    slow_s: Array,
    scopes: Array,
    boot_timeout_s: float,
    totals: Array,
    in_blocks: Array,
    made_s: Array,
    first: Array,
) -> None:
    """Fill in what follows from the places."""
    tiers, blocks = len(slow_s) - 1, made_s.shape[1]
    begin = 0
    for at in range(len(places)):
        group, block, last = at // blocks, at % blocks, places[at, NEXT]
        total, slow, slow_all, late = 0.0, 0, 0, 0
        for taken in seconds[begin:last]:
            total += taken
            slow += int(taken > slow_s[group % tiers])
            slow_all += int(taken > slow_s[tiers])
            late += int(taken > boot_timeout_s)
        made_s[group, block] = total
        made, errors, failed = last - begin, places[at, NO_SOURCE], places[at, FAILED]
        told = made + errors, made - places[at, DOWNLOAD], errors, made, slow, slow_all, failed  # as COUNTS
        begin = first[group + 1] = last
        if made + errors + failed == 0:
            continue
        for scope in scopes[group]:
            for measure in range(len(COUNTS)):
                in_blocks[scope, measure, block] += told[measure]
            for of in range(len(SOURCES)):
                totals[scope, of] += places[at, of]
            totals[scope, LATE] += late
            totals[scope, DOWNLOADED] += places[at, BYTES]
            totals[scope, OTHERS] += failed
