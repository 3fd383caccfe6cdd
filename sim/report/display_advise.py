"""Advice as text, right at 80 columns: what to do, what it brings, what it takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import quote
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.planner.advise_trials import LONGEST
from sim.report.plan_text import between, counted
from sim.report.terminal import filled, item, text_of

Document = Mapping[str, Any]
COLUMNS = {
    "hit_rate": "hit %",
    "p95_s": "p95 s",
    "waited_h_month": "waited h",
    "errors": "failed",
    "price_month": "price",
}
WORDS = {
    "hit_rate": "hit rate",
    "p95_s": "95th percentile of create seconds",
    "waited_h_month": "hours that users wait a month",
    "errors": "failed creates",
    "price_month": "price a month",
}
NOTHING = (
    "Nothing is worth doing: no change that was tried, alone or with another, saves at least 1 % of today's"
    " cost beyond chance."
)
TOO_LITTLE = {
    "replications": "Too few replications to tell whether these are worth doing:",
    "blocks": "Too little history to tell whether these are worth doing:",
}
MOST_UNDECIDED = 3


def advice_text(document: Document, folder: Path) -> str:
    """The whole text."""
    return text_of(*_parts(document, folder))


def _parts(document: Document, folder: Path) -> Iterable[RenderableType]:
    yield Text(f"{document['scenario']}: what to do", style="bold")
    if not document["met"]:
        yield Text(filled("NOT EVERYTHING THAT WAS ASKED FOR CAN BE KEPT; the nearest follows."))
    if not document["actions"]:
        yield Text(filled(NOTHING))
    for action in document["actions"]:
        yield from _action(action)
    if undecided := undecided_lines(document):
        yield Text(filled(TOO_LITTLE[document["intervals_of"]]))
        yield from (Text(item(line)) for line in undecided)
    yield ""
    yield _gains(document)
    yield Text(filled(fine_print(document)), style="dim")
    if document["actions"]:
        last = document["with_all"]
        path = quote(str(folder / last["scenario"]))
        run = f"cinder-cache run {path} --strategy {last['strategy']} --engine fast"
        yield ""
        yield Text("To see it all again (other actions alike):")
        yield Text(f"  {run}", no_wrap=True, overflow="ignore")  # to be pasted
    yield ""
    yield Text("the strategies, with today's limits", style="bold")
    yield _strategies(document)


def _action(action: Document) -> Iterable[RenderableType]:
    yield Text(filled(action["action"], f"{action['number']}. ", "   "))
    pays = " It pays only together with what follows." if action["pays_with_next"] else ""
    where = f"Effort: {action['effort']}. File: {action['file']}.{pays}"
    yield Text(filled(where, "   ", "   "))
    for hurt in action["hurts"]:
        yield Text(filled(hurt_text(hurt), "   ", "   "))


def hurt_text(hurt: Document) -> str:
    """What becomes worse for a tier, in a sentence."""
    times, unit = (100, " points") if hurt["figure"] == "hit_rate" else (1, "")
    by, low, high = (times * hurt[name] for name in ("by", "low", "high"))
    verb = "hurts" if hurt["sure"] else "may hurt"
    return (
        f"It {verb} {hurt['tier']}: {WORDS[hurt['figure']]} {by:+,.3g}{unit} ({low:+,.3g} to {high:+,.3g})."
    )


def undecided_lines(document: Document) -> list[str]:
    """What may be worth doing, and how much more must be known to tell; without a list's marks."""
    on, what = {"replications": ("in", "replications"), "blocks": ("on", "days")}[document["intervals_of"]]
    lines = []
    for each in document["undecided"][:MOST_UNDECIDED]:
        saves, low, high = (each[f"saves_month{end}"] for end in ("", "_low", "_high"))
        rests = f"It makes a difference {on} {each['rests_on']:.2g} of {each['of']:.2g} {what}"
        if each["largest"] > 0.5:
            rests += f", and {100 * each['largest']:.0f} % of the saving is {on} one of them"
        needed = (
            f"about {each['needed']:,} {what} would tell" if each["needed"] else f"{LONGEST} would not tell"
        )
        saved = f"it saved {_money(saves)} a month ({_money(low)} to {_money(high)})"
        lines.append(f"{each['action']}: {saved}. {rests}; {needed}.")
    return lines


def _money(of: float) -> str:
    return f"{of:,.0f}" if abs(of) >= 100 else f"{of:.2g}"


def _gains(document: Document) -> Table:
    table = _table("", *COLUMNS.values())
    rows = [("today", document["today"]["tiers"]["all"], False)]
    rows += [(f"{action['number']}.", action["gain"]["all"], True) for action in document["actions"]]
    rows += [("with all", document["with_all"]["tiers"]["all"], False)] if document["actions"] else []
    for name, of, signed in rows:
        table.add_row(
            name, *(between(of, each, 100 if each == "hit_rate" else 1, signed) for each in COLUMNS)
        )
    return table


def fine_print(document: Document) -> str:
    """A note on the figures: their units, their intervals, and the runs behind them."""
    means = {
        "replications": "over replications",
        "blocks": "one history: a bootstrap over its blocks of time",
    }[document["intervals_of"]]
    worth = document["worth"]
    return (
        "An action's row says what it adds to those above it. Below a figure: its"
        f" {100 * document['confidence']:g} % interval ({means}). Waited: hours that users wait for"
        f" creates, a month; price: of image-volumes, a month. An hour counts as {worth['hour']:g}, a"
        f" failed create as {worth['failed']:g}. {counted(document)}."
    )


def _strategies(document: Document) -> Table:
    names = {key: word for key, word in COLUMNS.items() if key != "waited_h_month"}
    table = _table("", *names.values())
    for row in document["strategies"]:
        mark = " (today)" if row["strategy"] == document["today"]["strategy"] else ""
        cells = (between(row, name, 100 if name == "hit_rate" else 1) for name in names)
        table.add_row(f"{row['strategy']}{mark}", *cells)
    return table


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="right" if place else "left", overflow="fold")
    return table
