"""Summaries as text for a terminal or a pipe, right at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from sim.curves import Curves

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


CURVE_ROWS = 12
CURVE_LEGEND = (
    "count: image_volume_cache_max_count, GiB: image_volume_cache_max_size_gb, each\n"
    "alone and per pool; now: the scenario's, all: the working set, beyond which no\n"
    "more helps; byte hit %: of the image files' bytes. More: --json, --out"
)


def curves_text(curves: Curves) -> str:
    """Tables of some values for each pool, and for each tier of several pools, from `sim.curves.curve`."""
    console = Console(highlight=False, markup=False)
    console.width = max(console.width, WIDTH)
    pools = curves.working_set.set_index("host", drop=False)
    with console.capture() as text:
        for key, rows in curves.curve.groupby(["scope", "name"], sort=False):
            scope, name = map(str, key)
            served = [name in types.split(";") for types in pools["volume_type"]]
            own = pools.loc[[name]] if scope == "pool" else pools[served]
            if scope == "tier" and len(own) == 1 and own["volume_type"].iloc[0] == name:
                continue  # what its only pool shows
            console.print(Text(_curve_title(name, int(rows["requests"].iloc[0]), scope, own), style="bold"))
            if rows["requests"].iloc[0]:
                console.print(_curve_table(rows, own))
            console.print()
        console.print(Text(CURVE_LEGEND, style="dim"))
    return text.get().rstrip("\n")


def _curve_title(name: str, requests: int, scope: str, own: pd.DataFrame) -> str:
    title = f"{name}: {requests:,} look-up{'' if requests == 1 else 's'}"
    if scope == "tier":
        return f"{title} in {len(own)} pool{'' if len(own) == 1 else 's'}"
    pool = own.iloc[0]
    if not pool["image_volume_cache_enabled"]:
        return f"{title}, the cache is off now"
    limits = [
        f"{pool[limit]} {unit}"
        for limit, unit in (
            ("image_volume_cache_max_count", "entries"),
            ("image_volume_cache_max_size_gb", "GiB"),
        )
        if pool[limit]
    ]
    if requests:
        title += f", now {_percent(pool['hit_rate'])} % hits"
    return f"{title} ({' and '.join(limits) or 'unlimited'})"


def _curve_table(rows: pd.DataFrame, own: pd.DataFrame) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    sides: list[list[tuple[str, ...]]] = []
    for heading, limit, used in (
        ("count", "image_volume_cache_max_count", "images"),
        ("GiB", "image_volume_cache_max_size_gb", "gib"),
    ):
        for column in (heading, "hit %", "byte hit %"):
            table.add_column(column, justify="right")
        table.add_column("" if sides else "   ", min_width=8)
        sides.append(_curve_side(rows[rows["limit"] == limit], own[limit], int(own[used].max())))
    for left, right in zip_longest(*sides, fillvalue=("",) * 4):
        table.add_row(*left, *right)
    return table


def _curve_side(rows: pd.DataFrame, limits: pd.Series[int], working_set: int) -> list[tuple[str, ...]]:
    """Cells for some of the values of one limit: evenly spread in proportion, and those that are marked."""
    now = {min(limit or working_set, working_set) for limit in limits}
    rows = rows[(rows["value"] > 0) & (rows["value"] <= working_set)]
    values = rows["value"].to_numpy()
    spread = np.geomspace(values[0], working_set, CURVE_ROWS)
    shown = rows[rows["value"].isin({*values[np.searchsorted(values, spread - 1e-9)], *now, working_set})]
    marks = [
        ", ".join(mark for mark, here in (("now", value in now), ("all", value == working_set)) if here)
        for value in shown["value"]
    ]
    return [
        (f"{value:,}", _percent(hit_rate), _percent(byte_hit_rate), mark)
        for value, hit_rate, byte_hit_rate, mark in zip(
            shown["value"], shown["hit_rate"], shown["byte_hit_rate"], marks, strict=True
        )
    ]
