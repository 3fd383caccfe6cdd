"""Pictures of results: each function draws on the Axes that it is given, and gives them back.

They are matplotlib's, and change neither its settings nor pyplot's figures. What they draw are the tables of
`sim.metrics`, `sim.curves`, `sim.results`, `sim.sweep` and `sim.report.aggregates`:

    fig, ax = plt.subplots()
    sim.plots.hit_rate_by_limit(sim.curve(case).curve.query("name == 'flash-a#p0'"), ax)

`report.html` is made of the same pictures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullFormatter, PercentFormatter

from sim.curves import MAX_COUNT
from sim.planner.pickers import frontier

# Told apart by those who see few colours, on paper and on a dark screen (after Okabe and Ito).
INK, MUTED, GRID, PAPER = "#1a1c1e", "#5a6068", "#d5d9de", "#fdfdfe"
SOURCES = {
    "driver": "#7a4e9f",
    "store": "#b35a00",
    "cache": "#0b6fae",
    "download": "#6d7680",
}
USERS = "#a9b4bf"
OWNERS = {"user": USERS, "cache": SOURCES["cache"], "store": SOURCES["store"]}
TODAY, RECOMMENDED, LIMIT = "#8a5a00", "#0a7d4f", "#c22f3d"
LINES = (SOURCES["cache"], SOURCES["store"], RECOMMENDED, SOURCES["driver"], "#a03060", "#5f6b00")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
SMALL = 8  # points
DAY_S = 86_400.0

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
}


def hit_rate_by_limit(
    curve: pd.DataFrame,
    ax: Axes,
    *,
    today: float | None = None,
    recommended: float | None = None,
    working_set: float | None = None,
    simulated: pd.DataFrame | None = None,
) -> Axes:
    """Hits against one limit of the cache of one pool or tier, and where it stands.

    `curve`: rows of `sim.curve(…).curve` of one name and limit. `simulated`: what runs of an engine gave, with
    value, hit_rate, hit_rate_low and hit_rate_high. A `today` of 0 is no limit, and is not drawn.
    """
    if len(curve):
        count = curve["limit"].iloc[0] == MAX_COUNT
        ax.plot(curve["value"], curve["hit_rate"], color=LINES[0], label="hits, by the cache's rules alone")
        ax.plot(
            curve["value"],
            curve["byte_hit_rate"],
            color=LINES[0],
            linestyle=":",
            linewidth=1,
            label="of the bytes",
        )
        ax.set_xlabel("entries" if count else "GiB")
    if simulated is not None:
        _band(simulated, "value", "hit_rate", ax, LINES[1], "simulated, 95 % interval")
    for at, color, style, name in (
        (working_set, MUTED, ":", "working set"),
        (today, TODAY, "--", "today"),
        (recommended, RECOMMENDED, "-", "recommended"),
    ):
        if at:
            ax.axvline(at, color=color, linestyle=style, linewidth=1.4, label=f"{name}: {at:,.0f}")
    ax.set_xlim(left=0)
    return _shares(_framed(ax, legend="lower right"), "hits")


def by_value(
    rows: pd.DataFrame,
    key: str,
    measure: str,
    ax: Axes,
    *,
    names: str = "strategy",
    today: float | None = None,
) -> Axes:
    """A measure against a value that a sweep varied, a line for each of `names`, with its interval.

    `rows`: of `sim.sweep.intervals.intervals`, of one scope and name: `key`, `measure`, `{measure}_low`,
    `{measure}_high`.
    """
    for number, (name, of) in enumerate(rows.groupby(names, sort=False)):
        of = of.sort_values(key)
        line = LINES[number % len(LINES)]
        _band(of, key, measure, ax, line, str(name), DASHES[number % len(DASHES)])
    if today:
        ax.axvline(today, color=TODAY, linestyle="--", linewidth=1.4, label=f"today: {today:,g}")
    ax.set_xlabel(key.rpartition(".")[2])
    _framed(ax, legend="best")
    return _shares(ax, MEASURES[measure]) if measure == "clone_hit_rate" else _titled(ax, MEASURES[measure])


def by_strategy(rows: pd.DataFrame, measure: str, ax: Axes, *, certain: pd.DataFrame | None = None) -> Axes:
    """One measure of each strategy as bars, with its value written at it.

    `rows`: of `sim.metrics.summary`, of one tier, a row a strategy. `certain`: of
    `sim.comparison.Comparison.measures`, of that tier, for intervals.
    """
    values = rows[measure].to_numpy(float)
    at = np.arange(len(rows))
    ax.barh(at, np.nan_to_num(values), color=LINES[0], height=0.55)
    ends = _interval_ends(rows["strategy"], measure, values, certain)
    for y, (low, high) in zip(at, ends, strict=True):
        if high > low:
            ax.plot([low, high], [y, y], color=INK, linewidth=1.4, solid_capstyle="butt", marker="|")
    share = measure == "clone_hit_rate"
    top = max(float(np.nanmax([*values, *(high for _, high in ends), 0.0])), 1e-9)
    for y, value, (_, high) in zip(at, values, ends, strict=True):
        text = "–" if np.isnan(value) else f"{100 * value:.1f} %" if share else number(value)
        right = max(high, np.nan_to_num(value))
        ax.text(right + 0.02 * top, y, text, va="center", fontsize=SMALL, color=INK)
    ax.set_yticks(at, rows["strategy"])
    ax.invert_yaxis()
    ax.set_xlim(0, 1.3 * top)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    if share:
        ax.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        ax.set_xticks([tick for tick in ax.get_xticks() if tick <= 1])
        ax.set_xlim(0, 1.3 * top)
    _framed(ax, grid="x")
    return _titled(ax, MEASURES[measure])


def pareto(
    rows: pd.DataFrame,
    ax: Axes,
    *,
    cost: str = "price_month",
    worth: str = "clone_hit_rate",
    names: str | None = "strategy",
) -> Axes:
    """What each row costs and is worth, and the front of those to which no other is cheaper and better.

    `rows`: of `sim.metrics.summary` of one tier, or of a sweep, of one scope and name; `names`: the column
    of what is written at the points of the front.
    """
    rows = rows.dropna(subset=[cost, worth])
    if rows.empty:
        return _titled(_framed(ax), "nothing to compare")
    front = frontier(rows, cost, worth)
    rest = rows.drop(front.index)
    ax.plot(front[cost], front[worth], color=LINES[0], linewidth=1.2, drawstyle="steps-post")
    ax.plot(
        rest[cost], rest[worth], "o", color=MUTED, markersize=5, fillstyle="none", label="another is better"
    )
    ax.plot(front[cost], front[worth], "o", color=LINES[0], markersize=6, label="on the front")
    if names is not None:
        _named(rows, cost, worth, names, ax)
    ax.set_xlabel(MEASURES[cost])
    ax.margins(0.12, 0.14)
    _framed(ax, legend="lower right")
    return _shares(ax, MEASURES[worth]) if worth == "clone_hit_rate" else _titled(ax, MEASURES[worth])


def space_over_time(
    space: pd.DataFrame,
    quantity: str,
    ax: Axes,
    *,
    limits: Mapping[str, float | None] | None = None,
) -> Axes:
    """Users' volumes, cache and store of one pool over time, one on the other.

    `space`: rows of `Records.space` of one host. `quantity`: volumes, provisioned_gib or physical_gib. `limits`
    by what they are called; those of None are left out.
    """
    days = space["time"] / DAY_S
    levels = [space[f"{owner}_{quantity}"] for owner in OWNERS]
    there = [(owner, level) for owner, level in zip(OWNERS, levels, strict=True) if level.any()]
    if there:
        ax.stackplot(
            days,
            [level for _, level in there],
            colors=[OWNERS[owner] for owner, _ in there],
            labels=[{"user": "users'", "cache": "cache", "store": "store"}[owner] for owner, _ in there],
            linewidth=0,
            step="post",
        )
    top = float(sum(levels).max()) if len(space) else 0.0
    shown = {name: at for name, at in (limits or {}).items() if at is not None and np.isfinite(at)}
    for name, at in shown.items():
        if at <= 1.6 * top:
            ax.axhline(at, color=LIMIT, linewidth=1.4, label=f"{name}: {at:,.0f}")
    ax.set_ylim(0, max([1.15 * top, *(1.1 * at for at in shown.values() if at <= 1.6 * top)], default=1) or 1)
    ax.set_xlim(float(days.min()), float(days.max()) or 1) if len(space) else None
    ax.set_xlabel("days from the start")
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    _framed(ax, legend="upper left")
    titles = {"volumes": "volumes", "provisioned_gib": "provisioned GiB", "physical_gib": "physical GiB"}
    return _titled(ax, titles[quantity])


def create_seconds(seconds: pd.DataFrame, ax: Axes, *, limit_s: float | None = None) -> Axes:
    """How many creates took how long, by what made the volume; hatched: those that waited behind a fill.

    `seconds`: of `sim.report.aggregates.create_seconds`, of one strategy: from_s, to_s, source, waited, creates.
    `limit_s` is marked.
    """
    low, high = (np.unique(seconds[column].to_numpy(float)) for column in ("from_s", "to_s"))
    below = np.zeros(len(low))
    for source in SOURCES:
        for waited in (False, True):
            of = seconds[(seconds["source"] == source) & (seconds["waited"] == waited)]
            count = of.groupby("from_s")["creates"].sum().reindex(low, fill_value=0).to_numpy(float)
            if not count.any():
                continue
            ax.bar(
                low,
                count,
                width=high - low,
                bottom=below,
                align="edge",
                color=SOURCES[source],
                hatch="/////" if waited else None,
                edgecolor=PAPER,
                linewidth=0.4,
                label=f"{source}, waited" if waited else source,
            )
            below += count
    if limit_s:
        ax.axvline(limit_s, color=LIMIT, linewidth=1.4, label=f"boot gives up: {limit_s:,.0f} s")
    ax.set_xscale("log")
    _log_seconds(ax, low, high)
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    _framed(ax, legend="best")
    return _titled(ax, "creates")


def images_worth(images: pd.DataFrame, ax: Axes) -> Axes:
    """Hits of each cached image against the GiB-days that it was held: low on the right earns little.

    `images`: of `sim.report.aggregates.images_of`: gib_days, hits, evicted_early.
    """
    of = images[images["gib_days"] > 0]
    for early, marker, name in (
        (False, "o", "image on a pool"),
        (True, "x", "evicted, then downloaded within a day"),
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
    ax.set_ylim(bottom=-0.3)
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    ax.set_xlabel("GiB-days in the cache")
    _framed(ax, legend="upper left")
    return _titled(ax, "hits")


def number(value: float) -> str:
    """Three digits or so, with k and M for thousands and millions."""
    for below, text in (
        (0.005, "0"),
        (9.995, f"{value:.2f}".rstrip("0").rstrip(".")),
        (99.95, f"{value:.1f}".removesuffix(".0")),
        (9_999.5, f"{value:,.0f}"),
        (999_500, f"{value / 1e3:,.0f}k"),
    ):
        if abs(value) < below:
            return text
    return f"{value / 1e6:,.1f}M"


# -- parts ---------------------------------------------------------------------------------------------


def _band(
    rows: pd.DataFrame, key: str, measure: str, ax: Axes, color: str, label: str, dashes: Any = "-"
) -> None:
    rows = rows.sort_values(key)
    low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
    ax.fill_between(rows[key], low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(rows[key], rows[measure], color=color, linestyle=dashes, marker="o", markersize=3, label=label)


def _interval_ends(
    names: pd.Series[Any], measure: str, values: np.ndarray[Any, Any], certain: pd.DataFrame | None
) -> list[tuple[float, float]]:
    """Low and high of each strategy; where nothing is known of it, its value twice."""
    if certain is None or measure not in set(certain["measure"]):
        return [(value, value) for value in np.nan_to_num(values)]
    of = certain[certain["measure"] == measure].set_index("strategy").reindex(names)
    low, high = of["low"].to_numpy(float), of["high"].to_numpy(float)
    known = np.isfinite(low) & np.isfinite(high)
    return [
        (max(a, 0.0), b) if told else (value, value)
        for a, b, told, value in zip(low, high, known, np.nan_to_num(values), strict=True)
    ]


def _named(rows: pd.DataFrame, cost: str, worth: str, names: str, ax: Axes) -> None:
    """Names at points; those of points that lie together stand below one another."""
    costs, worths = rows[cost].to_numpy(float), rows[worth].to_numpy(float)
    wide, high = max(float(np.ptp(costs)), 1e-9), max(float(np.ptp(worths)), 1e-9)
    placed: list[tuple[float, float]] = []
    for x, y, name in sorted(zip(costs / wide, worths / high, rows[names].astype(str), strict=True)):
        near = sum(abs(x - other) < 0.3 and abs(y - at) < 0.08 for other, at in placed)
        right = x - costs.min() / wide > 0.6
        ax.annotate(
            name,
            (x * wide, y * high),
            xytext=(-7 if right else 7, 4 - 11 * near),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=SMALL,
            color=INK,
        )
        placed.append((x, y))


def _framed(ax: Axes, *, legend: str | None = None, grid: str = "both") -> Axes:
    """Quiet axes: a light grid, no box, muted ticks."""
    ax.grid(True, axis=grid, color=GRID, linewidth=0.6)  # type: ignore[arg-type]
    ax.set_axisbelow(True)
    for side, spine in ax.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(MUTED)
    ax.tick_params(which="both", colors=MUTED, labelcolor=INK, labelsize=SMALL, length=3)
    ax.xaxis.label.set(color=INK, fontsize=SMALL)
    handles, labels = ax.get_legend_handles_labels()
    if legend and handles:
        ax.legend(handles, labels, loc=legend, fontsize=SMALL - 1, frameon=False, labelcolor=INK)
    return ax


def _titled(ax: Axes, text: str) -> Axes:
    """What the other axis shows, above it, where it needs no turned letters."""
    ax.set_title(text, loc="left", fontsize=SMALL + 1, color=INK)
    return ax


def _shares(ax: Axes, text: str) -> Axes:
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0.0), min(max(high, 0.02), 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    return _titled(ax, text)


def _log_seconds(ax: Axes, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> None:
    ticks = [1, 2, 5, 10, 30, 60, 180, 600, 1800, 7200, 36_000, 180_000]
    if len(low):
        ax.set_xlim(low.min(), high.max())
        ticks = [tick for tick in ticks if low.min() <= tick <= high.max()]
    ax.xaxis.set_major_locator(FixedLocator(ticks))
    ax.xaxis.set_major_formatter(FuncFormatter(_seconds))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_minor_locator(FixedLocator([]))


def _seconds(value: float, _: object) -> str:
    for unit, name in ((3600, "h"), (60, "min")):
        if value >= unit:
            return f"{value / unit:g} {name}"
    return f"{value:g} s"


__all__: Sequence[str] = [
    "by_strategy",
    "by_value",
    "create_seconds",
    "hit_rate_by_limit",
    "images_worth",
    "pareto",
    "space_over_time",
]
