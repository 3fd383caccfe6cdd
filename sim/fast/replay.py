"""Look-ups of one pool through Cinder's image-volume cache, without time: hits at one limit, or at all.

The rules are those of `get_entry` and `ensure_space` (cinder/image/cache.py), least recently used first. Here
N are look-ups, M images, G groups of look-ups (such as tiers) that are counted apart.

The look-ups are themselves the cache's order of use: an entry is known by the look-up that used it last, and
what is cached are all entries from some look-up on.

As long as no image is refused, what a cache of any size holds is the top of one and the same stack (Mattson
and others 1970), images of unequal size too: the entries used last, as many as fit. For the cache gives up
the entries used longest ago, one by one, and no more than it must. So one pass that notes how deep in the
stack each look-up finds its image (sim/fast/stack.py) gives the hits at every limit, without an error. Only
the images that a limit refuses differ from limit to limit: a pass for each size that images have, and not
for each limit, is enough.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sim.fast.jit import threaded_entry, trailing_zeros
from sim.fast.rules import cache_refuses
from sim.fast.stack import Bytes, Codes, Groups, Whole, hits_by_limit
from sim.fast.state import NO_LIMIT
from sim.model.repeats import repeats

Flags = npt.NDArray[np.bool_]

WORD = 64  # look-ups whose entries are one word of bits
FIRST = WORD  # the number of the first look-up: 0 is none, and words of bits begin at multiples of 64


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
    """The cache with Cinder's limits `image_volume_cache_max_size_gb` and `_max_count` (0: unlimited)."""
    images = len(asked.size_gib)
    hits = np.zeros((asked.groups + 1, images), np.int64)
    hit = np.zeros(len(asked.image), np.bool_) if flags else None
    evictions, refusals = _replay(
        asked.image,
        asked.group,
        asked.size_gib,
        max_size_gb or NO_LIMIT,
        max_count or NO_LIMIT,
        np.zeros(images, np.int64),
        np.zeros(len(asked.image) // WORD + 2, np.uint64),
        hits,
        hit,
    )
    if hit is not None:
        hit &= asked.group < asked.groups
    counted = hits[:-1]
    return Replayed(
        counted.sum(axis=1), counted @ asked.size_bytes, evictions, int(hits[-1].sum()), refusals, hit
    )


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


@repeats("cinder.image.cache:ImageVolumeCache", "get_entry", "ensure_space")
@threaded_entry
def _replay(
    image: Codes,
    group: Groups,
    size_gib: Whole,
    max_size_gb: int,
    max_count: int,
    last: Whole,
    live: npt.NDArray[np.uint64],
    hits: Whole,
    hit: Flags | None,
) -> tuple[int, int]:
    """`hits` by group and image, `hit` by look-up; gives evictions and refusals.

    An entry is known by the number of the look-up that used it last, which `last` (M,) has by image. All that
    is cached was used at `oldest` or later. `live` has a bit for each look-up, set if it is some entry's, so
    that the next to give up is found without looking at all in between. A stale entry goes and comes
    at once, which leaves its place to the new one: nothing else is given up.
    """
    one = np.uint64(1)
    oldest, used, count, evictions, refusals = FIRST, 0, 0, 0, 0
    for k in range(image.size):
        number = k + FIRST
        x = image[k]
        before = last[x]
        if before >= oldest:
            hits[group[k], x] += 1
            if hit is not None:
                hit[k] = True
            live[before >> 6] &= ~(one << np.uint64(before & 63))
        else:
            size = size_gib[x]
            if cache_refuses(size, max_size_gb):
                refusals += 1
                continue
            used += size
            count += 1
            while used > max_size_gb or count > max_count:
                w = oldest >> 6
                word = live[w]
                while word == 0:
                    w += 1
                    word = live[w]
                victim = (w << 6) + int(trailing_zeros(word))
                live[w] = word & (word - one)
                used -= size_gib[image[victim - FIRST]]
                count -= 1
                evictions += 1
                oldest = victim + 1
        last[x] = number
        live[number >> 6] |= one << np.uint64(number & 63)
    return evictions, refusals
