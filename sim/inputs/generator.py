"""The spec of `workload.generate`, its defaults and their origin.

Defaults marked (a) are fitted: `cinder-cache fit` prints them, here rounded, for a month of real instance
creations (Alibaba cluster-trace-gpu-v2025 (DLRM), 31 days, 16,591 creations of 156 applications). An
application stands for an image, its disk for the volume. The other defaults are assumed, because no trace at
hand has them.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from sim.inputs.problems import Problems, quoted
from sim.inputs.spec import Date, Name, Spec, some
from sim.inputs.trace import MAX_GIB

HOUR, DAY, WEEK = 3600.0, 86_400.0, 7 * 86_400.0
LONGEST = 3650 * DAY
UNITS = {"s": 1.0, "h": HOUR, "d": DAY}
MOST_EVENTS = 50_000_000
MOST_AT_ONCE = 100_000  # creates of one storm
MOST_CHOICES = 10_000_000_000  # uploads times creates


def _duration(text: object) -> object:
    if isinstance(text, int | float) and not isinstance(text, bool):
        return float(text)  # seconds
    if not isinstance(text, str):
        raise ValueError("a duration is written 30d, 12h or 90s")
    found = re.fullmatch(r"([0-9]{1,12}(?:\.[0-9]{1,9})?)([dhs])", text)
    if not found:
        raise ValueError(f"{quoted(text)} is not a duration: write 30d, 12h or 90s")
    return float(found[1]) * UNITS[found[2]]


def _not_all_zero(weights: tuple[float, ...]) -> tuple[float, ...]:
    if not sum(weights) > 0:
        raise ValueError("the weights are all zero")
    return weights


def _shares_not_all_zero(shares: dict[str, float] | None) -> dict[str, float] | None:
    if shares is not None:
        _not_all_zero(tuple(some(shares).values()))
    return shares


def _sizes_not_all_zero(shares: dict[int, float]) -> dict[int, float]:
    _not_all_zero(tuple(some(shares).values()))
    return shares


Duration = Annotated[
    float, BeforeValidator(_duration), Field(gt=0, le=LONGEST, json_schema_extra={"format": "duration"})
]
Weight = Annotated[float, Field(ge=0, le=1e9)]
Share = Annotated[float, Field(ge=0, le=1)]
PerDay = Annotated[float, Field(ge=0, le=1e9)]
Median = Annotated[float, Field(ge=1e-3, le=1e9)]
Sigma = Annotated[float, Field(ge=0, le=5)]
BY_HOUR = (
    *(0.84, 0.95, 0.86, 0.85, 0.82, 0.83, 0.75, 0.72, 0.90, 0.71, 1.30, 1.26),
    *(1.10, 1.30, 1.26, 1.30, 1.12, 1.40, 1.35, 0.93, 0.82, 0.97, 0.75, 0.92),
)
SIZES_GIB: Final = {
    **{80: 0.020, 85: 0.100, 100: 0.027, 170: 0.061, 240: 0.032, 255: 0.460, 340: 0.060, 384: 0.010},
    **{408: 0.020, 425: 0.021, 544: 0.021, 680: 0.125},
}
Gib = Annotated[int, Field(ge=1, le=MAX_GIB)]


class Storms(Spec):
    """Requests for several volumes of one image at once. A storm has max(2, ceil(X)) creates; X is
    lognormal."""

    share: Share = 0.13
    """Share of requests that are storms. Default: (a)."""
    creates_median: Annotated[float, Field(ge=1e-3, le=MOST_AT_ONCE)] = 1.45
    """Median of X. Default: (a)."""
    creates_sigma: Annotated[float, Field(ge=0, le=3)] = 1.23
    """Sigma of the logarithm of X. Default: (a)."""
    spread_s: Annotated[float, Field(ge=0, le=DAY)] = 1.85
    """The creates of a storm come evenly within this time after the first. Default: (a)."""


class Repeats(Spec):
    """Requests that follow an earlier request for the same image. They are the reason why small caches work.

    Each request causes others for its image. Their number is Poisson with the mean `share`. Each comes
    `storms.spread_s` and a lognormal delay after its cause (median, sigma of its logarithm). So the share
    `share` of all requests follow another one, and the rest begin something new. This is a self-exciting
    process (A. G. Hawkes, Spectra of some self-exciting and mutually exciting point processes, Biometrika 58,
    1971).
    """

    share: Annotated[float, Field(ge=0, le=0.95)] = 0.885
    """Share of requests that follow another one. Default: (a)."""
    after_median_s: Median = 9700.0
    """Median of the delay. Default: (a)."""
    after_sigma: Annotated[float, Field(ge=0, le=3)] = 2.44
    """Sigma of the logarithm of the delay. Default: (a)."""


class Popularity(Spec):
    """Which image a request asks for: a line of images, by its rank, and the version of it in use."""

    zipf: Annotated[float, Field(ge=0, le=5)] = 0.8
    """The line of rank k has the weight k^-zipf. Default: (a)."""
    images: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    """Number of lines, if the scenario has no images; null: one for each image of the catalogue,
    sim/data/cloud_images.csv. A larger number uses the catalogue again from its start. Assumed."""
    release_every: Duration | None = 30 * DAY
    """Time between new versions of a line; each line has its own phase; null: no new versions. Assumed. It
    has to be null where the image list has dates in `released`."""
    takeover: Duration = 3 * DAY
    """Time after a release until half of new requests use the new version. After the same time again, half of
    the rest use it too. Assumed."""
    private_share: Share = 0.1
    """Share of lines that are private to one project. Assumed."""


class Projects(Spec):
    """The projects that send requests."""

    count: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Number of projects. Assumed."""
    zipf: Annotated[float, Field(ge=0, le=5)] = 1.0
    """The project of rank k has the weight k^-zipf. Assumed."""


class Lifetime(Spec):
    """Time from create to delete, lognormal."""

    median: Median = 17_300.0
    """Median in seconds. Default: (a)."""
    sigma: Sigma = 3.4
    """Sigma of the logarithm. Default: (a)."""


class Generate(Spec):
    """The parameters of a generated workload; `sim.workload.generate` draws it."""

    duration: Duration = 31 * DAY
    """Length of the workload. Default: (a)."""
    start: Date | None = None
    """Start of the workload, ISO 8601; null: a Monday, 0:00, and times are seconds."""
    creates_per_day: Annotated[float, Field(gt=0, le=1e9)] = 543.0
    """Mean number of creates per day over whole weeks; double it for twice the load. Default: (a)."""
    by_hour: Annotated[
        tuple[Weight, ...],
        Field(strict=False, min_length=24, max_length=24),
        AfterValidator(_not_all_zero),
    ] = BY_HOUR
    """Weights of the hours of a day, from 0:00. Default: (a)."""
    by_weekday: Annotated[
        tuple[Weight, ...],
        Field(strict=False, min_length=7, max_length=7),
        AfterValidator(_not_all_zero),
    ] = (1.0,) * 7
    """Weights of the days of a week, Monday first. Default: all equal, because the days of (a) do not differ
    significantly (p = 0.23)."""
    storms: Storms = Storms()
    """Requests for several volumes at once."""
    repeats: Repeats = Repeats()
    """Requests that follow others."""
    popularity: Popularity = Popularity()
    """Which image a request asks for."""
    projects: Projects = Projects()
    """The projects that send requests."""
    raw_share: Share = 0.3
    """Share of the generated images that are raw. Assumed."""
    tiers: Annotated[dict[Name, Weight] | None, AfterValidator(_shares_not_all_zero)] = None
    """Weights of the volume types, drawn for each request; null: all equal. Assumed."""
    volume_gib: Annotated[dict[Gib, Weight], AfterValidator(_sizes_not_all_zero)] = SIZES_GIB
    """Weights of volume sizes (`size: weight`), drawn for each request. A volume is never smaller than its
    image's virtual size. Default: (a), all sizes with a share of at least 1 %."""
    lifetime_s: Lifetime = Lifetime()
    """Time from create to delete, drawn for each volume."""
    kept_share: Share = 0.14
    """Share of volumes that are never deleted. Default: (a)."""
    encrypted_share: Share = 0.01
    """Share of requests for encrypted volumes, which Cinder neither caches nor clones. Assumed."""
    blank_share: Share = 0.02
    """Share of volumes that are not made from an image. Assumed."""
    updates_per_day: PerDay = 0.1
    """Updates of images' metadata per day; each makes the entry in the cache stale. Assumed."""
    uploads_per_day: PerDay = 0.0
    """Volumes per day that become new, private, raw images. Assumed."""

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        many, days = self.expected_events, self.duration / DAY
        if many > MOST_EVENTS:
            raise ValueError(f"about {many:,.0f} events are too many: at most {MOST_EVENTS:,}")
        pairs = days * self.uploads_per_day * days * self.creates_per_day
        if pairs > MOST_CHOICES:
            what = (
                f"about {days * self.uploads_per_day:,.0f} uploads, each of one of all volumes, take too long"
            )
            raise ValueError(f"{what}: uploads times creates may be at most {MOST_CHOICES:,}")
        return self

    @property
    def expected_events(self) -> float:
        """The mean number of events, without releases; nearly all creates are also deleted."""
        return self.duration / DAY * (2 * self.creates_per_day + self.updates_per_day + self.uploads_per_day)


def mean_creates(storms: Storms) -> float:
    """The mean number of creates of a request."""
    return 1 + storms.share * (storm_moments(storms)[0] - 1)


@lru_cache
def storm_moments(storms: Storms) -> tuple[float, float]:
    """The means of a storm's creates and of their square."""
    from scipy import special  # slow to import, and most scenarios have a trace

    more = np.arange(2, MOST_AT_ONCE)
    beyond = np.log(more / storms.creates_median)
    if storms.creates_sigma > 0:
        over = special.ndtr(-beyond / storms.creates_sigma)
    else:
        over = (beyond < 0).astype(float)
    return float(2 + over.sum()), float(4 + ((2 * more + 1) * over).sum())


def weekly_shape(spec: Generate) -> npt.NDArray[np.float64]:
    """The rate in each hour of a week from Monday 0:00 (168,), its mean 1."""
    shape = np.outer(spec.by_weekday, spec.by_hour).ravel()
    return np.asarray(shape / shape.mean())


def check_generate(
    path: Path,
    raw: Mapping[Hashable, Any],
    workload: Mapping[Hashable, Any],
    tiers: frozenset[str] | None,
    hosts: Mapping[str, frozenset[str] | None] | None,
    problems: Problems,
) -> None:
    """Note keys of a raw scenario that contradict `workload.generate`, or its absence, in `problems`.

    `tiers`, and the tiers that each of `hosts` serves, are None where they are not known.
    """
    spec, where = workload.get("generate"), "workload.generate"
    own = raw.get("images") is not None
    if not isinstance(spec, dict):
        if not own:
            problems.add(path, "images", "Field required")
        return
    for tier in _mapping(spec, "tiers"):
        if tiers is not None and tier not in tiers:
            problems.add(path, f"{where}.tiers", f"{quoted(tier)} is not in tiers", "is not in tiers")
        elif hosts is not None and not any(served is None or tier in served for served in hosts.values()):
            what = f"no backend serves volume type {quoted(tier)}"
            problems.add(path, f"{where}.tiers", what, "no backend serves volume type")
    listed = [
        f"popularity.{key}" for key in ("images", "private_share") if key in _mapping(spec, "popularity")
    ]
    for key in [*listed, *(["raw_share"] if "raw_share" in spec else [])] if own else ():
        what = "is of images that are generated, and the scenario has images"
        problems.add(path, f"{where}.{key}", what)


def _mapping(spec: Mapping[Hashable, Any], key: str) -> Mapping[Hashable, Any]:
    value = spec.get(key)
    return value if isinstance(value, dict) else {}
