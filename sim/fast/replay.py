"""Look-ups of one pool through Cinder's image-volume cache, without time: hits at one limit, or at all.

The rules are those of `get_entry` and `ensure_space` (cinder/image/cache.py), least recently used first. Here
N are look-ups, M images, G groups of look-ups (such as tiers) that are counted apart.

All images lie in a stack, the last looked up on top (Mattson and others 1970). What a cache holds is the top
of the stack of those that it does not refuse: one after the other, as long as they fit. This holds for images
of unequal size, and for limits of GiB and of entries at once, as each look-up leaves it so:

* A hit takes its image to the top, and changes neither what is cached nor what is not.
* A miss lays its image on top. Entries are given up from below, one by one, and the last of them would not
  have fitted. If none is, then what comes next in the stack still does not fit: it did not fit even without
  the new entry.
* An image that a limit refuses is larger than the limit by itself, so it is refused at each look-up.
* An image that has changed keeps its size. Its new entry goes where a hit would take the old one.

So what is cached before any look-up is found by looking back from it, and stretches of the look-ups can be
played at once. And one pass that notes how deep in the stack each look-up finds its image (sim/fast/stack.py)
gives the hits at every limit, without an error. Only the images that a limit refuses differ from limit to
limit: a pass for each size that images have, and not for each limit, is enough.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.fast.jit import compiled, inlined, threaded_entry
from sim.fast.rules import cache_refuses
from sim.fast.stack import Bytes, Codes, Groups, Whole, hits_by_limit
from sim.fast.state import NO_LIMIT
from sim.model.repeats import repeats

Flags = npt.NDArray[np.bool_]

SHORTEST = 50_000  # look-ups of a stretch: a thread pays with more


class LookUps(NamedTuple):
    """Look-ups of a pool in order: their images (N,) and groups (N,), 0..G-1; and the images' sizes (M,).

    A group of G stands for a look-up whose image has changed since the pool's last look-up of it: a
    miss at every limit.
    """

    image: Codes
    group: Groups
    groups: int
    size_gib: Whole
    size_bytes: Bytes


class Replayed(NamedTuple):
    """The results of a replay: hits and their images' bytes per group (G,), and counts over all look-ups.

    `evictions`: entries given up for room; `stale`: entries of images that had changed; `refusals`: look-ups
    of images too large for the limit. `hit` (N,): which look-ups hit, if that was wanted.
    """

    hits: Whole
    byte_hits: Bytes
    evictions: int
    stale: int
    refusals: int
    hit: Flags | None


class Curve(NamedTuple):
    """Hits and their images' bytes at some limits L, per group: both (G, L)."""

    hits: Whole
    byte_hits: Bytes


def look_ups(
    image: npt.ArrayLike,
    size_gib: npt.ArrayLike,
    size_bytes: npt.ArrayLike | None = None,
    version: npt.ArrayLike | None = None,
    group: npt.ArrayLike = 0,
    groups: int = 1,
) -> LookUps:
    """Look-ups of images by number (N,), each at a `version` (N,) of its image (None: they never change).

    size_gib (M,) is what an entry counts for, size_bytes (M,) what a hit saves (None: as much). `group` (N,)
    is below `groups`.
    """
    images = np.ascontiguousarray(image, dtype=np.int32)
    gib = np.ascontiguousarray(size_gib, dtype=np.int64)
    of = np.broadcast_to(np.asarray(group, dtype=np.int16), images.shape).copy()
    if version is not None:
        _mark_changed(images, np.ascontiguousarray(version, dtype=np.int64), groups, np.zeros_like(gib), of)
    saved = np.asarray(gib * 2.0**30 if size_bytes is None else size_bytes, dtype=np.float64)
    return LookUps(images, of, groups, gib, saved)


def replay(asked: LookUps, max_size_gb: int = 0, max_count: int = 0, *, flags: bool = False) -> Replayed:
    """The cache with Cinder's limits `image_volume_cache_max_size_gb` and `_max_count` (0: unlimited).

    Uses all cores if there are many look-ups.
    """
    counters = (asked.groups + 1) * len(asked.size_gib)  # each stretch has its own, and looks back for images
    least = max(SHORTEST, 4 * counters)
    stretches = max(1, min(os.cpu_count() or 1, len(asked.image) // least))
    return replay_in_stretches(asked, max_size_gb, max_count, flags, stretches)


def replay_in_stretches(
    asked: LookUps, max_size_gb: int, max_count: int, flags: bool, stretches: int
) -> Replayed:
    """The same, cut into stretches of look-ups that are played at once."""
    images, number = len(asked.size_gib), len(asked.image)
    places = np.arange(images + 1, dtype=np.int32)
    hits = np.zeros((stretches, asked.groups + 1, images), np.int64)
    hit = np.zeros(number, np.bool_) if flags else None

    def play(stretch: int) -> tuple[int, int]:
        """Play one stretch; gives its evictions and refusals."""
        evictions, refusals = _play(
            asked.image,
            asked.group,
            asked.size_gib,
            max_size_gb or NO_LIMIT,
            max_count or NO_LIMIT,
            number * stretch // stretches,
            number * (stretch + 1) // stretches,
            np.roll(places, 1),
            np.roll(places, -1),
            np.zeros(images + 1, np.bool_),
            hits[stretch],
            hit,
        )
        return evictions, refusals

    with ThreadPoolExecutor(stretches) as threads:
        played = list((threads.map if stretches > 1 else map)(play, range(stretches)))
    if hit is not None:
        hit &= asked.group < asked.groups
    summed = hits.sum(axis=0)
    counted, stale = summed[:-1], int(summed[-1].sum())
    evictions, refusals = (sum(each) for each in zip(*played, strict=True))
    return Replayed(counted.sum(axis=1), counted @ asked.size_bytes, evictions, stale, refusals, hit)


def curve_by_count(asked: LookUps) -> Curve:
    """Hits with every number of entries: 0 (the cache is off), 1, … M. GiB are unlimited."""
    one, counts = np.ones_like(asked.size_gib), np.arange(len(asked.size_gib) + 1)
    return Curve(*hits_by_limit(*asked[:3], one, asked.size_bytes, counts, NO_LIMIT))


def curve_by_size(asked: LookUps, limits: npt.ArrayLike) -> Curve:
    """Hits with each of `limits` (L,) for `image_volume_cache_max_size_gb` (0: unlimited).

    The number of entries is unlimited. Uses all cores where some limits refuse images.
    """
    limit = np.asarray(limits, dtype=np.int64)
    limit = np.where(limit == 0, NO_LIMIT, limit)
    sizes = np.append(np.unique(asked.size_gib), NO_LIMIT)
    admitted = np.searchsorted(sizes[:-1], limit, side="right")  # how many of the sizes are not refused
    shape = (asked.groups, len(limit))
    found = Curve(np.zeros(shape, np.int64), np.zeros(shape))

    def work(some: int) -> None:
        """Fill in the limits that admit the first `some` sizes."""
        ours = np.flatnonzero(admitted == some)
        ours = ours[np.argsort(limit[ours], kind="stable")]
        of = hits_by_limit(*asked, limit[ours], int(sizes[some]))
        found.hits[:, ours], found.byte_hits[:, ours] = of

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        list(threads.map(work, [some for some in np.unique(admitted).tolist() if some > 0]))
    return found


# -- compiled ------------------------------------------------------------------------------------------


@threaded_entry
def _mark_changed(
    image: Codes,
    version: Whole,
    mark: int,
    last: Whole,
    group: Groups,
) -> None:
    """Set `group` to `mark` where the image's version differs from that of its look-up before."""
    for k in range(image.size):
        x = image[k]
        before = last[x]  # the look-up before, counted from 1
        if before > 0 and version[before - 1] != version[k]:
            group[k] = mark
        last[x] = k + 1


@inlined
def _move(x: np.uint64, above: np.uint64, up: Codes, down: Codes) -> None:
    """Take image `x` from its place in the stack to right below another."""
    upper, lower = np.uint64(up[x]), np.uint64(down[x])
    down[upper] = lower
    up[lower] = upper
    below = np.uint64(down[above])
    down[x] = below
    up[below] = x
    down[above] = x
    up[x] = above


@compiled
def _begin(
    image: Codes,
    size_gib: Whole,
    max_size_gb: int,
    max_count: int,
    begin: int,
    up: Codes,
    down: Codes,
    cached: Flags,
) -> tuple[int, int, int]:
    """Fill the cache with what it holds before look-up `begin`; gives the edge, the entries' GiB and number.

    `_play` says what the edge is.
    """
    most, used, count = 0, 0, 0
    for size in size_gib:
        most += int(not cache_refuses(size, max_size_gb))
    most = min(most, max_count)  # where there are so many entries, no look-up before can add one
    lowest = np.uint64(size_gib.size)
    k = begin
    while k > 0 and count < most:
        k -= 1
        x = np.uint64(image[k])
        size = size_gib[x]
        if cached[x] or cache_refuses(size, max_size_gb):
            continue
        if used + size > max_size_gb:
            break
        used += size
        count += 1
        cached[x] = True
        _move(x, lowest, up, down)
        lowest = x
    return down[lowest], used, count


@repeats("cinder.image.cache:ImageVolumeCache", "get_entry", "ensure_space")
@threaded_entry
def _play(
    image: Codes,
    group: Groups,
    size_gib: Whole,
    max_size_gb: int,
    max_count: int,
    begin: int,
    end: int,
    up: Codes,
    down: Codes,
    cached: Flags,
    hits: Whole,
    hit: Flags | None,
) -> tuple[int, int]:
    """Play look-ups `begin` to `end`: `hits` by group and image, `hit` by look-up.

    Gives evictions and refusals. The stack is a ring, `up` and `down` (M+1,), of the M images and of place M,
    below which lies the image last looked up. `cached` (M+1,) has which images lie above the edge: the place
    right below the last one that is cached. Hits and misses alike take their image to the top: mispredicted
    branches cost most, and the one left is whether an entry has to go. A stale entry goes and comes at once,
    which leaves its place to the new one: nothing else is given up.
    """
    top = np.uint64(size_gib.size)
    evictions, refusals = 0, 0
    first, used, count = _begin(image, size_gib, max_size_gb, max_count, begin, up, down, cached)
    edge = np.uint64(first)
    for k in range(np.uint64(begin), np.uint64(end)):  # unsigned: Numba need not look for negative positions
        x = np.uint64(image[k])
        size = size_gib[x]
        if cache_refuses(size, max_size_gb):
            refusals += 1
            continue
        found = int(cached[x])
        hits[np.uint64(group[k]), x] += found
        if hit is not None:
            hit[k] = cached[x]
        cached[x] = True
        if x == edge:
            edge = np.uint64(down[x])
        _move(x, top, up, down)
        used += (1 - found) * size
        count += 1 - found
        while used > max_size_gb or count > max_count:
            edge = np.uint64(up[edge])
            cached[edge] = False
            used -= size_gib[edge]
            count -= 1
            evictions += 1
    return evictions, refusals
