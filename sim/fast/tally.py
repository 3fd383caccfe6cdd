"""Counts of the creates of a run, in one pass over their rows."""

from __future__ import annotations

from sim.fast.jit import entry
from sim.fast.state import DOWNLOAD, NO_SOURCE, Array

# What is counted in blocks of time (see `sim.sweep.measures.Measurer.rows`).
COUNTS = ("creates", "clones", "errors", "made", "slow", "slow_all", "other_errors")
CREATES, CLONES, ERRORS, MADE, SLOW, SLOW_ALL, OTHER_ERRORS = range(len(COUNTS))


@entry
def tally(
    end: Array,
    host: Array,
    source: Array,
    available: Array,
    other: Array,
    asked: Array,
    tier: Array,
    block: Array,
    size_bytes: Array,
    slow_s: Array,
    boot_timeout_s: float,
    sources: Array,
    late: Array,
    downloaded: Array,
    blocks: Array,
    made_s: Array,
    first: Array,
    seconds: Array,
) -> None:
    """Count creates, one a row of the first arrays, by pool (from 1 on, 0 being none) and tier.

    `other` marks creates without an image: only their errors count, as OTHER_ERRORS.
    `slow_s` (T + 1): above it one is slow, by tier, then for all. Counted in: `sources` (P + 1, T, sources),
    `late` (P + 1, T) above `boot_timeout_s`, `downloaded` (P + 1, T) bytes, `blocks` (P + 1, T, COUNTS,
    blocks), and `made_s` (P + 1, T, blocks) the seconds of all creates that succeed. `seconds` gets those of
    each, by pool and tier: those of pool p (from 0 on) and tier t begin where `first` (P * T + 2) says at
    p * T + t, and end where the next begin. All these are zeros before.
    """
    tiers = sources.shape[1]
    for row in range(len(end)):
        pool, t, b, of = host[row] + 1, tier[row], block[row], source[row]
        if other[row]:
            blocks[pool, t, OTHER_ERRORS, b] += int(not available[row])
            continue
        sources[pool, t, of] += 1
        blocks[pool, t, CREATES, b] += 1
        if of == NO_SOURCE:
            blocks[pool, t, ERRORS, b] += 1
            continue
        blocks[pool, t, MADE, b] += 1
        if of == DOWNLOAD:
            downloaded[pool, t] += size_bytes[row]
        else:
            blocks[pool, t, CLONES, b] += 1
        taken = end[row] - asked[row]
        made_s[pool, t, b] += taken
        blocks[pool, t, SLOW, b] += int(taken > slow_s[t])
        blocks[pool, t, SLOW_ALL, b] += int(taken > slow_s[tiers])
        late[pool, t] += int(taken > boot_timeout_s)
        first[(pool - 1) * tiers + t + 2] += 1
    for place in range(2, len(first)):
        first[place] += first[place - 1]
    for row in range(len(end)):
        if source[row] != NO_SOURCE:
            place = (
                host[row] * tiers + tier[row] + 1
            )  # moves from its start to its end, the start of the next
            seconds[first[place]] = end[row] - asked[row]
            first[place] += 1
