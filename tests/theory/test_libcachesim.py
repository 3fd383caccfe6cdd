"""The same misses as libCacheSim, a simulator of caches by other authors, whose code ours has nothing of.

One pool, nothing takes time; sizes are whole GiB there and here. What the two define alike: SIEVE (its
`Sieve.c`) as it is; of GDSF (its `GDSF.cpp`) the priority, L + frequency * 1e6 / size with frequency 1 at
insertion and L that of the last victim, ties to what was asked for least recently. What they define
differently:

* libCacheSim counts one look-up for a hit. A create that is cloned makes Cinder look twice, each of which
  counts half in our frequency.
* `get` of its GDSF inserts first and evicts afterwards, so that the new object may be the victim. Cinder
  makes room before there is an entry. `missed` has GDSF's own parts do it in Cinder's order; its LRU and
  SIEVE evict first anyway.
* An object larger than the cache is never inserted and evicts nothing in either.
* libCacheSim can charge for metadata of objects (`consider_obj_metadata`); Cinder's limits do not.
* Told to ignore sizes it sets them to 1, in GDSF's priority, too: by count, GDSF is compared with images
  of one size.
"""

from __future__ import annotations

import libcachesim as lcs
import numpy as np
import numpy.typing as npt
import pytest
from properties.cases import case_of, create, image, one_pool

import sim

CACHES = {"lru": lcs.LRU, "sieve": lcs.Sieve, "gdsf": lcs.GDSF}
IMAGES, CREATES = 30, 500
Numbers = npt.NDArray[np.int64]


def drawn(seed: int) -> tuple[Numbers, Numbers]:
    """The images of a workload, some of them in demand, and each image's size in GiB."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1.0, IMAGES + 1) ** -0.9
    return rng.choice(IMAGES, CREATES, p=shares / shares.sum()), rng.integers(1, 8, IMAGES)


def missed(cache: lcs.cache.CacheBase, asked: Numbers, sizes: Numbers) -> list[bool]:
    """Which requests miss, if room is made before what is new comes in."""
    misses = []
    for number in asked.tolist():
        size = int(sizes[number])
        request = lcs.Request(obj_id=number, obj_size=size)
        misses.append(cache.find(request) is None)
        if misses[-1] and size <= cache.cache_size:
            while cache.get_occupied_byte() + size > cache.cache_size:
                cache.evict(request)
            cache.insert(request)
    return misses


def missed_by_get(cache: lcs.cache.CacheBase, asked: Numbers, sizes: Numbers) -> list[bool]:
    """Which requests miss, as libCacheSim itself plays them."""
    return [
        not cache.get(lcs.Request(obj_id=number, obj_size=int(sizes[number]))) for number in asked.tolist()
    ]


def downloads(eviction: str, asked: Numbers, sizes: Numbers, **limits: int) -> list[bool]:
    """Which creates are not cloned from the cache."""
    case = case_of(
        {**one_pool(**limits), "what_if": {"eviction": eviction}},
        [image(f"i{number}", size) for number, size in enumerate(sizes.tolist())],
        [create(float(number), f"v{number}", f"i{name}") for number, name in enumerate(asked.tolist())],
    )
    return sim.run(case, "cache-only").requests["source"].ne("cache").tolist()


@pytest.mark.parametrize("limit", [5, 20, 60])  # some images are too large for the smallest
@pytest.mark.parametrize("eviction", CACHES)
def test_misses_by_size(eviction: str, limit: int) -> None:
    asked, sizes = drawn(limit)
    ours = downloads(eviction, asked, sizes, image_volume_cache_max_size_gb=limit)
    assert ours == missed(CACHES[eviction](limit), asked, sizes)
    assert limit < sum(sizes) and not all(ours)


@pytest.mark.parametrize("limit", [1, 4, 15])
@pytest.mark.parametrize("eviction", CACHES)
def test_misses_by_count(eviction: str, limit: int) -> None:
    """LRU and SIEVE with images of any size: it does not matter to them."""
    asked, sizes = drawn(limit)
    ones = np.ones_like(sizes)
    of_ours = ones if eviction == "gdsf" else sizes
    ours = downloads(eviction, asked, of_ours, image_volume_cache_max_count=limit)
    assert ours == missed(CACHES[eviction](limit), asked, ones)


@pytest.mark.parametrize("eviction", ["lru", "sieve"])
def test_lru_and_sieve_make_room_first_there_too(eviction: str) -> None:
    asked, sizes = drawn(1)
    by_get = missed_by_get(CACHES[eviction](20), asked, sizes)
    assert by_get == missed(CACHES[eviction](20), asked, sizes)


def test_gdsf_of_libcachesim_may_evict_what_is_new() -> None:
    """Small images asked for twice keep a large one out for good there; Cinder would let it in."""
    asked, sizes = np.array([0, 1, 0, 1, 2, 2]), np.array([1, 1, 2])
    assert missed_by_get(lcs.GDSF(2), asked, sizes)[-2:] == [True, True]
    assert missed(lcs.GDSF(2), asked, sizes)[-2:] == [True, False]
    assert downloads("gdsf", asked, sizes, image_volume_cache_max_size_gb=2)[-2:] == [True, False]
