"""The page of a sweep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup

from sim import plots
from sim.analysis.curves import Curves
from sim.inputs.conf import conf_of_scenario
from sim.inputs.hosts import host_of
from sim.inputs.limits import MAX_COUNT, MAX_SIZE
from sim.inputs.scenario import Case
from sim.inputs.strategies import STRATEGIES
from sim.model.usage import ALL
from sim.plots.frame import number
from sim.report import parts
from sim.report.explore import Panel, figures_of
from sim.report.figures import Pictures
from sim.report.numbers import Numbers, numbers, text
from sim.report.page import page
from sim.report.parts import Group, Ran, Section, limit_text
from sim.report.verdict import Tiers, Verdict, brings, cards_of, costs
from sim.sweep.intervals import MEASURES
from sim.sweep.results import value_text
from sim.sweep.varying import paths_of

SHOWN = 25  # points of the answer
KEYS = 4  # whose pictures are drawn
WHY = "its clone hits are within the interval of the most, its failed creates within that of the fewest"


def sweep_page(
    case: Case,
    certain: pd.DataFrame,
    failed: int,
    curves: tuple[str, Curves] | None,
    chosen: Ran,
    made: Mapping[str, object],
    today: pd.DataFrame | None = None,
    panel: Panel | None = None,
) -> str:
    """The page of a sweep.

    `certain`: the table of `sim.sweep.intervals.intervals`. `failed`: number of failed cells. `curves`: hit
    curves, and the strategy whose look-ups they are from. `chosen`: the point of `recommended`, run once
    more. `today`: that table of today's settings. `panel`: what explores the points.
    """
    draw = Pictures()
    keys = keys_of(certain)
    points = certain[certain["scope"] == "all"].reset_index(drop=True)
    sections = [
        Section("answer", "The answer", _reasons(points, keys, failed), tables=[_answer(points, keys)]),
        *([] if panel is None else [parts.explore_section(panel)]),
        *_varied(draw, case, certain, keys, None if curves is None else curves[1], _limits(chosen)),
        *([] if curves is None else [parts.curves_section(draw, case, *curves, _limits(chosen))]),
        _trade_offs(draw, certain, keys),
        *parts.of_runs(draw, [chosen], chosen.name),
    ]
    about = (
        f"{len(points):,} points of {', '.join(keys)}; over time and by image, what is recommended is shown"
    )
    if points["of"].iloc[0] == "replications":
        about += " in its first replication"
    conf = {
        "title": f"Lines for cinder.conf: {_named(points.iloc[recommended(certain)], keys)}",
        "lines": conf_of_scenario(chosen.case.scenario, chosen.strategy),
    }
    verdict = verdict_of(case, certain, today)
    return page(f"{case.scenario.name}: a sweep", about, sections, made, conf, verdict)


def verdict_of(case: Case, certain: pd.DataFrame, today: pd.DataFrame | None) -> Verdict:
    """What a sweep says to a manager: `certain` and `today` are tables of `sim.sweep.intervals`."""
    keys, points = keys_of(certain), certain[certain["scope"] == "all"].reset_index(drop=True)
    best, chosen = _best(points), points.iloc[recommended(certain)]
    why = "no other point has more clone hits"
    if chosen.name != best.name:
        why = f"{WHY}, in the least space"
    first = f"Run {_named(chosen, keys)}: {why}."
    if today is None:
        return Verdict([first], "", {})
    own = certain[(certain[["strategy", *keys]].astype(object) == chosen[["strategy", *keys]]).all(axis=1)]
    now, then = _tiers(today), _tiers(own)
    about = f"Today is {case.scenario.todays_strategy()} with the values of the scenario."
    return Verdict([first, brings(now, then), costs(now, then)], about, cards_of(now, then))


def _tiers(rows: pd.DataFrame) -> Tiers:
    """The figures of a point by tier and in all."""
    told = rows[rows["scope"].isin(["all", "tier"])].to_dict("records")
    return {str(row["name"]) or ALL: figures_of(row) for row in told}


def recommended(certain: pd.DataFrame) -> int:
    """The number of the recommended point, among the rows of scope `all`.

    Its hit rate is within the interval of the best. Among such points, its failed creates are within the
    interval of the fewest. Among such points, it takes the least space.
    """
    points = certain[certain["scope"] == "all"].reset_index(drop=True)
    best = _best(points)
    lowest = best["clone_hit_rate_low"]
    near = points[points["clone_hit_rate"] >= (best["clone_hit_rate"] if np.isnan(lowest) else lowest)]
    if near.empty:  # no create has succeeded
        return int(points["clone_hit_rate"].fillna(-1).argmax())
    failed = near["errors"] + near["other_errors"]
    fewest = near.loc[failed.idxmin()]
    highest = fewest["errors_high"] + fewest["other_errors_high"]
    near = near[failed <= (failed.min() if np.isnan(highest) else highest)]
    return int(near.index[int(near["image_provisioned_gib_mean"].argmin())])


def _limits(chosen: Ran) -> dict[str, dict[str, int]]:
    """The limits of each backend's cache at the recommended point; none where it is off."""
    if not STRATEGIES[chosen.strategy].image_volume_cache_enabled:
        return {}
    return {
        name: {limit: int(getattr(backend, limit)) for limit in (MAX_COUNT, MAX_SIZE)}
        for name, backend in chosen.case.scenario.backends.items()
        if backend.image_volume_cache_enabled
    }


def keys_of(certain: pd.DataFrame) -> list[str]:
    """The keys that were varied."""
    return list(map(str, certain.columns[1 : certain.columns.get_loc("scope")]))


def _best(points: pd.DataFrame) -> pd.Series[Any]:
    return points.iloc[int(points["clone_hit_rate"].fillna(-1).argmax())]


def _reasons(points: pd.DataFrame, keys: list[str], failed: int) -> list[str]:
    best, chosen = _best(points), points.iloc[recommended(points)]
    lines = [
        f"Most clone hits: {text(best['clone_hit_rate'], 'hit_rate')}, with {_named(best, keys)}, with"
        f" {number(best['image_provisioned_gib_mean'])} GiB of image-volumes on average.",
    ]
    if chosen.name != best.name:
        lines.append(
            "As good within its interval, with as few failed creates, in the least space:"
            f" {text(chosen['clone_hit_rate'], 'hit_rate')}, with {_named(chosen, keys)},"
            f" with {number(chosen['image_provisioned_gib_mean'])} GiB."
        )
    of = "replications" if best["of"] == "replications" else "blocks of the one history"
    lines.append(f"In brackets: 95 % intervals over {int(points['units'].max()):,} {of}.")
    if failed:
        lines.append(f"{failed:,} cells failed and are left out.")
    return lines


def _named(point: pd.Series[Any], keys: list[str]) -> str:
    return ", ".join([str(point["strategy"]), *(f"{key} = {value_text(point[key])}" for key in keys)])


def _answer(points: pd.DataFrame, keys: list[str]) -> Numbers:
    """The points with most hits, each figure with its interval."""
    ranked = points.sort_values("clone_hit_rate", ascending=False, kind="stable").head(SHOWN)
    measures = [each for each in MEASURES if each != "other_errors" or points[each].any()]
    cells = {measure: [_between(row, measure) for _, row in ranked.iterrows()] for measure in measures}
    caption = "All creates, most hits first"
    if len(points) > SHOWN:
        caption += f": {SHOWN} of {len(points):,} points"
    columns = ["strategy", *keys, *measures]
    return numbers(ranked[columns], caption, "best.csv", labels=1 + len(keys), cells=cells)


def _between(row: pd.Series[Any], measure: str) -> str:
    told = text(float(row[measure]), measure)
    low, high = float(row[f"{measure}_low"]), float(row[f"{measure}_high"])
    if np.isnan(low) or low == high:
        return told
    low, high = max(low, 0.0), min(high, 1.0) if "hit_rate" in measure else high
    return f"{told} ({text(low, measure).removesuffix(' %')} to {text(high, measure).removesuffix(' %')})"


def _varied(
    draw: Pictures,
    case: Case,
    certain: pd.DataFrame,
    keys: list[str],
    curves: Curves | None,
    chosen: Mapping[str, Mapping[str, int]],
) -> list[Section]:
    """Figures against each value that was varied; of limits of the cache, hits per backend too."""
    groups = []
    numeric = [
        key for key in keys if pd.api.types.is_numeric_dtype(certain[key]) and certain[key].nunique() > 1
    ]
    for key in numeric[:KEYS]:
        pictures = [
            _by_value(draw, certain[certain["scope"] == "all"], key, measure, "all tiers")
            for measure in ("clone_hit_rate", "create_s_mean", "image_provisioned_gib_mean", "price_month")
            if certain[measure].notna().any()
        ]
        groups.append(Group(key, pictures))
        if curves is not None and key.rpartition(".")[2] in (MAX_COUNT, MAX_SIZE):
            groups.append(Group(f"{key}, by backend", _by_backend(draw, case, certain, key, curves, chosen)))
    if not groups:
        return []
    lines = ["Bands are 95 % intervals."]
    if len(keys) > 1:
        lines.append("Of each value the point with most hits is shown, whatever the other values are.")
    table = certain[certain["scope"].isin(["all", "tier", "backend"])]
    return [
        Section(
            "varied",
            "Against what was varied",
            lines,
            groups=groups,
            numbers=[numbers(table, "All points by tier and backend", "intervals.csv", labels=1 + len(keys))],
        )
    ]


def _best_of(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """The row with most hits, for each strategy and value."""
    ranked = rows.sort_values("clone_hit_rate", ascending=False, kind="stable")
    return ranked.drop_duplicates(["strategy", key]).sort_values(["strategy", key], kind="stable")


def _by_value(draw: Pictures, rows: pd.DataFrame, key: str, measure: str, of: str) -> Markup:
    best = _best_of(rows, key)
    low, high = best[measure].min(), best[measure].max()
    label = f"{of}: {plots.MEASURES[measure]} against {key}, by strategy; from {low:.3g} to {high:.3g}"
    return draw(plots.by_value, best, key, measure, label=label)


def _by_backend(
    draw: Pictures,
    case: Case,
    certain: pd.DataFrame,
    key: str,
    curves: Curves,
    chosen: Mapping[str, Mapping[str, int]],
) -> list[Markup]:
    """Simulated hits beside those by the cache's rules alone, of backends that the key is of."""
    limit, pictures = key.rpartition(".")[2], []
    cached = [name for name in certain["strategy"].unique() if STRATEGIES[name].image_volume_cache_enabled]
    rows = certain[(certain["scope"] == "backend") & certain["strategy"].isin(cached)]
    backends = [path[1] for path in paths_of(key, case.scenario.model_dump(by_alias=True))]
    for name in backends[: parts.POOLS]:
        hosts = [host_of(name, pool) for pool in case.scenario.backends[name].pools]
        own = curves.working_set[curves.working_set["host"].isin(hosts)].iloc[0]
        of = curves.curve[(curves.curve["name"] == hosts[0]) & (curves.curve["limit"] == limit)]
        best = _best_of(rows[rows["name"] == name], key).sort_values(key)
        best = best[best["strategy"] == cached[0]] if cached else best
        simulated = pd.DataFrame(
            {
                "value": best[key],
                "hit_rate": best["clone_hit_rate"],
                "hit_rate_low": best["clone_hit_rate_low"],
                "hit_rate_high": best["clone_hit_rate_high"],
            }
        )
        working_set = int(own["images" if limit == MAX_COUNT else "gib"])
        today = int(own[limit]) if own["image_volume_cache_enabled"] else None
        best_value = chosen.get(name, {}).get(limit)
        label = (
            f"{name}: hits against {limit}, simulated and by the cache's rules alone;"
            f" working set {working_set:,}; today {limit_text(today)}; recommended {limit_text(best_value)}"
        )
        pictures.append(
            draw(
                plots.hit_rate_by_limit,
                of if len(hosts) == 1 else of[:0],
                label=label,
                title=name,
                today=today,
                recommended=best_value,
                working_set=working_set,
                simulated=simulated,
                limit=limit,
            )
        )
    return pictures


def _trade_offs(draw: Pictures, certain: pd.DataFrame, keys: list[str]) -> Section:
    """Cost and hits of the points, in all and by tier."""
    pictures = []
    for scope in ("all", "tier"):
        for key, of in certain[certain["scope"] == scope].groupby("name", sort=False):
            name = str(key)
            cost = "price_month" if (of["price_month"] > 0).any() else "image_provisioned_gib_mean"
            title = f"tier {name}" if name else "all tiers"
            label = f"{title}: clone hits against {plots.MEASURES[cost]} of {len(of):,} points"
            pictures.append(draw(plots.pareto, of, label=label, title=title, cost=cost, names=None))
    points = certain[certain["scope"].isin(["all", "tier"])]
    columns = [
        "strategy",
        *keys,
        "scope",
        "name",
        "clone_hit_rate",
        "image_provisioned_gib_mean",
        "price_month",
    ]
    return Section(
        "trade-offs",
        "Hits against price",
        ["On the front is whatever no other point is both cheaper and better than."],
        pictures,
        numbers=[numbers(points[columns], "Points by tier", "points.csv", labels=1 + len(keys))],
    )
