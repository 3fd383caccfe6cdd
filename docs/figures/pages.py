"""Figures in pages: each is written where a file of figures says, and nowhere by hand.

- A number before a comment, such as `96.2 %<!-- runs two_tiers/disk/cache-only clone_hit_rate -->`: the
  comment names a file, a row by its first cell, and a column. The number keeps its decimals. Shares
  (`…_rate`) are in %.
- A table between `<!-- table docs/figures/front.csv -->` and `<!-- end -->`, for pages that GitHub shows.
  Other pages have a link that docs/hooks.py makes a table.
- A block of a console: see consoles.py.

Numbers that are no figures of results stand in docs/figures/given.csv: see given.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import pandas as pd

from docs.hooks import table

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
MARKER = re.compile(r"(-?\d[\d,]*(?:\.\d+)?)( %)?<!-- (?P<file>\S+) (?P<row>.+?) (?P<column>\S+) -->")
TABLE = re.compile(r"(<!-- table (\S+) -->\n).*?(<!-- end -->)", re.S)


def figures(folder: Path = ROOT / "docs") -> dict[str, pd.DataFrame]:
    """The files that comments may name: those of docs/figures, and those of docs/storm as `storm/times`."""
    files = (*(folder / "figures").glob("*.csv"), *(folder / "storm").glob("*.csv"))
    named = {str(path.relative_to(folder).with_suffix("")).removeprefix("figures/"): path for path in files}
    return {name: pd.read_csv(path, index_col=0) for name, path in named.items()}


def moved(before: pd.DataFrame, after: pd.DataFrame) -> list[str]:
    """The figures that moved out of their earlier interval, and those without one that changed."""
    lines = []
    for row, column in ((r, c) for r in before.index.intersection(after.index) for c in after.columns):
        if column.endswith(("_low", "_high")) or column not in before:
            continue
        old, new = before.at[row, column], after.at[row, column]
        ends = (before.at[row, end] for end in (f"{column}_low", f"{column}_high") if end in before)
        low, high = (old if pd.isna(end) else end for end in (*ends, old, old)[:2])
        if not low <= new <= high and not (pd.isna(old) and pd.isna(new)):
            lines.append(f"look at {row} {column}: {old:g} ({low:g} to {high:g}) is now {new:g}")
    return lines


def rewritten(text: str, files: Mapping[str, pd.DataFrame]) -> tuple[str, list[str]]:
    """The page with the figures of the files, and the comments that name none."""
    problems: list[str] = []

    def number(match: re.Match[str]) -> str:
        file, row, column = match["file"], match["row"], match["column"]
        try:
            value = float(files[file].at[row, column])
        except (KeyError, ValueError, TypeError):
            problems.append(f"{file} has no figure {column} of {row}")
            return match[0]
        decimals = len(match[1].partition(".")[2])
        shown = f"{value * (100 if '_rate' in column else 1):z,.{decimals}f}"
        return shown + match[0][len(match[1]) :]

    text = TABLE.sub(lambda match: f"{match[1]}{table(match[2])}\n{match[3]}", text)
    return MARKER.sub(number, text), problems
