"""Pictures of a storm: its creates over time by what they do, and what they share beneath."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sim.plots.frame import (
    BY_SOURCE,
    GRID,
    INK,
    LIMIT,
    LINES,
    MUTED,
    PAPER,
    RECOMMENDED,
    SMALL,
    TODAY,
    USERS,
    framed,
    number,
    titled,
)

# By state, from the bottom up: first what is done, then what is under way, then who waits.
BY_STATE = {
    "up": RECOMMENDED,
    "cloning": BY_SOURCE["cache"],
    "writing": LINES[4],
    "converting": BY_SOURCE["driver"],
    "downloading": BY_SOURCE["download"],
    "waiting to clone": BY_SOURCE["cache"],
    "waiting to write": LINES[4],
    "waiting for Glance": BY_SOURCE["download"],
    "waiting for the lock": TODAY,
    "waiting for a thread": USERS,
    "failed": LIMIT,
}
WAITING = 0.35  # the opacity of those who wait
HEIGHT = 0.78  # of a band


def storm_states(states: pd.DataFrame, ax: Axes, *, within_s: float | None = None) -> Axes:
    """Creates over time by what they do, one above the other.

    `states`: `StormAnswer.states`, or the table `states` of its folder. `within_s`: marked.
    """
    there = [name for name in BY_STATE if states[name].max() > 0]
    areas = ax.stackplot(
        states["time_s"],
        [states[name] for name in there],
        colors=[BY_STATE[name] for name in there],
        labels=there,
    )
    for name, area in zip(there, areas, strict=True):
        area.set(linewidth=0, alpha=WAITING if name.startswith("waiting") else 0.9)
    end = float(states["time_s"].iloc[-1])
    if within_s is not None and within_s <= end:
        ax.axvline(within_s, color=INK, linewidth=1, linestyle="--", label=f"{number(within_s)} s")
    ax.set_xlim(0, end)
    ax.set_ylim(0, states[list(BY_STATE)].sum(axis=1).max())
    ax.set_xlabel("seconds from the storm's instant")
    framed(ax, legend="center right")
    return titled(ax, "creates by what they do")


def storm_bands(bands: pd.DataFrame, ax: Axes, *, end_s: float | None = None) -> Axes:
    """A band for each shared thing: the share in use over time, and in red where creates wait for it.

    `bands`: `Shares.bands` of a storm, or the table `bands` of its folder.
    """
    groups = [(key, rows) for key, rows in bands.groupby(["resource", "where"], sort=False, dropna=False)]
    groups = [(key, rows) for key, rows in groups if rows["in_use"].max() > 0]
    end = float(bands["time_s"].max()) if end_s is None else end_s
    for place, (_, rows) in enumerate(groups):
        base = len(groups) - 1.0 - place
        used = base + HEIGHT * np.clip(rows["in_use"] / rows["limit"], 0, 1)
        ax.fill_between([0, end], base, base + HEIGHT, color=GRID, alpha=0.5, linewidth=0)
        ax.fill_between(
            rows["time_s"], base, used, step="post", color=BY_SOURCE["cache"], alpha=0.85, linewidth=0
        )
        waits = (rows["waiting"] > 0).to_numpy()
        top = base + HEIGHT
        ax.fill_between(rows["time_s"], top, top + 0.1 * waits, step="post", color=LIMIT, linewidth=0)
        text = f"at most {number(rows['in_use'].max())} of {number(rows['limit'].iloc[0])}"
        if waits.any():
            text += f", {rows['waiting'].max():,.0f} wait"
        box = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.75, "pad": 1}
        ax.text(
            end * 0.99,
            base + HEIGHT / 2,
            text,
            ha="right",
            va="center",
            fontsize=SMALL - 1,
            color=INK,
            bbox=box,
        )
    names = ["\n".join(filter(None, (str(part) for part in key if part == part))) for key, _ in groups]
    ax.set_yticks([len(groups) - 1 - place + HEIGHT / 2 for place in range(len(groups))], names)
    ax.set_xlim(0, end)
    ax.set_ylim(-0.1, len(groups) + 0.05)
    ax.set_xlabel("seconds from the storm's instant")
    framed(ax, grid="x")
    ax.tick_params(axis="y", length=0, labelsize=SMALL - 1, colors=MUTED, labelcolor=INK)
    return titled(ax, "what is shared; red: creates wait")


def band_count(bands: pd.DataFrame) -> int:
    """How many bands `storm_bands` draws."""
    return sum(rows["in_use"].max() > 0 for _, rows in bands.groupby(["resource", "where"], dropna=False))


def storm(states: pd.DataFrame, bands: pd.DataFrame, *, within_s: float | None = None) -> Figure:
    """The whole picture of a storm: its states, and the bands beneath, on one axis of time."""
    count = band_count(bands) if len(bands) else 0
    figure = Figure(figsize=(9, 3.6 + 0.55 * count), layout="constrained", facecolor=PAPER)
    axes = figure.subplots(2, 1, sharex=True, height_ratios=(3.2, 0.2 + 0.55 * count)) if count else None
    above = figure.add_subplot() if axes is None else axes[0]
    storm_states(states, above, within_s=within_s)
    if axes is not None:
        above.set_xlabel("")
        storm_bands(bands, axes[1], end_s=float(states["time_s"].iloc[-1]))
    return figure
