"""The image-volume cache under independent requests is LRU: its hit rate is known."""

from __future__ import annotations

from collections import OrderedDict
from itertools import permutations

import numpy as np
import numpy.typing as npt
import pytest
from drawn import drawn_case
from intervals import interval
from scipy import integrate, optimize

import sim

Shares = npt.NDArray[np.float64]
REPLICATIONS = 8
# Images, entries that the cache may have, creates counted and creates before them, per replication.
FEW = [(6, entries, 250, 50) for entries in (1, 2, 3, 4, 5)]
MANY = [(100, entries, 600, 200) for entries in (5, 10, 20)]


def zipf(images: int, exponent: float = 0.9) -> Shares:
    weights: Shares = np.arange(1, images + 1) ** -exponent
    return weights / weights.sum()


def che(shares: Shares, entries: int) -> float:
    """Che's approximation (Che, Tung, Wang 2002): every image stays for one and the same time."""

    def surplus(stay: float) -> float:
        return float(-np.expm1(-shares * stay).sum() - entries)

    stay = optimize.brentq(surplus, 0, 1e6)
    return float(shares @ -np.expm1(-shares * stay))


def king(shares: Shares, entries: int) -> float:
    """LRU exactly (King 1971): a sum over all orders in which `entries` images can be cached."""
    hits = 0.0
    for cached in permutations(shares, entries):
        before = np.concatenate([[0.0], np.cumsum(cached)[:-1]])
        hits += sum(cached) * np.prod(cached / (1 - before))
    return float(hits)


def exact(shares: Shares, entries: int) -> float:
    """LRU exactly, as an integral (after Flajolet, Gardy, Thimonier 1992), for many images.

    With Poisson requests an image is asked for again after `t` with density p exp(-p t), and hits if fewer
    than `entries` others were asked for in that time.
    """

    # In log(t): what happens soon and what happens late weigh alike. Simpson's rule on an even grid.
    grid = np.linspace(np.log(1e-12), np.log(1e4), 301)
    t = np.exp(grid)[:, None]
    asked = -np.expm1(-shares * t)
    others = np.zeros((*asked.shape, entries))  # per time and image, how likely 0, 1, … others were asked for
    others[..., 0] = 1.0
    for other in range(len(shares)):
        probability = np.repeat(asked[:, other : other + 1], len(shares), axis=1)[..., None]
        probability[:, other] = 0.0  # an image is no other of its own
        more = others[..., :-1] * probability
        others *= 1 - probability
        others[..., 1:] += more
    density = (shares**2 * np.exp(-shares * t) * others.sum(axis=-1)).sum(axis=1)
    return float(integrate.simpson(density * t[:, 0], x=grid))


def lru(images: npt.NDArray[np.int64], entries: int) -> list[bool]:
    """Which requests find their image in a plain LRU cache."""
    cached: OrderedDict[int, None] = OrderedDict()
    hits = []
    for image in images.tolist():
        hits.append(image in cached)
        cached[image] = None
        cached.move_to_end(image)
        if len(cached) > entries:
            cached.popitem(last=False)
    return hits


@pytest.mark.parametrize("entries", [1, 2, 3, 4, 5])
def test_the_integral_is_kings_formula(entries: int) -> None:
    assert exact(zipf(6), entries) == pytest.approx(king(zipf(6), entries), abs=1e-9)


@pytest.mark.parametrize("entries", [entries for _, entries, _, _ in MANY])
def test_plain_lru_has_that_hit_rate(entries: int) -> None:
    """So what the engine must agree with, create by create, is the cache of the theory."""
    shares, rates = zipf(100), []
    for replication in range(20):
        asked = np.random.default_rng([entries, replication]).choice(100, 15_000, p=shares)
        rates.append(float(np.mean(lru(asked, entries)[1_000:])))
    measured = interval(rates, len(MANY))
    assert exact(shares, entries) in measured
    assert exact(shares, entries + 1) not in measured


@pytest.mark.parametrize(("images", "entries", "counted", "warm_up"), FEW + MANY)
def test_hit_rate(images: int, entries: int, counted: int, warm_up: int) -> None:
    shares = zipf(images)
    rates = []
    for replication in range(REPLICATIONS):
        rng = np.random.default_rng([images, entries, replication])
        asked = rng.choice(images, warm_up + counted, p=shares)
        # Once `entries` images were asked for, the cache is that of a run that has always been.
        assert len(set(asked[:warm_up])) >= entries
        hits = cache_hits(asked, entries)
        assert hits == lru(asked, entries)
        rates.append(float(np.mean(hits[warm_up:])))
    measured = interval(rates, len(FEW + MANY))
    assert exact(shares, entries) in measured
    if images > 6:  # so few images are no case for an approximation
        assert che(shares, entries) in measured


def cache_hits(asked: npt.NDArray[np.int64], entries: int) -> list[bool]:
    """Which creates the engine clones from the cache; nothing takes time and no volume stays."""
    backend = {"volume_type": "tier", "pools": {"p0": {}}, "image_volume_cache_max_count": entries}
    case = drawn_case(np.arange(len(asked)), asked, 0.5, backends={"array": backend})
    requests = sim.run(case, "cache-only").requests
    return [source == "cache" for source in requests["source"]]
