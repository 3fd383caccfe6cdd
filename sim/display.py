"""Summaries as text for a terminal or a pipe, right at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable

import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

WIDTH = 80
LEGEND = (
    "image GiB, vols: image-volumes of cache and store, GiB as provisioned, means\n"
    "over time; price: for their mean physical GiB and volumes. More: --json, --out"
)


def tables_text(summaries: pd.DataFrame) -> str:
    """A table per tier, and of all if there are several, from rows of `metrics.summary`.

    A row per strategy. Has the colours of a terminal if stdout is one.
    """
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)  # a narrower terminal wraps, nothing is cut off
    tiers = list(dict.fromkeys(summaries["tier"]))
    with console.capture() as text:
        for tier in tiers[:1] if len(tiers) == 2 else tiers:
            rows = summaries[summaries["tier"] == tier]
            creates = rows["creates"].iloc[0]
            title = f"{tier}: {creates:,} create{'' if creates == 1 else 's'}"
            console.print(Text(title, style="bold"))
            console.print(_table(rows))
            console.print()
        console.print(Text(LEGEND, style="dim"))
    return text.get().rstrip("\n")


def _table(rows: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("", overflow="fold")
    for heading, _ in COLUMNS.values():
        table.add_column(heading, justify="right", overflow="fold", vertical="bottom")
    for row in rows.to_dict("records"):
        name = textwrap.fill(row["strategy"], 11)  # at its hyphens
        table.add_row(Text(name), *(shown(row[key]) for key, (_, shown) in COLUMNS.items()))
    return table


def _percent(share: float) -> str:
    return _or_dash(share, f"{100 * share:.1f}")


def _whole(count: float) -> str:
    return f"{count:.0f}" if count < 100_000 else _number(count)


def _number(value: float) -> str:
    """At most five characters up to 99.9 M, with `k` and `M` for thousands and millions."""
    for below, text in (
        (9.995, f"{value:.2f}"),
        (999.95, f"{value:.1f}"),
        (99_999.5, f"{value:.0f}"),
        (999_500, f"{value / 1e3:.0f}k"),
    ):
        if value < below:
            return text
    return _or_dash(value, f"{value / 1e6:.1f}M")


def _or_dash(value: float, text: str) -> str:
    return "-" if pd.isna(value) else text


COLUMNS: dict[str, tuple[str, Callable[[float], str]]] = {
    "clone_hit_rate": ("clone\nhit %", _percent),
    "store_hit_rate": ("store\nhit %", _percent),
    "cache_hit_rate": ("cache\nhit %", _percent),
    "create_s_p50": ("create\np50 s", _number),
    "create_s_p95": ("create\np95 s", _number),
    "errors": ("errors", _whole),
    "image_provisioned_gib_mean": ("image\nGiB\nmean", _number),
    "image_provisioned_gib_peak": ("image\nGiB\npeak", _whole),
    "image_volumes_mean": ("image\nvols\nmean", _number),
    "image_volumes_peak": ("image\nvols\npeak", _whole),
    "price_month": ("price\na\nmonth", _number),
}
