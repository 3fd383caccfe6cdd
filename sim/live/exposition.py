"""What a watch knows, as metrics of Prometheus."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC
from itertools import accumulate
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from sim.inputs.limits import ENABLED, MAX_COUNT, MAX_SIZE
from sim.live.again import Recommendation
from sim.live.promise import QUOTAS
from sim.live.settings import Difference, Settings, quota_limits
from sim.live.state import BUCKETS_S, DOWNLOAD, Kind, State

UNKNOWN = "unknown"  # the source of creates in a database that does not tell downloads
POOL = ("host", "backend", "pool")
TYPE = (*POOL, "volume_type")
# Every metric: its kind, labels and help. A counter's name gets `_total`.
METRICS: dict[str, tuple[str, tuple[str, ...], str]] = {
    "up": ("gauge", (), "1: the last reading of the database worked, and it is not long ago."),
    "seconds_behind": ("gauge", (), "Seconds since the last reading that worked."),
    "read_seconds": ("gauge", (), "Seconds that the last reading that worked took."),
    "read_rows": ("counter", (), "Rows that the database gave."),
    "read_errors": ("counter", (), "Readings of the database that failed."),
    "conf_readable": ("gauge", (), "1: the last reading of cinder.conf worked. 0: those before count."),
    "tells_downloads": ("gauge", (), "1: the database tells downloads from clones. 0: sources are unknown."),
    "image_creates": ("counter", TYPE, "Volumes made from an image, whose source the database tells."),
    "image_clones": ("counter", TYPE, "Volumes made from an image by a clone, without a download."),
    "image_creates_by_source": (
        "counter", (*TYPE, "source"),
        "Volumes made from an image by source: download, or driver, store, cache; clone: one of the three.",
    ),
    "create_seconds": ("histogram", (*TYPE, "source"), "Seconds from the request of a volume to its end."),
    "fills": ("counter", POOL, "Images that were put into the cache."),
    "evictions": ("counter", POOL, "Images that were taken out of the cache."),
    "entries": ("gauge", POOL, "Entries of the cache."),
    "gib": ("gauge", POOL, "GiB of the cache, as Cinder counts them for its limit."),
    "enabled": ("gauge", POOL, "1: cinder.conf turns the cache on, with an internal tenant."),
    "limit_entries": ("gauge", POOL, "image_volume_cache_max_count of the pool; +Inf: no limit."),
    "limit_gib": ("gauge", POOL, "image_volume_cache_max_size_gb of the pool; +Inf: no limit."),
    "least_recent_use_timestamp_seconds": ("gauge", POOL, "Last use of the entry that is evicted next."),
    "duplicates": ("gauge", POOL, "Entries of images that the pool has in its cache more than once."),
    "orphans": ("gauge", POOL, "Image-volumes without an entry: they take room and serve nobody."),
    "orphan_gib": ("gauge", POOL, "GiB of image-volumes without an entry."),
    "places_left": ("gauge", POOL, "Volumes that the pool takes before it is full, where a limit is known."),
    "quota_used": ("gauge", ("resource",), "What the internal tenant has of a resource, reservations too."),
    "quota_limit": ("gauge", ("resource",), "The internal tenant's quota of a resource; +Inf: no limit."),
    "drift": ("gauge", ("backend", "setting"), "1: a setting is not as promised."),
    "recommends": ("gauge", (), "1: other limits of the caches would save much. 0: those in force fit."),
    "recommended_timestamp_seconds": ("gauge", (), "When the planner answered."),
    "recommended_saving": ("gauge", (), "What the recommended limits save a month, as advise counts."),
    "recommended_entries": ("gauge", ("backend",), "Recommended image_volume_cache_max_count."),
    "recommended_gib": ("gauge", ("backend",), "Recommended image_volume_cache_max_size_gb."),
}  # fmt: skip
PREFIX = "cinder_cache_"
FAMILIES = {"gauge": GaugeMetricFamily, "counter": CounterMetricFamily, "histogram": HistogramMetricFamily}


@dataclass(frozen=True)
class View:
    """The metrics of one moment. `state` is None until a reading has worked."""

    state: State | None
    settings: Settings
    up: bool
    behind_s: float
    read_s: float
    rows: int
    errors: int
    again: Recommendation | None = None


class Exposition(Collector):
    """The metrics of `View`s: each collection shows one of them."""

    def __init__(self, view: Callable[[], View]) -> None:
        self._view = view

    def collect(self) -> Iterator[Metric]:
        """All metrics as they are now."""
        yield from families(self._view())


def families(view: View) -> Iterator[Metric]:
    """The metrics of a view. Those that are not known are absent."""
    yield _one("up", {(): float(view.up)})
    yield _one("seconds_behind", {(): view.behind_s})
    yield _one("read_rows", {(): view.rows})
    yield _one("read_errors", {(): view.errors})
    if view.settings.configuration is not None:
        yield _one("conf_readable", {(): float(view.settings.readable)})
    if view.state is not None:
        yield _one("read_seconds", {(): view.read_s})
        yield from _creates(view.state)
        yield from _caches(view.state, view.settings)
        yield from _quotas(view.state, view.settings)
    differences = view.settings.differences(view.state)
    if differences:
        yield _one("drift", drifts(differences))
    if view.again is not None:
        yield from _recommended(view.again)


def drifts(differences: list[Difference]) -> dict[tuple[str, ...], float]:
    """1 for each setting that drifted, 0 for the others, by backend and setting."""
    return {(each.backend, each.setting): float(each.drifted) for each in differences}


def _recommended(again: Recommendation) -> Iterator[Metric]:
    yield _one("recommends", {(): float(again.large)})
    yield _one("recommended_timestamp_seconds", {(): again.at.timestamp()})
    if again.large:
        yield _one("recommended_saving", {(): again.saves_month})
        on = {(name,): each for name, each in again.backends.items() if each[ENABLED]}
        off = {(name,): 0.0 for name in again.backends if (name,) not in on}
        for name, option in (("recommended_entries", MAX_COUNT), ("recommended_gib", MAX_SIZE)):
            yield _one(name, off | {of: _limit(each[option]) for of, each in on.items()})


def _one(name: str, values: Mapping[Any, float]) -> Metric:
    kind, labels, text = METRICS[name]
    family: Metric = FAMILIES[kind](PREFIX + name, text, labels=labels)
    for of, value in sorted(values.items()):
        family.add_metric(of, value)  # type: ignore[attr-defined]
    return family


def _creates(state: State) -> Iterator[Metric]:
    told: Counter[tuple[str, ...]] = Counter()
    clones: Counter[tuple[str, ...]] = Counter()
    sources: Counter[tuple[str, ...]] = Counter()
    for kind, count in state.creates.items():
        key = (*kind.place, kind.volume_type)
        sources[(*key, _source(state, kind))] += count
        told[key] += count * state.tells
        clones[key] += count * (state.tells and kind.source != DOWNLOAD)
    yield _one("tells_downloads", {(): float(state.tells)})
    yield _one("image_creates", dict(told))
    yield _one("image_clones", dict(clones))
    yield _one("image_creates_by_source", dict(sources))
    _, labels, text = METRICS["create_seconds"]
    family = HistogramMetricFamily(PREFIX + "create_seconds", text, labels=labels)
    bounds = [*map(str, BUCKETS_S), "+Inf"]
    for kind, seconds in sorted(state.seconds.items()):
        buckets = list(zip(bounds, map(float, accumulate(seconds.counts)), strict=True))
        family.add_metric((*kind.place, kind.volume_type, _source(state, kind)), buckets, seconds.sum_s)
    yield family


def _source(state: State, kind: Kind) -> str:
    return kind.source if state.tells else UNKNOWN


def _caches(state: State, settings: Settings) -> Iterator[Metric]:
    caches = state.caches
    places = caches.keys() | state.fills.keys() | state.evictions.keys()
    yield _one("fills", {place: state.fills[place] for place in places})
    yield _one("evictions", {place: state.evictions[place] for place in places})
    for name in ("entries", "gib", "duplicates", "orphans", "orphan_gib"):
        yield _one(name, {place: getattr(cache, name) for place, cache in caches.items()})
    used = {
        place: cache.used_at.replace(tzinfo=UTC).timestamp()
        for place, cache in caches.items()
        if cache.used_at is not None
    }
    yield _one("least_recent_use_timestamp_seconds", used)
    sections = {place: section for place in caches if (section := settings.section(place)) is not None}
    on = {place: section for place, section in sections.items() if section.caches}
    yield _one("enabled", {place: float(place in on) for place in sections})
    yield _one(
        "limit_entries", {place: _limit(one.image_volume_cache_max_count) for place, one in on.items()}
    )
    yield _one("limit_gib", {place: _limit(one.image_volume_cache_max_size_gb) for place, one in on.items()})
    left = {}
    for place in caches:
        if (places_left := settings.places(place, state.volumes)) is not None:
            left[place] = places_left
    yield _one("places_left", left)


def _quotas(state: State, settings: Settings) -> Iterator[Metric]:
    if state.tenant is None:
        return
    limits = quota_limits(state, settings.configuration)
    for name, values in {"quota_used": state.quota_used, "quota_limit": limits}.items():
        # Of a cache: not snapshots and backups. A negative limit is none.
        mine = {resource: one for resource, one in values.items() if resource.split("_")[0] in QUOTAS}
        yield _one(name, {(resource,): one if one >= 0 else math.inf for resource, one in mine.items()})


def _limit(value: int) -> float:
    return value or math.inf  # Cinder's 0 means unlimited
