"""The cache alone: one limit, all limits, and what others make of the same look-ups."""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

import libcachesim as lcs
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sim.fast.replay
from sim.fast.replay import LookUps, curve_by_count, curve_by_size, look_ups, replay, replay_in_stretches

EXAMPLES = settings(max_examples=150, deadline=None)


class Asked(NamedTuple):
    """Look-ups with the images' versions and groups, and the images' sizes."""

    image: list[int]
    version: list[int]
    group: list[int]
    size_gib: list[int]
    size_bytes: list[int]

    def look_ups(self) -> LookUps:
        return look_ups(
            self.image, self.size_gib, self.size_bytes, version=self.version, group=self.group, groups=2
        )


@st.composite
def askeds(draw: st.DrawFn) -> Asked:
    """Few images, asked for often enough that the stack is closed up (after 4 times as many look-ups)."""
    sizes = draw(st.lists(st.integers(1, 8), min_size=1, max_size=9))
    rows = draw(
        st.lists(
            st.tuples(st.integers(0, len(sizes) - 1), st.sampled_from((0, 0, 0, 1)), st.integers(0, 1)),
            max_size=200,
        )
    )
    image, version, group = (list(column) for column in zip(*rows, strict=True)) if rows else ([], [], [])
    size_bytes = draw(st.lists(st.integers(1, 10**10), min_size=len(sizes), max_size=len(sizes)))
    return Asked(image, version, group, sizes, size_bytes)


class Naive(NamedTuple):
    hit: list[bool]
    evictions: int
    stale: int
    refusals: int


def naive(asked: Asked, max_size_gb: int, max_count: int) -> Naive:
    """`get_entry` and `ensure_space`, word by word."""
    entries: OrderedDict[int, int] = OrderedDict()  # versions by image, the last used at the end
    hit, evictions, stale, refusals = [], 0, 0, 0
    for image, version in zip(asked.image, asked.version, strict=True):
        size = asked.size_gib[image]
        if image in entries and entries[image] != version:
            del entries[image]
            stale += 1
        hit.append(image in entries)
        if hit[-1]:
            entries.move_to_end(image)
        elif max_size_gb and size > max_size_gb:
            refusals += 1
        else:
            while entries and (
                (max_size_gb and sum(asked.size_gib[each] for each in entries) + size > max_size_gb)
                or (max_count and len(entries) + 1 > max_count)
            ):
                entries.popitem(last=False)
                evictions += 1
            entries[image] = version
    return Naive(hit, evictions, stale, refusals)


def per_group(asked: Asked, hit: list[bool]) -> tuple[list[int], list[float]]:
    """Hits and bytes of each group."""
    hits, saved = [0, 0], [0.0, 0.0]
    for group, image, here in zip(asked.group, asked.image, hit, strict=True):
        hits[group] += here
        saved[group] += asked.size_bytes[image] * here
    return hits, saved


@EXAMPLES
@given(askeds(), st.integers(0, 30), st.integers(0, 10))
def test_replay_is_cinders_cache(asked: Asked, max_size_gb: int, max_count: int) -> None:
    found = replay(asked.look_ups(), max_size_gb, max_count, flags=True)
    expected = naive(asked, max_size_gb, max_count)
    assert found.hit is not None
    assert found.hit.tolist() == expected.hit
    assert found[2:5] == expected[1:]
    assert (found.hits.tolist(), found.byte_hits.tolist()) == per_group(asked, expected.hit)
    assert replay(asked.look_ups(), max_size_gb, max_count).hit is None


@EXAMPLES
@given(
    st.integers(1, 30), st.integers(0, 60), st.integers(0, 20), st.integers(2, 9), st.integers(0, 2**32 - 1)
)
def test_stretches_are_played_as_one(
    images: int, max_size_gb: int, max_count: int, stretches: int, seed: int
) -> None:
    """Some images change, and small limits refuse some."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, images, 300)
    versions, groups = rng.random(300) < 0.1, rng.integers(0, 3, 300)
    size, size_bytes = rng.integers(1, 9, images), rng.integers(1, 10**10, images)
    asked = look_ups(drawn, size, size_bytes, versions, groups, 3)
    one, cut = (
        replay_in_stretches(asked, max_size_gb, max_count, flags=True, stretches=number)
        for number in (1, stretches)
    )
    for name, expected in one._asdict().items():
        assert np.array_equal(getattr(cut, name), expected), name


@pytest.mark.parametrize(
    ("number", "images", "stretches"),
    [
        (0, 0, 1),
        (99_999, 3, 1),
        (100_000, 3, 2),
        (1_000_000, 3, 4),
        (399_999, 25_000, 1),
        (400_000, 25_000, 2),
    ],
)
def test_as_many_stretches_as_pay(
    number: int, images: int, stretches: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for each of four cores, but none of so few look-ups that its own start and counts cost more."""
    asked = look_ups(np.zeros(number), [1] * images)
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    monkeypatch.setattr(sim.fast.replay, "replay_in_stretches", lambda *given: given[-1])
    assert replay(asked) == stretches


@EXAMPLES
@given(askeds())
def test_every_count_in_one_pass(asked: Asked) -> None:
    curve = curve_by_count(asked.look_ups())
    assert not curve.hits[:, 0].any() and not curve.byte_hits[:, 0].any()  # no cache
    assert curve.hits.shape == curve.byte_hits.shape == (2, len(asked.size_gib) + 1)
    for count in range(1, len(asked.size_gib) + 1):
        one = replay(asked.look_ups(), max_count=count)
        assert curve.hits[:, count].tolist() == one.hits.tolist()
        assert curve.byte_hits[:, count].tolist() == one.byte_hits.tolist()


@EXAMPLES
@given(askeds(), st.data())
def test_every_size_in_few_passes(asked: Asked, data: st.DataObject) -> None:
    limits = np.array(data.draw(st.permutations(range(sum(asked.size_gib) + 2))))  # 0: unlimited
    curve = curve_by_size(asked.look_ups(), limits)
    for place, limit in enumerate(limits.tolist()):
        one = replay(asked.look_ups(), max_size_gb=limit)
        assert curve.hits[:, place].tolist() == one.hits.tolist()
        assert curve.byte_hits[:, place].tolist() == one.byte_hits.tolist()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(10, 700), st.sampled_from((0.0, 0.9)), st.sampled_from((1, 10**8)), st.integers(0, 2**32 - 1)
)
def test_every_limit_of_many_images(images: int, skew: float, unit: int, seed: int) -> None:
    """Stacks of some levels, in numbers of 32 bits and, with the larger unit, of 64."""
    rng = np.random.default_rng(seed)
    shares = np.arange(1.0, images + 1) ** -skew
    size = rng.integers(1, 41, images) * unit
    asked = look_ups(rng.choice(images, 6_000, p=shares / shares.sum()), size)
    counts, by_count = rng.integers(1, images + 1, 5).tolist(), curve_by_count(asked)
    for count in counts:
        assert by_count.hits[0, count] == replay(asked, max_count=count).hits[0]
    limits = np.append(rng.integers(1, size.sum() + 1, 5), rng.integers(1, 41, 5) * unit)
    by_size = curve_by_size(asked, limits)
    for place, limit in enumerate(limits.tolist()):
        one = replay(asked, max_size_gb=limit)
        assert by_size.hits[0, place] == one.hits[0]
        assert by_size.byte_hits[0, place] == one.byte_hits[0]


def test_a_larger_cache_may_have_fewer_hits() -> None:
    asked = look_ups([0, 1, 2, 0], size_gib=[1, 6, 4])
    assert curve_by_size(asked, [1, 2, 3, 4, 5, 6, 10, 11, 0]).hits.tolist() == [[1, 1, 1, 0, 1, 0, 0, 1, 1]]


def test_a_change_that_nobody_saw_is_none() -> None:
    """The image changed and changed back: the pool's entry is as good as before."""
    asked = look_ups([0, 1, 0], size_gib=[1, 1], version=[7, 0, 7])
    assert replay(asked).hits.tolist() == [1]
    assert replay(look_ups([0, 1, 0, 0], size_gib=[1, 1], version=[7, 0, 8, 8])).stale == 1


@pytest.mark.parametrize("images", [0, 3])
def test_nothing_looked_up(images: int) -> None:
    asked = look_ups([], size_gib=[2] * images)
    assert replay(asked, 1, 1).hits.tolist() == [0]
    assert curve_by_count(asked).hits.tolist() == [[0] * (images + 1)]
    assert curve_by_size(asked, [1, 2]).hits.tolist() == [[0, 0]]


# -- libCacheSim, by other authors ---------------------------------------------------------------------

MANY, IMAGES = 20_000, 300


@pytest.fixture(scope="module")
def workload() -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Images asked for, and each one's GiB."""
    rng = np.random.default_rng(7)
    shares = np.arange(1.0, IMAGES + 1) ** -0.9
    return rng.choice(IMAGES, MANY, p=shares / shares.sum()), rng.integers(1, 41, IMAGES)


def libcachesim_misses(limit: int, image: npt.NDArray[np.int64], size: npt.NDArray[np.int64]) -> int:
    cache, request = lcs.LRU(limit), lcs.Request()
    misses = 0
    for number in image.tolist():
        request.obj_id, request.obj_size = number + 1, int(size[number])
        misses += not cache.get(request)
    return misses


@pytest.mark.parametrize("count", [1, 2, 7, 50, 299, 300])
def test_misses_by_count_are_libcachesims(
    count: int, workload: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> None:
    image, size = workload
    misses = libcachesim_misses(count, image, np.ones_like(size))
    asked = look_ups(image, size)
    assert MANY - replay(asked, max_count=count).hits[0] == misses
    assert MANY - curve_by_count(asked).hits[0, count] == misses


@pytest.mark.parametrize("gib", [1, 5, 12, 39, 40, 41, 100, 1_000, 10_000])
def test_misses_by_size_are_libcachesims(
    gib: int, workload: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]
) -> None:
    """Below 40 GiB some images are refused, by both."""
    image, size = workload
    misses = libcachesim_misses(gib, image, size)
    asked = look_ups(image, size)
    assert MANY - replay(asked, max_size_gb=gib).hits[0] == misses
    assert MANY - curve_by_size(asked, [3, gib, 50]).hits[0, 1] == misses
