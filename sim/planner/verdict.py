"""Whether a promise was kept: each figure of each backend against what happened since; and what explains it.

A figure is kept if its interval lies above the bound, not kept if it lies below, and else it is too early.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from sim.analysis.statistics import CONFIDENCE, DAY_S, Blocks, Sample
from sim.live.observed import Observed
from sim.live.promise import ALL, FIGURES, Promise, Promised
from sim.planner.figures import p95_interval
from sim.planner.promise import asked

Outcome = str
KEPT, NOT_KEPT, UNSURE = "kept", "not kept", "cannot tell yet"
LEAST_DAYS = 7  # a week has all its days, and Student's t six degrees of freedom
LONGEST_DAYS = 365.0
RESOLUTION_S = 1.0  # MariaDB keeps whole seconds: shorter creates are alike
CHANGED = 1.25  # of a load: by this factor or more, and beyond chance
FEWEST = 73  # creates from which 95 % of them bound the percentile with 97.5 % confidence: 0.95^73 < 0.025


@dataclass(frozen=True)
class Margins:
    """How far a cloud may miss its promise: `hit_rate` below the clone-hit rate, `p95` times the seconds."""

    hit_rate: float = 0.05
    p95: float = 1.25


@dataclass(frozen=True)
class Judged:
    """A figure of a backend (or ALL). `creates`: those that tell it. `wait_days`: how much longer it takes to
    tell at the load of these days; None: it is told, or more than a year would not do."""

    backend: str
    figure: str
    verdict: Outcome
    promised: float
    promised_low: float
    promised_high: float
    observed: float | None
    observed_low: float | None
    observed_high: float | None
    creates: int
    wait_days: int | None
    why: str = ""


def verdict(promise: Promise, seen: Observed, margins: Margins) -> dict[str, Any]:
    """The verdict as a document with stable keys."""
    days = max((seen.until - seen.since).total_seconds(), 0.0) / DAY_S
    since = seen.creates[seen.creates["time"] >= 0]
    judged = [
        one
        for name, figures in promise.figures.items()
        for one in _judged(name, figures, since if name == ALL else _of(since, name), days, margins)
    ]
    backends = {name: _worst([one for one in judged if one.backend == name]) for name in promise.figures}
    whole = _worst(judged)
    waits = [one.wait_days for one in judged if one.verdict == UNSURE and one.wait_days is not None]
    return {
        "verdict": whole,
        "since": seen.since.isoformat(),
        "until": seen.until.isoformat(),
        "days": days,
        "wait_days": max(waits, default=None) if whole == UNSURE else None,
        "backends": backends,
        "figures": [asdict(one) for one in judged],
        "why": list(_reasons(promise, seen, days)),
        "confidence": CONFIDENCE,
        "margins": asdict(margins),
    }


def _of(creates: pd.DataFrame, name: str) -> pd.DataFrame:
    return creates[creates["backend"] == name]


def _worst(judged: list[Judged]) -> Outcome:
    found = {one.verdict for one in judged}
    return NOT_KEPT if NOT_KEPT in found else UNSURE if UNSURE in found or not found else KEPT


# -- the figures ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Seen:
    value: float
    low: float
    high: float
    creates: int


def _judged(
    name: str, figures: Mapping[str, Promised], creates: pd.DataFrame, days: float, margins: Margins
) -> Iterator[Judged]:
    for figure in FIGURES:
        if (promised := figures.get(figure)) is None:
            continue
        told = creates[creates["downloaded" if figure == "hit_rate" else "create_s"].notna()]
        seen = None
        if len(told) and round(days) >= 2:
            seen = _hits(told, days) if figure == "hit_rate" else _p95(told, days)
        outcome, wait, why = _decided(figure, promised, seen, days, margins, len(creates))
        yield Judged(
            name,
            figure,
            outcome,
            promised=promised.value,
            promised_low=promised.low,
            promised_high=promised.high,
            observed=None if seen is None else seen.value,
            observed_low=None if seen is None else seen.low,
            observed_high=None if seen is None or math.isinf(seen.high) else seen.high,
            creates=len(told),
            wait_days=wait,
            why=why,
        )


def _hits(creates: pd.DataFrame, days: float) -> _Seen:
    """The share of clones, with Wilson's interval for the creates that correlated ones are worth.

    Creates of one day and of one image are not independent. The bootstrap over days tells by how much more
    the share varies (Kish's design effect), and so how many independent creates these are worth (Korn &
    Graubard 1998; Wilson's interval with that number: Dean & Pagano 2015). Where all are clones, or none, it
    tells nothing: then an image counts once a day.
    """
    clone = 1 - creates["downloaded"].to_numpy(float)
    day = _days(days)
    sample = Sample.of_blocks(day.count)
    block = day.of(creates["time"].to_numpy(float))
    part, whole = (np.bincount(block, each, minlength=day.count) for each in (clone, np.ones(len(clone))))
    share = sample.ratio(part, whole)
    value, error = float(share.point), float(np.linalg.norm(share.deviations))
    alone = math.sqrt(value * (1 - value) / len(clone))
    if alone > 0:
        worth = len(clone) / max(1.0, (error / alone) ** 2)
    else:
        worth = float(
            len(pd.DataFrame({"day": block, "image": creates["image_id"].to_numpy()}).drop_duplicates())
        )
    low, high = wilson(value, worth, sample.factor(CONFIDENCE))
    return _Seen(value, low, high, len(clone))


def wilson(share: float, count: float, factor: float) -> tuple[float, float]:
    """Wilson's score interval (1927) of a share of `count`, `factor` standard errors wide on each side."""
    square = factor**2
    middle = (share + square / (2 * count)) / (1 + square / count)
    half = factor * math.sqrt(share * (1 - share) / count + square / (4 * count**2)) / (1 + square / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _p95(creates: pd.DataFrame, days: float) -> _Seen:
    """The 95th percentile of create seconds, with the interval that plans have."""
    seconds, day = creates["create_s"].to_numpy(float), _days(days)
    sample = Sample.of_blocks(day.count)
    low, high = p95_interval(seconds, day.of(creates["time"].to_numpy(float)), sample, CONFIDENCE)
    high = high if len(seconds) >= FEWEST else math.inf
    return _Seen(float(np.percentile(seconds, 95)), low, high, len(seconds))


def _days(days: float) -> Blocks:
    return Blocks(0.0, DAY_S, round(days))


def _decided(
    figure: str, promised: Promised, seen: _Seen | None, days: float, margins: Margins, creates: int
) -> tuple[Outcome, int | None, str]:
    """The verdict, how many days more it takes, and why it is too early.

    Both figures become a loss: what was promised less what was seen, of seconds the logarithm of their
    factor. The interval of a difference comes from those of its two sides (Zou & Donner 2008).
    """
    least = max(1, math.ceil(LEAST_DAYS - days)) if days < LEAST_DAYS else None
    if seen is None:
        if creates:
            told = "the database tells no downloads" if figure == "hit_rate" else "no seconds are known"
            return (UNSURE, least, "") if least else (UNSURE, None, told)
        return UNSURE, least or 1, "no creates from an image"
    loss, margin = _loss(figure, promised, seen, margins)
    middle, here, there = loss
    if least:
        return UNSURE, least, f"less than {LEAST_DAYS} days"
    up, down = math.hypot(here[1], there[1]), math.hypot(here[0], there[0])
    if middle + up <= margin:
        return KEPT, None, ""
    if middle - down > margin:
        return NOT_KEPT, None, ""
    if math.isinf(here[1]):
        return UNSURE, _capped(days * (FEWEST / max(1, seen.creates) - 1)), f"fewer than {FEWEST} creates"
    wide, fixed = (here[1], there[1]) if middle <= margin else (here[0], there[0])
    left = (margin - middle) ** 2 - fixed**2
    if left <= 0:
        return UNSURE, None, "the promise is not exact enough for this margin"
    return UNSURE, _capped(days * (wide**2 / left - 1)), "too few days"


def _capped(days: float) -> int | None:
    return None if days > LONGEST_DAYS else max(1, math.ceil(days))


def _loss(
    figure: str, promised: Promised, seen: _Seen, margins: Margins
) -> tuple[tuple[float, tuple[float, float], tuple[float, float]], float]:
    """The loss, and how far it may be less and more by what was seen and by the promise; and its bound."""
    if figure == "hit_rate":
        here = seen.high - seen.value, seen.value - seen.low
        there = promised.value - promised.low, promised.high - promised.value
        return (promised.value - seen.value, here, there), margins.hit_rate
    own, old = ([_log(each) for each in (of.value, of.low, of.high)] for of in (seen, promised))
    here, there = (own[0] - own[1], own[2] - own[0]), (old[2] - old[0], old[0] - old[1])
    return (own[0] - old[0], here, there), math.log(margins.p95)


def _log(seconds: float) -> float:
    return math.log(max(seconds, RESOLUTION_S))


# -- what explains a gap -------------------------------------------------------------------------------


def _reasons(promise: Promise, seen: Observed, days: float) -> Iterator[dict[str, Any]]:
    """Settings that are not as promised, another load, new images, and downloads that no cache avoids."""
    for each in seen.settings or ():
        if each.drifted:
            yield {
                "kind": "settings",
                "backend": each.backend or ALL,
                "setting": each.setting,
                "promised": each.promised,
                "observed": each.actual,
                "text": str(each),
            }
    if seen.settings is None:
        yield _reason("settings", ALL, "give --conf to see whether the settings are those promised")
    since = seen.creates["time"] >= 0
    for name in promise.figures:
        mine = seen.creates if name == ALL else _of(seen.creates, name)
        yield from load_changes(name, promise.load.get(name, {}), mine, days)
    downloads = seen.creates[since & (seen.creates["downloaded"] == 1)]
    first = ~seen.creates.duplicated(["host", "image_id"])
    for name in promise.backends:
        mine = _of(downloads, name)
        if len(mine):
            new = int(first[mine.index].sum())
            what = f"{new:,} of {len(mine):,} downloads were the first of their image on their pool"
            yield _reason("downloads", name, f"{what}; without a prefetch, no cache avoids those")
    strange = sorted(set(seen.creates.loc[since, "backend"]) - set(promise.backends))
    for name in strange:
        count = int((since & (seen.creates["backend"] == name)).sum())
        yield _reason(
            "load", name, f"{count:,} volumes were made on a backend that the promise does not have"
        )


def _reason(kind: str, backend: str, text: str) -> dict[str, Any]:
    return {
        "kind": kind,
        "backend": backend,
        "setting": None,
        "promised": None,
        "observed": None,
        "text": text,
    }


def load_changes(
    name: str, promised: Mapping[str, float], creates: pd.DataFrame, days: float
) -> Iterator[dict[str, Any]]:
    """Reasons, if more or fewer creates or new images are asked for than `promised` (`ASKED`).

    `creates` has `time` (seconds, below 0 before the `days` that count) and `image_id`.
    """
    time, image = creates["time"].to_numpy(float), creates["image_id"].to_numpy(object)
    found = asked(time, image, 0.0, days * DAY_S)
    words = {
        "creates_per_day": ("load", "volumes from images a day"),
        "new_images_per_day": ("releases", "new images a day"),
    }
    for key, (kind, what) in words.items():
        old, new = promised.get(key), found[key]
        if old is None or new is None or days < 1:
            continue
        low, high = poisson(new * days)
        factor = (new + 1 / days) / (old + 1 / days)
        if not 1 / CHANGED < factor < CHANGED and not low <= old * days <= high:
            text = f"{new:,.3g} {what}, and not {old:,.3g} as in the history of the promise"
            yield {**_reason(kind, name, text), "setting": key, "promised": old, "observed": new}


def poisson(count: float) -> tuple[float, float]:
    """Garwood's interval (1936) of what is expected, for a count that was seen."""
    tail = (1 - CONFIDENCE) / 2
    low = float(special.gammaincinv(count, tail)) if count > 0 else 0.0
    return low, float(special.gammainccinv(count + 1, tail))
