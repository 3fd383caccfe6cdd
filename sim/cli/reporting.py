"""The command that puts two results side by side: report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.ending import command
from sim.cli.shared import Json, print_json, show
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, Problems, printable


@command()
def report(
    a: Annotated[Path, typer.Argument(metavar="A", help="Folder of results, such as those before a change.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Folder of results, such as those after it.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for report.html and its tables.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show two results side by side: what differs first.

    A and B are folders that compare, run, plan, advise or verdict wrote, or the JSON file of a plan, an
    advice, a promise or a verdict. They may be of different commands: then the report has what both know.
    Where both have intervals, it says whether a difference is more than chance. Differences are paired if
    both ran the same creates.

    \b
    Example: before and after a change:
      cinder-cache report before after --out change
    """
    from sim.report.pair import report_of
    from sim.report.side import read_side

    wrong = unwritable(out) if out else []
    if out is not None:
        wrong += [
            f"--out: {printable(str(out))} is {letter}, whose report.html would be lost: give another folder"
            for letter, side in (("A", a), ("B", b))
            if side.is_dir() and out.is_dir() and side.samefile(out)
        ]
    problems = Problems()
    sides = [read_side(path, problems) for path in (a, b)]
    if wrong or problems or sides[0] is None or sides[1] is None:
        raise BadInput([*wrong, *problems.lines()])
    found = report_of(sides[0], sides[1])
    from sim.report.display_pair import pair_text
    from sim.report.paired import document, write_pair

    if out:
        write_pair(found, out)
    if as_json:
        print_json(document(found))
    else:
        show(pair_text(found), coloured=True)
    if out:
        print(f"report: written to {printable(str(out))}", file=sys.stderr)
