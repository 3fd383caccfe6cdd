"""Hits and byte hits of the image-volume cache against its limits, per pool and tier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.analysis.statistics import FEW, Blocks, Sample
from sim.fast import replay
from sim.fast.names import Names, positions
from sim.inputs.backend import Backend
from sim.inputs.limits import MAX_COUNT, MAX_SIZE
from sim.inputs.problems import BadInput, quoted
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.inputs.units import GIB
from sim.model.initial import Placed, place
from sim.model.usage import UsageMeter
from sim.run import run

Whole = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

NONE = -1  # no image, no host (as `positions` has it)
MOST_GROUPS, MOST_CELLS = 2**15 - 1, 10_000_000  # groups of `sim.fast.replay`, cells that it counts
AT_ONCE = 1000
MOST_SIZES = 200  # values in a grid of sizes; up to this many, the grid has every whole GiB


class Curves(NamedTuple):
    """The result of `curve`, as tidy tables.

    - curve: `scope` (pool | tier), `name` (host or volume type), `limit` (Cinder's option), `value`,
      `requests` (look-ups), `hits`, `byte_hits` (GiB of image files that were not downloaded), `hit_rate` and
      `byte_hit_rate` (NaN without look-ups), `hit_rate_low` and `hit_rate_high` (95 % interval of `hit_rate`,
      by a bootstrap over the history's days, see `sim.analysis.statistics`).
    - working_set: one row per pool: `host`, `volume_type` (several joined by ';'), `requests`; `images` and
      `gib` of its working set, which are the limits that never evict for room; the scenario's own
      `image_volume_cache_enabled`, `image_volume_cache_max_count` and `image_volume_cache_max_size_gb`; and
      `hits`, `byte_hits`, `hit_rate` and `byte_hit_rate` under these two limits together.
    """

    curve: pd.DataFrame
    working_set: pd.DataFrame


@dataclass(frozen=True)
class PoolLookUps:
    """Look-ups of one pool; groups are the blocks of each of `tiers`, and last the entries from the start.

    requests and bytes (tiers, blocks): the number of look-ups, and the bytes that they asked for.
    """

    host: str
    backend: Backend
    tiers: tuple[str, ...]
    asked: replay.LookUps
    requests: Whole
    bytes: npt.NDArray[np.float64]

    @property
    def images(self) -> int:
        """Images of the working set."""
        return len(self.asked.size_gib)

    @property
    def gib(self) -> int:
        """GiB of the working set."""
        return int(self.asked.size_gib.sum())


def curve(
    case: Case,
    strategy: str = "cache-only",
    sizes_gib: Iterable[int] | None = None,
    engine: str = "cinder",
    *,
    hosts: pd.Series[Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> Curves:
    """Hits under other limits of the cache, from Cinder's rules for the cache alone, without time.

    Each pool is by itself: without clones across pools, and without duplicates by nodes with their own locks.

    Each curve changes one limit and leaves the other unlimited. Limits apply per pool, as in Cinder. The
    value of a tier is the limit of each of its pools, and its hits are those of its own requests there.
    Numbers of entries go from 0, which here means no cache, to the working set, which equals Cinder's 0
    (unlimited). `sizes_gib` are the sizes. None means some 200 from the smallest image to the working set,
    and the scenario's own.

    The look-ups of a pool are the creates from an image that end there, in trace order. Creates that never
    ask the cache are left out: encrypted ones, those that Cinder's API refuses, clones of the driver and,
    under `combined`, clones of the store. A backend whose cache is off is treated as if it were on. One run
    of `strategy` on `engine` places the creates without a host; it calls `progress`. It does not run if there
    are none, or if `hosts` says where a run has put each create from an image. Entries that exist at the
    start count as one look-up before the trace.

    Effects of time and of other limits are left out: fills at the same time, which exceed the limits; failed
    creates and their reschedules; the limits of arrays, of clones and of the tenant's quota. To see these,
    run an engine with other limits. Raises `BadInput`.
    """
    sizes = None if sizes_gib is None else list(sizes_gib)
    pools = look_ups(case, strategy, sizes, engine, hosts=hosts, progress=progress)
    grid = _grid(pools) if sizes is None else np.unique(np.array(sizes, dtype=np.int64))
    by_count = {pool.host: replay.curve_by_count(pool.asked) for pool in pools}
    by_size = {pool.host: replay.curve_by_size(pool.asked, grid) for pool in pools}
    sample = Sample.of_blocks(_blocks(case).count, seed=case.scenario.seed)
    tables = []
    for scope, name, members in _subjects(case, pools):
        counts = np.arange(max((pool.images for pool, _ in members), default=0) + 1)
        tables.append(_table(scope, name, MAX_COUNT, counts, members, by_count, sample))
        tables.append(_table(scope, name, MAX_SIZE, grid, members, by_size, sample))
    return Curves(pd.concat(tables, ignore_index=True), _working_set(pools))


def _problems(case: Case, strategy: str, sizes: list[int] | None) -> list[str]:
    problems = []
    if strategy not in STRATEGIES or not STRATEGIES[strategy].image_volume_cache_enabled:
        with_cache = [name for name, each in STRATEGIES.items() if each.image_volume_cache_enabled]
        problems.append(f"strategy: {quoted(strategy)} has no cache, only {', '.join(with_cache)}")
    if case.scenario.what_if.eviction != "lru":
        problems.append(f"{case.path}: what_if.eviction: curves need lru, Cinder's own policy")
    if case.scenario.what_if.limits_per_backend:
        problems.append(f"{case.path}: what_if.limits_per_backend: curves need limits per pool")
    bad = [size for size in sizes or [] if size != int(size) or not 1 <= size < 2**31]
    if bad or sizes == []:
        problems.append(f"sizes_gib: must be whole GiB of 1 or more, not {quoted(bad or sizes)}")
    return problems


# -- look-ups ------------------------------------------------------------------------------------------


def look_ups(
    case: Case,
    strategy: str,
    sizes: list[int] | None = None,
    engine: str = "cinder",
    *,
    hosts: pd.Series[Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[PoolLookUps]:
    """The look-ups of every pool, in the scenario's order: `curve` counts their hits. Raises `BadInput`."""
    if problems := _problems(case, strategy, sizes):
        raise BadInput(problems)
    names, events = Names(case), case.trace.events
    image = positions(events["image_id"], names.images)
    create = (events["event"] == "create").to_numpy() & (image != NONE)
    project = _projects(case, names)
    version, refused = _seen_by_the_api(case, names, image, project)
    _, placed = place(case, STRATEGIES[strategy], UsageMeter(lambda: 0.0, [], []))
    asked = create & ~events["encrypted"].to_numpy() & ~refused
    host = positions(events["host"], names.hosts)
    if (asked & (host == NONE)).any():
        if hosts is None:
            hosts = run(case, strategy, engine, progress=progress).requests["host"]
        host[create] = positions(hosts, names.hosts)
    asked &= host != NONE
    asked[asked] = ~_cloned_elsewhere(case, names, placed, host[asked], image[asked], project[asked])
    columns = {
        "host": host,
        "image": image,
        "version": version,
        "tier": positions(events["volume_type"], names.tiers),
        "block": _blocks(case).of(events["time"].to_numpy(np.float64)),
    }
    every = pd.DataFrame({name: column[asked] for name, column in columns.items()})
    of_pool = dict(list(every.groupby("host")))
    return [
        _of_pool(case, names, name, of_pool.get(number, every[:0]), placed)
        for number, name in enumerate(names.hosts)
    ]


def _blocks(case: Case) -> Blocks:
    """The blocks of the history: days, or fewer blocks if memory does not allow more."""
    time = case.trace.events["time"]
    first, last = float(time.iloc[0]), float(time.iloc[-1])
    blocks = Blocks.between(first, last)
    tiers = len(case.scenario.tiers)
    most = min(MOST_GROUPS // tiers, max(FEW, MOST_CELLS // (tiers * max(1, len(case.images)))))
    return blocks if blocks.count <= most else Blocks(first, (last - first) / most, most)


def _projects(case: Case, names: Names) -> Whole:
    """The project of each event; an event without a project belongs to the first one."""
    named = case.trace.events["project"]
    project = np.maximum(positions(named, ["", *names.projects]) - 1, NONE)
    project[(named == "").to_numpy()] = 0
    return project


def _seen_by_the_api(case: Case, names: Names, image: Whole, project: Whole) -> tuple[Whole, Mask]:
    """For each event the version of its image, and whether the API would refuse it as a create.

    Repeats `ImageService` (sim/cinder/glance.py) and `volume_utils.check_image_metadata`.
    """
    events = case.trace.events
    updates, deletes = (
        (events["event"] == event).astype(np.int64).groupby(image).cumsum().to_numpy(np.int64)
        for event in ("update_image", "delete_image")
    )
    images = list(case.images.values())
    needs_gib = [each.needs_gib for each in images]
    may_use = np.append(names.may_use, np.ones((1, names.may_use.shape[1]), np.bool_), axis=0)  # no image
    foreign = ~may_use[image, project]  # its last column is of projects that no image names
    too_large = np.array([*needs_gib, 0])[image] > events["size_gib"].to_numpy(np.int64)
    return np.asarray(updates, np.int64), np.asarray((deletes > 0) | foreign | too_large)


def _cloned_elsewhere(
    case: Case, names: Names, placed: list[Placed], host: Whole, image: Whole, project: Whole
) -> Mask:
    """For each create, whether the driver or the store clones it, before the cache is asked."""
    images = list(case.images.values())
    raw = np.array([image.disk_format == "raw" for image in images])
    bare = np.array([image.container_format == "bare" for image in images])
    by_driver = np.array([case.scenario.backend_at(host).driver_clones_raw for host in names.hosts])
    stored = np.zeros((len(names.hosts), len(images)), np.bool_)
    for volume in placed:
        if volume.kind == "store" and volume.image is not None:
            stored[names.hosts.index(volume.host), names.images.index(volume.image.image_id)] = True
    # Image-volumes that name another project than the image's owner are cloned for the owner alone.
    others = np.array([image.image_owner in ("", image.owner) for image in images])
    owner = np.array([names.projects.index(image.owner) if image.owner else NONE for image in images])
    mine = others[image] | ((owner[image] == project) & (project != NONE))
    cloned: Mask = (by_driver[host] | (stored[host, image] & bare[image] & mine)) & raw[image]
    return cloned


def _of_pool(case: Case, names: Names, host: str, mine: pd.DataFrame, placed: list[Placed]) -> PoolLookUps:
    backend = case.scenario.backend_at(host)
    before = [
        names.images.index(volume.image.image_id)
        for volume in placed
        if volume.kind == "cache" and volume.host == host and volume.image is not None
    ]
    tiers = [names.tiers.index(tier) for tier in backend.volume_types]
    blocks = _blocks(case).count
    group_of = np.zeros(len(names.tiers), np.int64)
    group_of[tiers] = np.arange(len(tiers)) * blocks
    groups = len(tiers) * blocks
    numbers, image = np.unique(np.append(before, mine["image"]).astype(np.int64), return_inverse=True)
    images = [case.images[names.images[number]] for number in numbers]
    group = np.append(np.full(len(before), groups), group_of[mine["tier"]] + mine["block"])
    asked = replay.look_ups(
        image,
        size_gib=[each.virtual_gib for each in images],
        size_bytes=[each.size_bytes for each in images],
        version=np.append(np.zeros(len(before)), mine["version"]),
        group=group,
        groups=groups + 1,
    )
    requests = np.bincount(group, minlength=groups + 1)[:-1].reshape(len(tiers), blocks)
    asked_bytes = np.bincount(group, asked.size_bytes[image], groups + 1).astype(np.float64)
    asked_bytes = asked_bytes[:-1].reshape(len(tiers), blocks)
    return PoolLookUps(host, backend, backend.volume_types, asked, requests, asked_bytes)


# -- tables --------------------------------------------------------------------------------------------

Members = list[tuple[PoolLookUps, list[int]]]  # pools, and which groups of each


def _subjects(case: Case, pools: list[PoolLookUps]) -> list[tuple[str, str, Members]]:
    """Scope and name of every curve, and the look-ups that it adds up."""
    of_pools = [("pool", pool.host, [(pool, list(range(len(pool.tiers))))]) for pool in pools]
    of_tiers = [
        ("tier", tier, [(pool, [pool.tiers.index(tier)]) for pool in pools if tier in pool.tiers])
        for tier in case.scenario.tiers
    ]
    return [*of_pools, *of_tiers]


def _grid(pools: list[PoolLookUps]) -> Whole:
    """Sizes in GiB: each pool's smallest limit that never evicts, the scenario's own, and some between."""
    used = [pool for pool in pools if pool.images]
    if not used:
        return np.zeros(0, np.int64)
    low = min(int(pool.asked.size_gib.min()) for pool in used)
    high = max(pool.gib for pool in used)
    if high - low < MOST_SIZES:
        between = np.arange(low, high + 1)
    else:
        between = np.geomspace(low, high, MOST_SIZES).round().astype(np.int64)
    limits = [pool.backend.image_volume_cache_max_size_gb for pool in used]
    known = [*(pool.gib for pool in used), *(limit for limit in limits if limit)]
    return np.unique(np.append(between, known).astype(np.int64))


def _table(
    scope: str,
    name: str,
    limit: str,
    values: Whole,
    members: Members,
    curves: dict[str, replay.Curve],
    sample: Sample,
) -> pd.DataFrame:
    """A row per value; values beyond a pool's own curve repeat its last."""
    in_blocks, byte_hits = np.zeros((sample.units, len(values)), np.int64), np.zeros(len(values))
    asked_for = np.zeros(sample.units, np.int64)
    for pool, tiers in members:
        of_pool = curves[pool.host]
        at = np.minimum(np.arange(len(values)), of_pool.hits.shape[1] - 1)
        shape = (*pool.requests.shape, -1)
        in_blocks += of_pool.hits[:-1].reshape(shape)[tiers].sum(axis=0)[:, at]
        byte_hits += of_pool.byte_hits[:-1].reshape(shape)[tiers].sum(axis=(0, 1))[at]
        asked_for += pool.requests[tiers].sum(axis=0)
    hits, requests = in_blocks.sum(axis=0), int(asked_for.sum())
    asked = sum(float(pool.bytes[tiers].sum()) for pool, tiers in members)
    rate, half = hits / (requests or math.nan), _half_widths(in_blocks, asked_for, sample)
    return pd.DataFrame(
        {
            "scope": scope,
            "name": name,
            "limit": limit,
            "value": values,
            "requests": requests,
            "hits": hits,
            "byte_hits": byte_hits / GIB,
            "hit_rate": rate,
            "byte_hit_rate": byte_hits / (asked or math.nan),
            "hit_rate_low": np.maximum(rate - half, 0.0),
            "hit_rate_high": np.minimum(rate + half, 1.0),
        }
    )


def _half_widths(hits: Whole, asked: Whole, sample: Sample) -> npt.NDArray[np.float64]:
    """Half the intervals of hits (blocks, values), in parts: each value has a thousand resamplings."""
    found = [
        sample.half_widths(sample.ratio(hits[:, first : first + AT_ONCE].T, asked))
        for first in range(0, hits.shape[1], AT_ONCE)
    ]
    return np.concatenate(found) if found else np.zeros(0)


def _working_set(pools: list[PoolLookUps]) -> pd.DataFrame:
    rows = []
    for pool in pools:
        backend, requests = pool.backend, int(pool.requests.sum())
        hits, saved = 0, 0.0
        if backend.image_volume_cache_enabled:
            now = replay.replay(
                pool.asked, backend.image_volume_cache_max_size_gb, backend.image_volume_cache_max_count
            )
            hits, saved = int(now.hits[:-1].sum()), float(now.byte_hits[:-1].sum())
        rows.append(
            {
                "host": pool.host,
                "volume_type": ";".join(pool.tiers),
                "requests": requests,
                "images": pool.images,
                "gib": pool.gib,
                "image_volume_cache_enabled": backend.image_volume_cache_enabled,
                MAX_COUNT: backend.image_volume_cache_max_count,
                MAX_SIZE: backend.image_volume_cache_max_size_gb,
                "hits": hits,
                "byte_hits": saved / GIB,
                "hit_rate": hits / (requests or math.nan),
                "byte_hit_rate": saved / (float(pool.bytes.sum()) or math.nan),
            }
        )
    return pd.DataFrame(rows)
