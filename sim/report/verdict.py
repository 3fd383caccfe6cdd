"""What a page opens with: sentences for a manager, three figures of each tier beside today's, actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from sim.model.usage import ALL
from sim.report.numbers import text

Tiers = Mapping[str, Mapping[str, Any]]  # figures with `_low` and `_high`, by tier and ALL

# What a document's figures are called in a summary.
SUMMARY = {
    "hit_rate": "clone_hit_rate",
    "p95_s": "create_s_p95",
    "errors": "errors",
    "space_gib_mean": "image_provisioned_gib_mean",
    "space_gib_peak": "image_provisioned_gib_peak",
    "price_month": "price_month",
}
# What a figure is called below its number, its unit, and whether more of it is better.
NAMES = {
    "hit_rate": ("of the creates are clones, without a download", "", True),
    "p95_s": ("is the longest that 95 % of the creates take", " s", False),
    "errors": ("creates fail", "", False),
    "price_month": ("is the price a month", "", False),
    "space_gib_mean": ("of image-volumes on average", " GiB", False),
}


@dataclass(frozen=True)
class Figure:
    """A figure with its interval and today's, as texts. `change`: better, worse, or '' if the same."""

    value: str
    name: str
    interval: str
    today: str
    change: str


@dataclass(frozen=True)
class Action:
    """Something to do: what, what it brings, and what it takes."""

    what: str
    brings: str
    takes: str


@dataclass(frozen=True)
class Verdict:
    """`sentences`: what to do, what it brings, and what it costs or lacks. `today`: what today's figures are
    of. `cards`: three figures of each tier, by its name. `note`: small print. `before`: what stands before
    the figure that each one is compared with.
    """

    sentences: Sequence[str]
    today: str
    cards: Mapping[str, Sequence[Figure]]
    actions: Sequence[Action] = ()
    note: str = ""
    before: str = "today"


def cards_of(now: Tiers, then: Tiers) -> dict[str, list[Figure]]:
    """Three figures of each tier that has creates: hits, seconds, and what fails or else what it costs."""
    keys = ["hit_rate", "p95_s", third(now, then)]
    tiers = [ALL, *(tier for tier in then if tier != ALL)] if len(then) > 2 else list(then)[:1]
    return {
        "All tiers" if tier == ALL else f"Tier {tier}": [_figure(now[tier], then[tier], key) for key in keys]
        for tier in tiers
        if tier in now and then[tier]["hit_rate"] is not None
    }


def third(now: Tiers, then: Tiers) -> str:
    """The figure beside hits and seconds: failed creates if there are any, else the price, else the space."""
    for key in ("errors", "price_month"):
        if any(of.get(key) for tiers in (now, then) for of in tiers.values()):
            return key
    return "space_gib_mean" if "space_gib_mean" in then[ALL] else "errors"


def _figure(now: Mapping[str, Any], then: Mapping[str, Any], key: str) -> Figure:
    name, unit, more = NAMES[key]
    value, today = text(then[key], key), text(now[key], key)
    same = value == today or now[key] is None or then[key] is None
    change = "" if same else "better" if (then[key] > now[key]) == more else "worse"
    return Figure(f"{value}{unit}", name, interval(then, key), f"{today}{unit}", change)


def interval(of: Mapping[str, Any], key: str) -> str:
    """The ends of a figure's interval in words; '' if it has none."""
    low, high = of.get(f"{key}_low"), of.get(f"{key}_high")
    if low is None or high is None or low == high:
        return ""
    return f"{text(low, key).removesuffix(' %')} to {text(high, key)}"


def brings(now: Tiers, then: Tiers, before: str = "today") -> str:
    """What all creates get, and what they get today, or with what is called `before`."""
    hits, slow, fail = (
        (f"{text(then[ALL][key], key)}{unit}", f"({before} {text(now[ALL][key], key)}{unit})")
        for key, unit in (("hit_rate", ""), ("p95_s", " s"), ("errors", ""))
    )
    return (
        f"{hits[0]} of the creates are clones {hits[1]}, 95 % of the creates take at most {slow[0]}"
        f" {slow[1]}, and {fail[0]} fail {fail[1]}."
    )


def figures(now: Tiers, then: Tiers) -> str:
    """Figures of all creates in one line, with today's in brackets."""
    old, new = now[ALL], then[ALL]
    told = [
        f"{text(new['hit_rate'], 'hit_rate')} clones (today {text(old['hit_rate'], 'hit_rate')})",
        f"p95 {text(new['p95_s'], 'p95_s')} s ({text(old['p95_s'], 'p95_s')})",
        f"{text(new['errors'], 'errors')} failed ({text(old['errors'], 'errors')})",
    ]
    if new["price_month"] or old["price_month"]:
        key = "price_month"
        told.append(f"{text(new[key], key)} a month ({text(old[key], key)})")
    return ", ".join(told)


def costs(now: Tiers, then: Tiers, before: str = "today") -> str:
    """What image-volumes take and cost, and what they do today, or with what is called `before`."""
    old, new = now[ALL], then[ALL]
    told = []
    if "space_gib_mean" in new:
        key = "space_gib_mean"
        told.append(f"take {text(new[key], key)} GiB on average ({before} {text(old[key], key)} GiB)")
    if new["price_month"] or old["price_month"] or not told:
        key = "price_month"
        told.append(f"cost {text(new[key], key)} a month ({before} {text(old[key], key)})")
    return f"Image-volumes {' and '.join(told)}."


def side_by_side(steps: Sequence[tuple[str, Tiers]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Named figures as `sim.analysis.metrics.summary` has them, and intervals as a `Comparison` has."""
    rows, certain = [], []
    for tier in steps[0][1]:
        for name, tiers in steps:
            of, about = tiers[tier], {"tier": tier, "strategy": name}
            known = {key: measure for key, measure in SUMMARY.items() if key in of}
            rows.append(about | {measure: of[key] for key, measure in known.items()})
            certain += [
                about
                | {"measure": measure, "mean": of[key], "low": of[f"{key}_low"], "high": of[f"{key}_high"]}
                for key, measure in known.items()
                if of.get(f"{key}_low") is not None
            ]
    table = pd.DataFrame(rows)
    return table.astype(dict.fromkeys(table.columns[2:], float)), pd.DataFrame(certain)
