"""Conversion directories and shared links beside their limits, as text, right at 80 columns."""

from __future__ import annotations

import pandas as pd
from rich import box
from rich.table import Table
from rich.text import Text

from sim.report.display import Columns, number, percent, whole
from sim.report.terminal import text_of

LISTED = 4  # of a strategy: the fullest first

NODES: Columns = {
    "image_conversion_gib": ("limit\nGiB", number),
    "image_conversion_mean_gib": ("mean\nGiB", number),
    "image_conversion_peak_gib": ("peak\nGiB", number),
    "image_conversion_needed_gib": ("needed\nGiB", number),
    "image_conversion_refused": ("refused", whole),
}
LINKS: Columns = {
    "total_mib_s": ("rate\nMiB/s", number),
    "busy": ("busy\n%", percent),
    "carried_gib": ("carried\nGiB", number),
    "transfers": ("transfers", whole),
}


def nodes_text(nodes: pd.DataFrame) -> str:
    """A table of the conversion directories that have a limit; '' if none has.

    `nodes`: rows of `Records.nodes`, and the `strategy` of each.
    """
    limited = nodes[nodes["image_conversion_gib"].notna()]
    share = limited["image_conversion_needed_gib"] / limited["image_conversion_gib"]
    return _text("conversion directories", "nodes", limited.assign(share=share, name=limited["node"]), NODES)


def links_text(links: pd.DataFrame) -> str:
    """A table of the shared links; '' without any. `links`: rows of `Records.links`, with `strategy`."""
    name = links["link"].where(links["name"] == "", links["link"] + " " + links["name"])
    links = links.assign(share=links["busy"], name=name, carried_gib=links["carried_mib"] / 1024)
    return _text("shared links", "links", links, LINKS)


def _text(title: str, file: str, rows: pd.DataFrame, columns: Columns) -> str:
    if rows.empty:
        return ""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for heading in ("", ""):
        table.add_column(heading, overflow="fold")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right", overflow="fold", vertical="bottom")
    fullest = rows.sort_values("share", ascending=False, kind="stable")
    for strategy in dict.fromkeys(rows["strategy"]):
        shown = fullest[fullest["strategy"] == strategy].head(LISTED)
        for place, row in enumerate(shown.to_dict("records")):
            cells = (tell(row[key]) for key, (_, tell) in columns.items())
            table.add_row("" if place else Text(strategy), Text(row["name"]), *cells)
    left = rows.groupby("strategy").size().max() - LISTED
    if left > 0:
        title += f", the fullest {LISTED} of each strategy (all: the table `{file}`)"
    return text_of(Text(title, style="bold"), table)
