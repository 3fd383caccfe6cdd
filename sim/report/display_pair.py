"""Two results side by side as text, right at 80 columns: what differs first."""

from __future__ import annotations

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sim.inputs.problems import printable, shortened
from sim.report import pair_words as words
from sim.report.pair import Report, less_text, what
from sim.report.terminal import filled, text_of

MOST = 20  # rows of a table; the files of --out have all


def pair_text(report: Report) -> str:
    """The verdict, the settings that differ, what differs, and what is alike in one line."""
    first, *others = words.sentences(report)
    parts: list[RenderableType] = [Text(filled(printable(first)), style="bold")]
    parts += [Text(filled(printable(line))) for line in others]
    parts += [Text(filled(printable(words.about(*of)))) for of in (("A", report.a), ("B", report.b))]
    parts += _table("settings that differ", ("", "A", "B"), _settings(report))
    parts += _table("what differs, most first", ("", "A", "B", "B less A"), _differences(report))
    lines = [words.same(report), *report.only, *report.unknown, words.kinds(report), words.how(report)]
    parts += [""] + [Text(filled(printable(line))) for line in lines if line]
    return text_of(*parts)


def _settings(report: Report) -> list[list[str]]:
    return [
        [f"{each.rows}: {each.key}" if each.rows else each.key, each.a, each.b] for each in report.settings
    ]


def _differences(report: Report) -> list[list[str]]:
    return [
        [
            what(each),
            *each.told,
            f"{less_text(each)} {each.change}",
        ]
        for each in report.differences
    ]


def _table(title: str, headings: tuple[str, ...], rows: list[list[str]]) -> list[RenderableType]:
    if not rows:
        return []
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for number, heading in enumerate(headings):
        table.add_column(heading, overflow="fold", ratio=None if number else 2)
    for row in rows[:MOST]:
        table.add_row(*(Text(shortened(printable(cell), 160, 40)) for cell in row))
    left = len(rows) - MOST
    more = [Text(f"{left:,} more: --out and --json have all", style="dim")] if left > 0 else []
    return ["", Text(title, style="bold"), table, *more]
