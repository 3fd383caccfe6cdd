"""Pictures of results. Each function draws on matplotlib Axes and returns them.

The functions change neither matplotlib's settings nor pyplot's figures. They draw the tables of
`sim.analysis.metrics`, `sim.analysis.curves`, `sim.model.records`, `sim.sweep` and `sim.report.aggregates`:

    fig, ax = plt.subplots()
    sim.plots.hit_rate_by_limit(sim.curve(case).curve.query("name == 'flash-a#p0'"), ax)

`report.html` has the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

from sim.analysis.pareto import frontier
from sim.inputs.limits import MAX_COUNT
from sim.model.records import SOURCES
from sim.model.usage import OWNERS
from sim.plots.frame import (
    BY_OWNER,
    BY_SOURCE,
    DASHES,
    DAY_S,
    INK,
    LIMIT,
    LINES,
    MUTED,
    PAPER,
    REACH,
    RECOMMENDED,
    SMALL,
    TODAY,
    band,
    framed,
    interval_ends,
    log_seconds,
    named,
    number,
    shares,
    titled,
)
from sim.plots.storms import storm, storm_bands, storm_states

MEASURES = {
    "clone_hit_rate": "clone hits",
    "create_s_mean": "create seconds, mean",
    "create_s_p50": "create seconds, median",
    "create_s_p95": "create seconds, 95th percentile",
    "errors": "failed creates",
    "image_provisioned_gib_mean": "image-volumes, GiB, mean",
    "image_provisioned_gib_peak": "image-volumes, GiB, peak",
    "image_volumes_mean": "image-volumes, mean",
    "price_month": "price a month",
    "hit_rate": "clone hits",
    "space_gib_mean": "image-volumes, GiB, mean",
}


def hit_rate_by_limit(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    today: float | None = None,
    recommended: float | None = None,
    working_set: float | None = None,
    simulated: pd.DataFrame | None = None,
    limit: str | None = None,
) -> Axes:
    """Hits against one limit of the cache of one pool or tier, with marks for today's limit and others.

    `curve`: rows of `sim.curve(…).curve` for one name and limit. `simulated`: results of engine runs, with
    value, hit_rate, hit_rate_low and hit_rate_high. `limit`: Cinder's option, if `curve` is empty. 95 %
    intervals are shaded. A `today` of 0 means no limit, and is not drawn.
    """
    if len(curve):
        limit = str(curve["limit"].iloc[0])
        ax.plot(curve["value"], curve["hit_rate"], color=LINES[0], label="hits, by the cache's rules alone")
        ax.fill_between(
            curve["value"],
            curve["hit_rate_low"],
            curve["hit_rate_high"],
            color=LINES[0],
            alpha=0.2,
            linewidth=0,
        )
        ax.plot(
            curve["value"],
            curve["byte_hit_rate"],
            color=LINES[0],
            linestyle=":",
            linewidth=1,
            label="of the bytes",
        )
    if limit is not None:
        ax.set_xlabel("entries" if limit == MAX_COUNT else "GiB")
    if simulated is not None:
        band(simulated, "value", "hit_rate", ax, LINES[1], "simulated, 95 % interval")
    for at, color, style, name in (
        (working_set, MUTED, ":", "working set"),
        (today, TODAY, "--", "today"),
        (recommended, RECOMMENDED, "-", "recommended"),
    ):
        if at:
            ax.axvline(at, color=color, linestyle=style, linewidth=1.4, label=f"{name}: {at:,.0f}")
    ax.set_xlim(left=0)
    ax.set_ylim(bottom=0)
    return shares(framed(ax, legend="lower right"), "hits")


def by_value(
    rows: pd.DataFrame,
    key: str,
    measure: str,
    ax: Axes,
    *,
    names: str = "strategy",
    today: float | None = None,
) -> Axes:
    """A measure against a value that a sweep varied: one line for each of `names`, with its interval.

    `rows`: rows of `sim.sweep.intervals.intervals` for one scope and name, with `key`, `measure`,
    `{measure}_low`, `{measure}_high`.
    """
    for line, (name, of) in enumerate(rows.groupby(names, sort=False)):
        of = of.sort_values(key)
        band(of, key, measure, ax, LINES[line % len(LINES)], str(name), DASHES[line % len(DASHES)])
    if today:
        ax.axvline(today, color=TODAY, linestyle="--", linewidth=1.4, label=f"today: {today:,g}")
    ax.set_xlabel(key.rpartition(".")[2])
    ax.set_ylim(bottom=0)
    ax.xaxis.set_major_locator(MaxNLocator("auto", integer=pd.api.types.is_integer_dtype(rows[key])))
    framed(ax, legend="best")
    return shares(ax, MEASURES[measure]) if measure == "clone_hit_rate" else titled(ax, MEASURES[measure])


def by_strategy(rows: pd.DataFrame, measure: str, ax: Axes, *, certain: pd.DataFrame | None = None) -> Axes:
    """One measure of each strategy as bars, with its value at each bar.

    `rows`: rows of `sim.analysis.metrics.summary` for one tier, one per strategy. `certain`: rows of
    `sim.analysis.comparison.Comparison.measures` for that tier, for intervals.
    """
    values = rows[measure].to_numpy(float)
    at = np.arange(len(rows))
    ax.barh(at, np.nan_to_num(values), color=LINES[0], height=0.55)
    ends = interval_ends(rows["strategy"], measure, values, certain)
    for y, (low, high) in zip(at, ends, strict=True):
        if high > low:
            ax.plot([low, high], [y, y], color=INK, linewidth=1.4, solid_capstyle="butt", marker="|")
    share = measure == "clone_hit_rate"
    top = max(float(np.nanmax([*values, *(high for _, high in ends), 0.0])), 1e-9)
    for y, value, (_, high) in zip(at, values, ends, strict=True):
        text = "-" if np.isnan(value) else f"{100 * value:.1f} %" if share else number(value)
        right = max(high, np.nan_to_num(value))
        ax.text(right + 0.02 * top, float(y), text, va="center", fontsize=SMALL, color=INK)
    ax.set_yticks(at, rows["strategy"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.3 * top)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    if share:
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
        ax.set_xlim(0, 1.3 * top)
    framed(ax, grid="x")
    return titled(ax, MEASURES[measure])


def pareto(
    rows: pd.DataFrame,
    ax: Axes,
    *,
    cost: str = "price_month",
    worth: str = "clone_hit_rate",
    names: str | None = "strategy",
    marked: Mapping[str, tuple[float, float]] | None = None,
) -> Axes:
    """Cost and worth of each row, and the Pareto front: rows that no other beats in both cost and worth.

    Points off the front are hollow.

    `rows`: rows of `sim.analysis.metrics.summary` for one tier, or of a sweep for one scope and name.
    `names`: the column with the labels of the points. `marked`: extra points by name, `today` or
    `recommended`.
    """
    rows = rows.dropna(subset=[cost, worth])
    if rows.empty:
        return titled(framed(ax), "nothing to compare")
    front = frontier(rows, cost, worth)
    rest = rows.drop(front.index)
    ax.plot(front[cost], front[worth], color=LINES[0], linewidth=1.2, drawstyle="steps-post")
    ax.plot(
        rest[cost], rest[worth], "o", color=MUTED, markersize=5, fillstyle="none", label="another is better"
    )
    ax.plot(front[cost], front[worth], "o", color=LINES[0], markersize=6, label="on the front")
    colors = {"today": TODAY, "recommended": RECOMMENDED}
    for name, (at, value) in (marked or {}).items():
        ax.plot(at, value, "D", color=colors[name], markersize=7, label=name)
    ax.set_xlabel(MEASURES[cost])
    ax.margins(0.12, 0.14)
    ax.set_xlim(left=min(ax.get_xlim()[0], 0.0))  # what costs nearly the same is shown so
    framed(ax, legend="lower right" if names is None else None)
    shares(ax, MEASURES[worth]) if "hit_rate" in worth else titled(ax, MEASURES[worth])
    if names is not None:
        named(rows, cost, worth, names, ax)
    return ax


def space_over_time(
    space: pd.DataFrame,
    quantity: str,
    ax: Axes,
    *,
    limits: Mapping[str, float | None] | None = None,
) -> Axes:
    """Users' volumes, cache and store of one pool over time, stacked.

    `space`: rows of `Records.space` for one host. `quantity`: volumes, provisioned_gib or physical_gib.
    `limits`: limits to draw, by name; None values are left out.
    """
    days = space["time"] / DAY_S
    levels = [space[f"{owner}_{quantity}"] for owner in OWNERS]
    there = [(owner, level) for owner, level in zip(OWNERS, levels, strict=True) if level.any()]
    if there:
        ax.stackplot(
            days,
            [level for _, level in there],
            colors=[BY_OWNER[owner] for owner, _ in there],
            labels=[{"user": "users'", "cache": "cache", "store": "store"}[owner] for owner, _ in there],
            linewidth=0,
            step="post",
        )
    top = float(np.sum(levels, axis=0).max(initial=0.0))
    shown = {name: at for name, at in (limits or {}).items() if at is not None and np.isfinite(at)}
    near = [at for at in shown.values() if at <= REACH * top]
    for at in near:
        ax.axhline(at, color=LIMIT, linewidth=1.4, label="limit")
    ax.set_ylim(0, 1.25 * max([top, *near]) or 1)
    ax.set_xlim(float(days.min()), float(days.max()) or 1) if len(space) else None
    ax.set_xlabel("days from the start")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    framed(ax, legend="upper left", columns=len(OWNERS) + 1)
    titles = {"volumes": "volumes", "provisioned_gib": "provisioned GiB", "physical_gib": "physical GiB"}
    return titled(ax, titles[quantity])


def conversion_over_time(directories: pd.DataFrame, ax: Axes, *, limit: float | None = None) -> Axes:
    """What lies in the conversion directory of one node over time, in GiB.

    `directories`: rows of `Records.directories` for one node. The line is what lay there at each time, the
    area the most since the time before. A `limit` is drawn if it is in reach.
    """
    days, peaks = directories["time"] / DAY_S, directories["image_conversion_peak_gib"]
    color = BY_SOURCE["download"]
    ax.fill_between(days, peaks, step="pre", color=color, alpha=0.35, linewidth=0, label="at most")
    ax.plot(days, directories["image_conversion_gib"], color=color, linewidth=1, label="at the moment")
    top = float(peaks.max()) if len(peaks) else 0.0
    if limit is not None and limit <= REACH * top:
        ax.axhline(limit, color=LIMIT, linewidth=1.4, label="limit")
        top = max(top, limit)
    ax.set_ylim(0, 1.25 * top or 1)
    ax.set_xlim(float(days.min()), float(days.max()) or 1) if len(days) else None
    ax.set_xlabel("days from the start")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    framed(ax, legend="upper left", columns=3)
    return titled(ax, "GiB in the conversion directory")


def create_seconds(seconds: pd.DataFrame, ax: Axes, *, limit_s: float | None = None) -> Axes:
    """Histograms of create seconds: one row for each source, and a hatched row for creates that waited for a
    fill.

    Every row has the same height at its highest step, so compare shapes. The counts are written next to the
    rows.

    `seconds`: of `sim.analysis.create_seconds.create_seconds`, of one strategy: from_s, to_s, source, waited,
    creates.
    `limit_s` is marked.
    """
    labels: list[str] = []
    for source in reversed(SOURCES):
        for waited in (False, True):
            of = seconds[(seconds["source"] == source) & (seconds["waited"] == waited)]
            if of.empty:
                continue
            ax.bar(
                of["from_s"],
                0.85 * of["creates"] / of["creates"].max(),
                width=of["to_s"] - of["from_s"],
                bottom=-len(labels),
                align="edge",
                color=BY_SOURCE[source],
                hatch="/////" if waited else None,
                edgecolor=PAPER,
                linewidth=0.4,
            )
            count = f"{of['creates'].sum():,}"
            labels.append(f"{source} after\na wait: {count}" if waited else f"{source}:\n{count}")
    if limit_s:
        ax.axvline(limit_s, color=LIMIT, linewidth=1.4)
        early = limit_s < np.sqrt(seconds["from_s"].min() * seconds["to_s"].max())
        ax.annotate(
            f"boot gives up: {limit_s:,.0f} s",
            (limit_s, 1.0),
            xycoords=ax.get_xaxis_transform(),
            xytext=(4 if early else -4, -1),
            textcoords="offset points",
            ha="left" if early else "right",
            va="top",
            fontsize=SMALL - 1,
            color=LIMIT,
        )
    ax.set_yticks([0.35 - row for row in range(len(labels))], labels)
    ax.set_ylim(-len(labels) + 0.9, 1.35)
    ax.set_xscale("log")
    log_seconds(ax, seconds["from_s"].to_numpy(float), seconds["to_s"].to_numpy(float))
    framed(ax, grid="x")
    ax.tick_params(axis="y", length=0)
    return titled(ax, "create seconds")


def images_worth(images: pd.DataFrame, ax: Axes) -> Axes:
    """Hits of each cached image against the GiB-days of its place. Images low on the right earn little.

    `images`: of `sim.report.aggregates.images_of`: gib_days, hits, evicted_early.
    """
    of = images[images["gib_days"] > 0]
    for early, marker, name in (
        (False, "o", "image on a pool"),
        (True, "x", "also evicted just before use"),
    ):
        chosen = of[(of["evicted_early"] > 0) == early]
        ax.plot(
            chosen["gib_days"],
            chosen["hits"],
            marker,
            color=LINES[1] if early else LINES[0],
            markersize=4.5 if early else 3.5,
            alpha=0.75,
            label=name,
        )
    ax.set_xscale("log")
    ax.set_yscale("symlog", linthresh=1)
    ax.set_ylim(bottom=-0.3, top=15 * max(float(images["hits"].max()) if len(images) else 1.0, 1.0))
    wide = len(of) > 0 and of["gib_days"].max() > 1000 * of["gib_days"].min()
    ax.xaxis.set_major_locator(LogLocator(subs=(1,) if wide else (1, 2, 5)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("GiB-days in the cache")
    framed(ax, legend="upper left")
    return titled(ax, "hits")


__all__: Sequence[str] = [
    "by_strategy",
    "by_value",
    "conversion_over_time",
    "create_seconds",
    "hit_rate_by_limit",
    "images_worth",
    "pareto",
    "space_over_time",
    "storm",
    "storm_bands",
    "storm_states",
]
