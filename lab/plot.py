"""The picture of docs/is-it-true.md: how long creates took, predicted and measured."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from lab import compare

PREDICTED, MEASURED = "#1b7f79", "#d1495b"


def distributions(predicted: Path, measured: Path, runs: list[str]) -> Figure:
    """For each run, the share of its creates that are done within a time."""
    rows = -(-len(runs) // 3)
    figure, axes = plt.subplots(rows, 3, figsize=(11, 2.6 * rows), sharey=True, layout="constrained")
    for axis, run in zip(axes.flat, runs, strict=False):
        for folder, label, color in ((predicted, "predicted", PREDICTED), (measured, "measured", MEASURED)):
            tables = compare.read(folder / run)
            took = np.sort(compare.seconds(tables["requests"]).to_numpy())
            axis.step(took, np.arange(1, len(took) + 1) / len(took), color=color, label=label, where="post")
        axis.set(title=run, xlim=(0, None), ylim=(0, 1))
        axis.set_xlabel("seconds until the volume is available")
        axis.spines[["top", "right"]].set_visible(False)
    for axis in axes.flat[len(runs) :]:
        axis.remove()
    axes.flat[0].legend(frameon=False, loc="lower right")
    axes.flat[0].set_ylabel("share of creates")
    return figure


def wide(table: pd.DataFrame) -> pd.DataFrame:
    """One row for each run: `predicted / measured` of each measure, for the page."""
    digits = {"p50_s": 1, "p95_s": 1, "mean_s": 1}
    rates = table["measure"].str.startswith("hit_rate")

    def shown(row: pd.Series) -> str:
        if row["measure"].startswith("hit_rate"):
            return f"{100 * row['predicted']:.1f} / {100 * row['measured']:.1f}"
        places = digits.get(row["measure"], 0)
        return f"{row['predicted']:.{places}f} / {row['measured']:.{places}f}"

    found = table.assign(shown=table.apply(shown, axis=1))
    found.loc[rates, "measure"] = found.loc[rates, "measure"] + " %"
    order = list(dict.fromkeys(found["measure"]))
    return (
        found.pivot(index="run", columns="measure", values="shown")
        .loc[list(dict.fromkeys(table["run"])), order]
        .reset_index()
        .rename_axis(columns=None)
    )
