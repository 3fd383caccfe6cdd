"""The data of the panel that answers "and what if" from what was simulated (`templates/explore.js`)."""

from __future__ import annotations

import math
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd

from sim.inputs.conf import conf_of
from sim.inputs.limits import OFF, Limits
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.usage import ALL
from sim.planner.explored import Explored, Rule
from sim.report.numbers import text
from sim.report.verdict import NAMES
from sim.sweep.results import value_text

MOST = 5_000  # points: a page with more is slow to load
SHOWN = ("hit_rate", "p95_s", "errors", "space_gib_mean", "price_month")
SCALES = {" %": 1.0, "k": 1e3, "M": 1e6}
UNLIKE = (
    "The answer keeps limits that differ between backends that have one slider here: the sliders begin at the"
    " nearest point that was simulated."
)
Places = tuple[int, ...]  # of each control, the number of its value


@dataclass(frozen=True)
class Control:
    """Something to set: the texts of its `values`, in order if it is `ordered`.

    `moot`: the number of another control, and the values of that one at which this one says nothing.
    """

    label: str
    values: Sequence[str]
    ordered: bool = True
    moot: tuple[int, Sequence[int]] | None = None


@dataclass
class Panel:
    """The panel's data. `scopes`: by title, the controls that decide on the figures; the first is all tiers.

    - points: by places of the controls, the figures of each scope and the numbers of the broken rules.
    - note: what the reader should know before.
    - adds: whether the figures of all tiers can be added up from those of each tier.
    - conf: what the lines of `cinder.conf` are made of.
    """

    controls: Sequence[Control]
    scopes: Mapping[str, Sequence[int]]
    today: Sequence[Sequence[float | None]]
    start: Places
    conf: Mapping[str, Any]
    adds: bool = False
    note: str = ""
    rules: list[tuple[str, Sequence[int]]] = field(default_factory=list)
    points: dict[Places, tuple[list[list[float | None]], list[int]]] = field(default_factory=dict)

    def data(self) -> dict[str, Any]:
        """All of it as JSON can hold it."""
        names = {"hit_rate": "share", "p95_s": "percentile"}
        return {
            "controls": [vars(each) for each in self.controls],
            "scopes": [{"title": title, "controls": of} for title, of in self.scopes.items()],
            "measures": [
                {"name": NAMES[key][0], "unit": NAMES[key][1], "more": NAMES[key][2], "kind": names.get(key)}
                for key in SHOWN
            ],
            "rules": [{"text": told, "controls": of} for told, of in self.rules],
            "points": [[list(at), *of] for at, of in self.points.items()],
            "today": self.today,
            "start": self.start,
            "conf": self.conf,
            "adds": self.adds,
        }


def rounded(value: float | None, key: str) -> float | None:
    """A figure as it is read, as a number; shares as per cent."""
    if value is None or math.isnan(value):
        return None
    told = text(float(value), key).replace(",", "")
    for ending, scale in SCALES.items():
        if told.endswith(ending):
            return float(told.removesuffix(ending)) * scale
    return float(told)


def figures(of: Mapping[Any, Any]) -> list[float | None]:
    """The creates, then of each of SHOWN the value and the ends of its interval."""
    ends = [rounded(of.get(f"{key}{end}"), key) for key in SHOWN for end in ("", "_low", "_high")]
    creates = of["creates"]
    return [None if math.isnan(creates) else float(creates), *ends]


# -- of a plan -----------------------------------------------------------------------------------------


def plan_panel(case: Case, found: Explored, strategy: str, chosen: Mapping[str, Limits]) -> Panel | None:
    """The panel of a plan; None if it has nothing to set. `strategy` and `chosen`: where it starts."""
    scenario = case.scenario
    strategies = list(dict.fromkeys(point.strategy for point in found.points))
    uncached = [n for n, name in enumerate(strategies) if not STRATEGIES[name].image_volume_cache_enabled]
    controls, values, of_group = [Control("strategy", strategies, False)], {}, {}
    alike = [
        point
        for point in found.points
        if all(point.limits[one] == point.limits[group] for group, of in found.groups.items() for one in of)
    ]
    for group, members in found.groups.items():
        enabled = [each for point in alike if (each := point.limits[group]).enabled]
        sizes, counts = (
            sorted({getattr(each, name) for each in enabled}, key=lambda value: value or math.inf)
            for name in ("max_size_gb", "max_count")
        )
        if not enabled:
            continue
        at, name = len(controls), ", ".join(members)
        controls.append(Control(f"{name}: size (GB)", ["off", *map(_limit, sizes)], True, (0, uncached)))
        controls.append(Control(f"{name}: count", list(map(_limit, counts)), True, (at, [0])))
        values[group], of_group[group] = (sizes, counts), (at, at + 1)

    def places(strategy: str, limits: Mapping[str, Limits]) -> Places:
        at = [strategies.index(strategy)]
        for group, (sizes, counts) in values.items():
            its = limits[group]
            at += [1 + sizes.index(its.max_size_gb), counts.index(its.max_count)] if its.enabled else [0, 0]
        return tuple(at)

    serving = {
        tier: [name for name, backend in scenario.backends.items() if tier in backend.volume_types]
        for tier in scenario.tiers
    }
    deciding = {tier: [0, *_controls(of_group, found, of)] for tier, of in serving.items()}
    every = list(range(len(controls)))
    scopes = {"All tiers": every, **{f"Tier {tier}": of for tier, of in deciding.items()}}
    tiers = [ALL, *scenario.tiers]
    panel = Panel(controls, scopes, [figures(found.today[tier]) for tier in tiers], (), {}, adds=True)
    numbers: dict[Rule, int] = {}
    for point in alike:
        for rule in point.broken:
            if rule not in numbers:
                numbers[rule] = len(numbers)
                of = every if rule.where == ALL else deciding.get(rule.where, every)
                of = [0, *_controls(of_group, found, [rule.where])] if rule.of_backend else of
                panel.rules.append((rule.text, of))
        told = [figures(point.tiers[tier]) for tier in tiers]
        panel.points[places(point.strategy, point.limits)] = told, [numbers[rule] for rule in point.broken]
    panel.conf = _conf_parts(strategies, scenario.backends, found, of_group)
    same = [point for point in alike if point.strategy == strategy] or alike
    start = min(same, key=lambda point: _apart(point.limits, chosen))
    panel.start = places(start.strategy, start.limits)
    if (start.strategy, dict(start.limits)) != (strategy, dict(chosen)):
        panel.note = UNLIKE
    return panel if len(controls) > 1 or len(strategies) > 1 else None


def _controls(of_group: Mapping[str, Places], found: Explored, backends: Iterable[str]) -> list[int]:
    """The controls of the limits of backends."""
    named = set(backends)
    groups = [group for group, members in found.groups.items() if named.intersection(members)]
    return [control for group in groups if group in of_group for control in of_group[group]]


def _limit(value: int) -> str:
    return f"{value:,}" if value else "no limit"


def _apart(one: Mapping[str, Limits], other: Mapping[str, Limits]) -> float:
    """How far two choices of limits are apart: steps of a factor e, and much more where one is off."""
    apart = 0.0
    for name, each in one.items():
        its = other[name]
        apart += 100 * (each.enabled != its.enabled)
        for a, b in ((each.max_size_gb, its.max_size_gb), (each.max_count, its.max_count)):
            apart += abs(math.log((a or 1e6) / (b or 1e6)))
    return apart


def _conf_parts(
    strategies: Sequence[str], backends: Iterable[str], found: Explored, of_group: Mapping[str, Places]
) -> dict[str, Any]:
    """The lines of `cinder.conf` in parts, as `conf_of` writes them: heads by strategy and whether something
    has a cache, and by backend the lines with its cache off, and those around its two limits with it on.
    """
    sections = []
    size, count = 987_654_321, 987_654_322
    on_limits = Limits(True, size, count)
    group_of = {name: group for group, members in found.groups.items() for name in members}
    for name in backends:
        off, on = (conf_of(strategies[0], {name: each}).partition("\n\n")[2] for each in (OFF, on_limits))
        before, _, rest = on.rpartition(str(size))
        between, _, _ = rest.rpartition(str(count))
        sections.append({"off": off, "on": [before, between], "controls": of_group.get(group_of[name])})
    heads = [
        [conf_of(strategy, {"x": each}).partition("\n\n")[0] for each in (OFF, on_limits)]
        for strategy in strategies
    ]
    return {"strategy": 0, "heads": heads, "sections": sections}


# -- of a sweep ----------------------------------------------------------------------------------------

COLUMNS = {  # of a table of `sim.sweep.intervals`
    "hit_rate": "clone_hit_rate",
    "p95_s": "create_s_p95",
    "errors": "errors",
    "space_gib_mean": "image_provisioned_gib_mean",
    "price_month": "price_month",
}


def sweep_panel(
    certain: pd.DataFrame, today: pd.DataFrame, keys: Sequence[str], start: int, confs: Sequence[str]
) -> Panel | None:
    """The panel of a sweep; None if there is nothing to set, or too much.

    `certain`, `today`: tables of `sim.sweep.intervals`, of all points and of today's settings. `keys`: what
    was varied. `start`, `confs`: the number of a point, and the lines of `cinder.conf` of each, in the order
    of the rows of scope `all`.
    """
    rows = certain[certain["scope"].isin(["all", "tier"])]
    points = rows[rows["scope"] == "all"].reset_index(drop=True)
    controls, places = [], []
    for key in ("strategy", *keys):
        ordered = key != "strategy" and pd.api.types.is_numeric_dtype(points[key])
        values = list(dict.fromkeys(points[key]))
        values = sorted(values) if ordered else values
        if len(values) > 1:
            controls.append(Control(key, list(map(value_text, values)), ordered))
            places.append([values.index(each) for each in points[key]])
    if not controls or len(points) > MOST:
        return None
    names = sorted(dict.fromkeys(rows["name"]), key=bool)  # all tiers first
    every = list(range(len(controls)))
    at = list(zip(*places, strict=True))
    titles = [f"Tier {name}" if name else "All tiers" for name in names]
    texts = {told: number for number, told in enumerate(dict.fromkeys(confs))}
    panel = Panel(
        controls,
        dict.fromkeys(titles, every),
        [_of_row(today[today["name"] == name].iloc[0].to_dict()) for name in names],
        at[start],
        {"texts": list(texts), "of": [texts[told] for told in confs]},
    )
    told = [[_of_row(row) for row in rows[rows["name"] == name].to_dict("records")] for name in names]
    for number, place in enumerate(at):
        panel.points.setdefault(place, ([of[number] for of in told], []))
    return panel


def figures_of(row: Mapping[Hashable, Any]) -> dict[str, float | None]:
    """The figures of a row of a sweep by their names in documents, cut off at values that cannot occur; None
    where one is not known. Failed creates are those without an image, too."""
    ends = {f"{key}{end}": row[f"{of}{end}"] for key, of in COLUMNS.items() for end in ("", "_low", "_high")}
    if row["other_errors"]:
        ends |= {"errors": row["errors"] + row["other_errors"], "errors_low": None, "errors_high": None}
    found = {name: None if value is None or math.isnan(value) else value for name, value in ends.items()}
    for key in COLUMNS:
        for end in (f"{key}_low", f"{key}_high"):
            value, top = found[end], 1.0 if key == "hit_rate" else math.inf
            found[end] = None if value is None else min(max(value, 0.0), top)
    return found


def _of_row(row: Mapping[Hashable, Any]) -> list[float | None]:
    return figures({"creates": math.nan, **figures_of(row)})
