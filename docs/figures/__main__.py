"""`make figures` makes every figure of README.md and docs: `python -m docs.figures [FOLDER]`.

It simulates, writes the files of docs/figures, and writes their figures into the pages. Then it prints what
a person must look at: figures that moved out of their earlier interval, and lines of pages that it could not
write. FOLDER has `trace.csv` and `images.csv` of the real month, which is not in the repository. Without it,
the figures of that month stay as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from pandas import DataFrame

from docs.figures import consoles, facts, pages, pictures, runs, tables

MADE = ("runs", "real", "inputs", "lab", "fit")


def main(real: str | None = None) -> int:
    """Make everything. Returns 1 if a page has what no file has."""
    before = pages.figures()
    folder = None if real is None else Path(real)
    for name, rows in facts.everything(folder, before).items():
        rows.to_csv(tables.HERE / f"{name}.csv", float_format="%.6g", lineterminator="\n")
    every, of_real = runs.everything(folder)
    for name, rows in (("runs", every), ("real", of_real)):
        if rows is not None:
            rows.to_csv(tables.HERE / f"{name}.csv", index=False, float_format="%.6g", lineterminator="\n")
    for name, rows in tables.tables(tables.runs()).items():
        rows.to_csv(tables.HERE / f"{name}.csv", index=False, lineterminator="\n")
    pictures.two_tiers(pages.ROOT / "docs" / "two_tiers.png")
    files = pages.figures()
    for name in MADE:
        for line in pages.moved(before.get(name, files[name]), files[name]):
            print(line)
    bad = [f"{page.name}: {problem}" for page in pages.PAGES for problem in written(page, files)]
    print("\n".join(bad) or "Every figure of the pages is that of a file.")
    return bool(bad)


def written(page: Path, files: Mapping[str, DataFrame]) -> list[str]:
    """Write the figures into a page; returns what it cannot write."""
    text = page.read_text()
    made, problems = pages.rewritten(text, files)
    made, unlike = consoles.consoles(made, consoles.printed_by)
    if made != text:
        page.write_text(made)
    return problems + unlike


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
