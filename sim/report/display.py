"""Summaries as text for a terminal, a pipe or a log, right at 80 columns."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import TYPE_CHECKING

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.analysis.statistics import DAY_S
from sim.report.terminal import LEAST, console, text_of

if TYPE_CHECKING:
    from sim.analysis.comparison import Comparison

Columns = dict[str, tuple[str, Callable[[float], str]]]
NAMED = 16  # letters of the longest name of a strategy
FOLDED = 11  # letters of a name that is broken at its hyphens
LEGEND = (
    "image GiB, vols: image-volumes of cache and store, GiB as provisioned, means\n"
    "over time; price: for their mean physical GiB and volumes. More: --json, --out"
)
OTHERS_LEGEND = "other err.: creates without an image that failed\n"


def tables_text(summaries: pd.DataFrame) -> str:
    """Tables of rows of `metrics.summary`: one per tier, and one for all tiers if there are several.

    Each table has one row per strategy.
    """
    parts: list[RenderableType] = []
    tiers = list(dict.fromkeys(summaries["tier"]))
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        rows = summaries[summaries["tier"] == tier]
        creates = rows["creates"].iloc[0]
        title = f"{tier}: {creates:,} create{'' if creates == 1 else 's'}"
        parts += [Text(title, style="bold"), _table(rows, told_columns(COLUMNS, rows)), ""]
    legend = OTHERS_LEGEND + LEGEND if summaries["other_errors"].any() else LEGEND
    return text_of(*parts, Text(legend, style="dim"))


def told_columns(columns: Columns, rows: pd.DataFrame) -> Columns:
    """The columns that tell something, as few as fit 80 columns.

    Without other errors there is no column of them; else both kinds have few letters, and a count of volumes
    goes. With clones by the driver itself there is a column of them, and another one goes: that of the store
    if nothing came from it.
    """
    there = {
        key
        for key in ("driver_hit_rate", "store_hit_rate", "other_errors")
        if key in rows and rows[key].any()
    }
    without = {"driver_hit_rate", "other_errors"} - there
    counts = ["image_volumes_mean", "image_volumes_peak"]
    if "driver_hit_rate" in there:
        without.add(counts.pop(0) if "store_hit_rate" in there else "store_hit_rate")
    if "other_errors" in there:
        without.add(counts.pop(0))
    told = {key: column for key, column in columns.items() if key not in without}
    return told | {"errors": ("err.", whole)} if "other_errors" in there else told


def uploads_text(uploads: pd.DataFrame) -> str:
    """A table of rows of `metrics.uploads_of`."""
    title = Text("uploads, and creates from the images that they made", style="bold")
    return text_of(title, _table(uploads, UPLOADS))


def _table(rows: pd.DataFrame, columns: Columns) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=0)
    table.add_column("", overflow="fold")
    for heading, _ in columns.values():
        table.add_column(heading, justify="right", overflow="fold", vertical="bottom")
    for row in rows.to_dict("records"):
        table.add_row(_name(row["strategy"]), *(shown(row[key]) for key, (_, shown) in columns.items()))
    return table


def _name(strategy: str) -> Text:
    """The name, broken at its hyphens if there is no room."""
    room = console().width >= LEAST + NAMED - FOLDED
    return Text(strategy if room else textwrap.fill(strategy, FOLDED))


def percent(share: float) -> str:
    return or_dash(share, f"{100 * share:.1f}")


def whole(count: float) -> str:
    return f"{count:.0f}" if count < 100_000 else number(count)


def number(value: float) -> str:
    """At most five characters up to 99.9 M, with `k` and `M` for thousands and millions."""
    for below, text in (
        (9.995, f"{value:.2f}"),
        (999.95, f"{value:.1f}"),
        (99_999.5, f"{value:.0f}"),
        (999_500, f"{value / 1e3:.0f}k"),
    ):
        if value < below:
            return text
    return or_dash(value, f"{value / 1e6:.1f}M")


def or_dash(value: float, text: str) -> str:
    return "-" if pd.isna(value) else text


COLUMNS: Columns = {
    "clone_hit_rate": ("clone\nhit %", percent),
    "driver_hit_rate": ("driver\nhit %", percent),
    "store_hit_rate": ("store\nhit %", percent),
    "cache_hit_rate": ("cache\nhit %", percent),
    "create_s_p50": ("create\np50 s", number),
    "create_s_p95": ("create\np95 s", number),
    "errors": ("errors", whole),
    "other_errors": ("other\nerr.", whole),
    "image_provisioned_gib_mean": ("image\nGiB\nmean", number),
    "image_provisioned_gib_peak": ("image\nGiB\npeak", whole),
    "image_volumes_mean": ("image\nvols\nmean", number),
    "image_volumes_peak": ("image\nvols\npeak", whole),
    "price_month": ("price\na\nmonth", number),
}


UPLOADS: Columns = {
    "uploads": ("uploads", whole),
    "errors": ("errors", whole),
    "upload_s_p50": ("upload\np50 s", number),
    "upload_s_p95": ("upload\np95 s", number),
    "later_creates": ("later\ncreates", whole),
    "later_clones": ("cloned", whole),
    "later_downloads": ("down-\nloaded", whole),
    "later_errors": ("failed", whole),
}

COMPARED = {
    "clone_hit_rate": "clone\nhit %",
    "create_s_mean": "create\nmean s",
    "create_s_p95": "create\np95 s",
    "errors": "errors",
    "other_errors": "other\nerrors",
    "image_provisioned_gib_mean": "image GiB\nmean",
    "price_month": "price\na month",
}


def comparison_text(found: Comparison) -> str:
    """Figures and their differences to one strategy, ± half their intervals, per tier."""
    told = f"(± at {100 * found.confidence:.0f} %)"
    if found.of == "replications":
        how = f"means of {found.units:,} replications {told}"
    else:
        days = "days" if found.block_s == DAY_S else "tenths of it"
        how = f"one history: intervals by a block bootstrap over {days} {told}"
    if found.warm_up_s:
        how += f"\ncreates before {found.warm_up_s:,.0f} s are left out"
    tiers = list(dict.fromkeys(found.measures["tier"]))
    parts: list[RenderableType] = [Text(how, style="dim")]
    for tier in tiers[:1] if len(tiers) == 2 else tiers:
        parts += ["", Text(tier, style="bold"), _compared(found, tier)]
    return text_of(*parts)


def _compared(found: Comparison, tier: str) -> Table:
    """One row per strategy. Differences stand beside few figures, and below many."""
    own, apart = (rows[rows["tier"] == tier] for rows in (found.measures, found.differences))
    names, others = (list(dict.fromkeys(rows["strategy"])) for rows in (own, apart))
    there = set(own.loc[(own["measure"] != "other_errors") | (own["mean"] != 0), "measure"])
    measures = [measure for measure in COMPARED if measure in there]
    beside = found.of == "blocks"
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", overflow="fold")
    columns = []
    for measure in measures:
        table.add_column(COMPARED[measure], justify="right", overflow="fold", vertical="bottom")
        values, differences = _cells(own, measure), _cells(apart, measure, signed=True)
        columns.append(_aligned(values if beside else values + differences))
        if beside and others:
            table.add_column(f"less\n{found.reference}", justify="right", overflow="fold", vertical="bottom")
            of = dict(zip(others, _aligned(differences), strict=True))
            columns.append([of.get(name, "") for name in names])
    for row, name in enumerate(names if beside else [*names, *others]):
        if row == len(names):
            table.add_section()
            table.add_row(Text(f"less {found.reference}:"))
        table.add_row(_name(name), *(column[row] for column in columns))
    return table


def _cells(rows: pd.DataFrame, measure: str, signed: bool = False) -> list[tuple[str, str]]:
    """Each mean and half its interval."""
    means = rows.loc[rows["measure"] == measure, ["mean", "high"]].to_numpy(float)
    return [_cell(measure, mean, high, signed) for mean, high in means]


def _cell(measure: str, mean: float, high: float, signed: bool = False) -> tuple[str, str]:
    share = measure == "clone_hit_rate"
    before = "-" if mean < 0 else "+" if signed and mean >= 0 else ""
    return before + (percent if share else number)(abs(mean)), _half(high - mean, share)


def plus_minus(measure: str, mean: float, high: float) -> str:
    return _aligned([_cell(measure, mean, high)])[0]


def _half(value: float, share: bool) -> str:
    """Half an interval, without digits that say nothing."""
    value *= 100 if share else 1
    for below, text in (
        (0.05 if share else 0.005, "0"),
        (0.995, f"{value:.1f}" if share else f"{value:.2f}"),
        (9.95, f"{value:.1f}"),
        (999.5, f"{value:.0f}"),
    ):
        if value < below:
            return text
    return or_dash(value, f"{value / 1e3:.0f}k")


def _aligned(cells: list[tuple[str, str]]) -> list[str]:
    width = max((len(half) for _, half in cells), default=0)
    return ["-" if value == "-" else f"{value}±{half.ljust(width)}" for value, half in cells]
