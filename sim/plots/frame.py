"""Colours, frames and ticks of pictures."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, PercentFormatter

# Told apart by those who see few colours, on paper and on a dark screen (after Okabe and Ito).
INK, MUTED, GRID, PAPER = "#1a1c1e", "#5a6068", "#d5d9de", "#fdfdfe"
BY_SOURCE = {
    "driver": "#7a4e9f",
    "store": "#b35a00",
    "cache": "#0b6fae",
    "download": "#6d7680",
}
USERS = "#a9b4bf"
BY_OWNER = {"user": USERS, "cache": BY_SOURCE["cache"], "store": BY_SOURCE["store"]}
TODAY, RECOMMENDED, LIMIT = "#8a5a00", "#0a7d4f", "#c22f3d"
LINES = (BY_SOURCE["cache"], BY_SOURCE["store"], RECOMMENDED, BY_SOURCE["driver"], "#a03060", "#5f6b00")
DASHES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
REACH = 1.6  # times what there is at most: limits beyond are not drawn, they would flatten it
SMALL = 9  # points
DAY_S = 86_400.0


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


def band(
    rows: pd.DataFrame, key: str, measure: str, ax: Axes, color: str, label: str, dashes: Any = "-"
) -> None:
    """A line through a measure, and its interval."""
    rows = rows.sort_values(key)
    low, high = rows[f"{measure}_low"], rows[f"{measure}_high"]
    ax.fill_between(rows[key], low, high, color=color, alpha=0.2, linewidth=0)
    ax.plot(rows[key], rows[measure], color=color, linestyle=dashes, marker="o", markersize=3, label=label)


def interval_ends(
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


def named(rows: pd.DataFrame, cost: str, worth: str, names: str, ax: Axes) -> None:
    """Names at points, each where it is on none of the points and names before it, if there is such a place.

    Places are counted in points of the Axes as they are; letters by their number.
    """
    points = rows[[cost, worth]].to_numpy(float)
    x, y = (ax.transData.transform(points) * 72 / ax.figure.dpi).T
    right, _ = ax.transAxes.transform((1, 1)) * 72 / ax.figure.dpi
    left, bottom = ax.transAxes.transform((0, 0)) * 72 / ax.figure.dpi
    taken = [(at - 4, of - 4, at + 4, of + 4) for at, of in zip(x, y, strict=True)]
    for row in np.lexsort((y, x)):
        text = str(rows[names].iloc[row])
        wide = 0.6 * SMALL * len(text)
        places: list[tuple[float, int, int, int, tuple[float, float, float, float]]] = []
        for dy, dx in itertools.product((4, -SMALL - 2, 15, -SMALL - 13), (7, -7)):
            first, low = x[row] + (dx if dx > 0 else dx - wide), y[row] + dy
            box = first, low - 2, first + wide, low + SMALL
            beyond = max(0.0, left - box[0], box[2] - right, bottom - box[1])
            places.append(
                (beyond + 100 * sum(_overlap(box, other) for other in taken), len(places), dx, dy, box)
            )
        _, _, dx, dy, box = min(places)
        taken.append(box)
        ax.annotate(
            text,
            (points[row, 0], points[row, 1]),
            xytext=(dx, dy),
            textcoords="offset points",
            ha="left" if dx > 0 else "right",
            fontsize=SMALL,
            color=INK,
        )


def _overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes (left, low, right, high) overlap."""
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def framed(ax: Axes, *, legend: str | None = None, columns: int = 1, grid: str = "both") -> Axes:
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
        ax.legend(  # type: ignore[call-overload]
            handles,
            labels,
            loc=legend,
            ncols=columns,
            columnspacing=1.0,
            fontsize=SMALL - 1,
            facecolor=PAPER,
            edgecolor="none",
            framealpha=0.8,
            labelcolor=INK,
        )
    return ax


def titled(ax: Axes, text: str) -> Axes:
    """What the other axis shows, above it, where it needs no turned letters."""
    ax.set_title(text, loc="left", y=1.02, pad=0, fontsize=SMALL + 1, color=INK)
    return ax


def shares(ax: Axes, text: str) -> Axes:
    """The other axis as per cent."""
    low, high = ax.get_ylim()
    ax.set_ylim(max(low, 0.0), min(max(high, 0.02), 1.03))
    ax.yaxis.set_major_formatter(PercentFormatter(1))
    return titled(ax, text)


def log_seconds(ax: Axes, low: np.ndarray[Any, Any], high: np.ndarray[Any, Any]) -> None:
    """Ticks of seconds, minutes and hours from the least of `low` to the greatest of `high`."""
    ticks = [0.1, 0.3, 1, 3, 10, 30, 120, 600, 3600, 21_600, 86_400]
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
