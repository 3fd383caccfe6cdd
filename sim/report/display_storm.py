"""A storm as text, right at 80 columns."""

from __future__ import annotations

import math

import pandas as pd
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.planner.storm_answer import StormAnswer
from sim.planner.storm_levers import NOTHING, WORSE
from sim.plots.frame import number
from sim.report.terminal import filled, item, text_of


def storm_text(found: StormAnswer) -> str:
    """The answer: times by strategy, what is shared, what runs out first, and what helps."""
    parts: list[RenderableType] = [Text(filled(asked(found))), Text(""), _times(found.times), Text("")]
    if found.shares is not None:
        parts += [Text(f"What {found.strategy} shares", style="bold"), _shared(found.shares.table), Text("")]
    parts += [Text(item(line)) for line in conclusions(found)]
    parts += [Text(""), Text(f"What helps {found.strategy}", style="bold"), _levers(found), Text("")]
    parts += [Text(item(line)) for line in advice(found)]
    return text_of(*parts)


def asked(found: StormAnswer) -> str:
    """Which storm it is."""
    ask, images = found.ask, found.images
    what = images[0] if len(images) == 1 else f"{len(images):,} images in turn"
    where = "beside the scenario's own load, in its busiest hour" if ask.beside else "on an empty cloud"
    state = {True: "the caches got it before", False: "no cache has it", None: "as the caches have it then"}
    warm = state[ask.warm if ask.warm is not None or ask.beside else False]
    again = f" Servers come again up to {ask.retries:,} times." if ask.retries else ""
    return (
        f"{ask.creates:,} creates at one instant of {what} ({warm}), of {', '.join(found.tiers)}, {where}."
        f" All should be up within {seconds(found.within_s)} s.{again}"
    )


def seconds(value: float) -> str:
    """Seconds, or `never`."""
    return "never" if math.isinf(value) or math.isnan(value) else number(value)


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    return table


def _times(times: pd.DataFrame) -> Table:
    table = _table(
        "", "50 %\nup s", "95 %\nup s", "100 %\nup s", "over boot\ntimeout", "late", "failed", "creates"
    )
    for row in times.to_dict("records"):
        table.add_row(
            *(row["strategy"], *map(seconds, (row["up_50_s"], row["up_95_s"], row["up_100_s"]))),
            *(
                f"{value:,}"
                for value in (row["over_boot_timeout"], row["late"], row["failed"], row["creates"])
            ),
        )
    return table


def _shared(shares: pd.DataFrame) -> Table:
    """What was used at all; the rest is in the file."""
    table = _table("", "limit", "peak", "busy\n%", "longest\nqueue", "waited\ns", "refused")
    used = shares[(shares["peak"] > 0) | (shares["refused"] > 0)]
    for row in used.to_dict("records"):
        busy = "" if math.isnan(row["busy"]) else f"{100 * row['busy']:.0f}"
        table.add_row(
            f"{row['resource']} {row['where']}".strip(),
            *(f"{number(row['limit'])} {row['unit']}", number(row["peak"]), busy),
            *(f"{row['longest_queue']:,}", number(row["waited_s"]), f"{row['refused']:,}"),
        )
    return table


def _levers(found: StormAnswer) -> Table:
    table = _table(
        "each alone, the best first", "now", "at most", "late", "failed", "last\nup s", "enough\nfrom"
    )
    for row in found.helps.table.to_dict("records"):
        table.add_row(
            *(
                f"{row['lever']}: {row['effect']}",
                row["today"],
                row["change"],
                f"{row['late']:,}",
                f"{row['failed']:,}",
            ),
            *(seconds(row["last_up_s"]), _enough(row["enough"], row["smallest"], row["change"])),
        )
    return table


def _enough(enough: bool, smallest: float | None, change: str) -> str:
    if not enough:
        return "no"
    return change if smallest is None or math.isnan(smallest) else f"{smallest:,.0f}"


def conclusions(found: StormAnswer) -> list[str]:
    """When the storm is over, and what runs out first, or what creates wait for."""
    row = found.times[found.times["strategy"] == found.strategy].iloc[0]
    up = found.ask.creates - int(row["failed"])
    lines = [f"{found.strategy}: {up:,} of {found.ask.creates:,} volumes come up, {row['late']:,} are late."]
    first = found.runs_out
    if found.shares is None:
        lines.append("Engine fast cannot run this scenario, so what is shared is not known.")
    elif first is None:
        lines.append(
            "Nothing that is shared holds the storm up: to relieve it alone makes the storm no shorter."
        )
    else:
        what, how = "What creates wait for most", f"they waited {number(first['waited_s'])} s for it in all"
        if first["refused"]:
            what, how = "What runs out first", f"it refused {first['refused']:,} creates"
        where = f" of {first['where']}" if first["where"] else ""
        thing = f"{first['resource']}{where} ({number(first['limit'])} {first['unit']})"
        lines.append(f"{what}: {thing}; {how}.")
    return lines


def advice(found: StormAnswer) -> list[str]:
    """What to do about it."""
    row = found.times[found.times["strategy"] == found.strategy].iloc[0]
    levers, pair, lines = found.helps.table, found.helps.pair, []
    if not row["late"]:
        lines.append(f"All are up within {seconds(found.within_s)} s already.")
    for lever in levers[levers["enough"]].to_dict("records") if row["late"] else ():
        value = _enough(True, lever["smallest"], lever["change"])
        lines.append(
            f"Enough alone: {lever['lever']} ({lever['key']}: {value}); all are up after"
            f" {seconds(lever['smallest_last_up_s'])} s."
        )
    if row["late"] and not levers["enough"].any():
        lines.append("No lever alone is enough.")
    if pair is not None:
        each = [
            f"{words} ({key}: {_enough(True, value, change)})"
            for words, key, value, change in zip(
                pair["levers"], pair["keys"], pair["smallest"], pair["changes"], strict=True
            )
        ]
        end = f"the last is up after {seconds(pair['smallest_last_up_s'])} s"
        fails = f", {pair['failed']:,} fail" if pair["failed"] else ""
        at_most = f", and after {seconds(pair['last_up_s'])} s with both at their strongest"
        more = at_most if pair["smallest_last_up_s"] != pair["last_up_s"] else ""
        lines.append(f"The best pair: {each[0]} and {each[1]}: {end}{more}{fails}.")
    for effect, words in ((NOTHING, "Changes nothing"), (WORSE, "Makes it worse")):
        if names := list(levers.loc[levers["effect"] == effect, "lever"]):
            lines.append(f"{words}: {'; '.join(names)}.")
    return lines
