"""Hits against price as a picture in characters, where the terminal is wide enough."""

from __future__ import annotations

from string import ascii_lowercase

import pandas as pd

from sim.model.usage import ALL
from sim.report.terminal import MOST, console

LINES = 14


def front_text(summaries: pd.DataFrame) -> str:
    """A letter for each strategy at its price and its clone-hit rate; '' in a terminal that is too narrow.

    `summaries`: rows of `sim.analysis.metrics.summary`. Without prices, the mean GiB of image-volumes stand
    for them.
    """
    if console().width < MOST:
        return ""
    import plotext

    rows = summaries[summaries["tier"] == ALL]
    across, about = "price_month", "price a month"
    if not rows[across].any():
        across, about = "image_provisioned_gib_mean", "GiB of image-volumes, mean"
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plotsize(MOST, LINES)
    plotext.ylim(0, 100)
    plotext.xlabel(about)
    plotext.ylabel("clone hit %")
    letters = dict(zip(rows["strategy"], ascii_lowercase, strict=False))
    for row in rows.to_dict("records"):
        plotext.scatter(
            [row[across]], [100 * row["clone_hit_rate"]], marker=letters.get(row["strategy"], "*")
        )
    names = ", ".join(f"{letter}: {name}" for name, letter in letters.items())
    picture = plotext.uncolorize(plotext.build()).rstrip()
    return "\n".join([*(line.rstrip() for line in picture.split("\n")), names])
