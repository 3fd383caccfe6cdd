"""Other Cinders: what `--cinder` compares, and the command that lists and removes their environments."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli.ending import command
from sim.cli.shared import Json, print_json, show
from sim.inputs.cinders import INSTALLED, Cinder, cinders_of
from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    from sim.analysis.parting import Parting
    from sim.analysis.verification import Side
    from sim.cinders.environments import Kept
    from sim.cli.jobs import Job
    from sim.cli.outcomes import Outcome


@command()
def cinders(
    remove: Annotated[
        str | None,
        typer.Option(metavar="A,B,...|all", help="Remove the environments of these releases, or all."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the kept environments of other Cinders, or remove some.

    \b
    Example: remove every environment that --cinder has made:
      cinder-cache cinders --remove all
    """
    from sim.cinders import environments

    kept = environments.kept()
    if remove is not None:
        gone = _chosen(kept, remove)
        for one in gone:
            environments.remove(one)
        kept = [one for one in kept if one not in gone]
    if as_json:
        print_json({"cinders": [_document(one) for one in kept]})
    elif kept:
        show("\n".join(f"{one.release}  {one.size_bytes / 2**20:,.0f} MiB  {one.folder}" for one in kept))
    else:
        show("no environment is kept: --cinder of run, compare, verify and sweep makes them")


def _chosen(kept: Sequence[Kept], text: str) -> list[Kept]:
    if text == "all":
        return list(kept)
    asked, problems = cinders_of(text)
    problems = [problem.replace("--cinder", "--remove", 1) for problem in problems]
    there = {one.release for one in kept}
    problems += [
        f"--remove: no environment is kept for {printable(one.name)}"
        for one in asked
        if one.release not in there
    ]
    if problems:
        raise BadInput(problems)
    return [one for one in kept if one.release in {each.release for each in asked}]


def _document(one: Kept) -> dict[str, Any]:
    return {"release": one.release, "folder": str(one.folder), "size_bytes": one.size_bytes}


def differences(job: Job, outcomes: Sequence[Outcome]) -> list[Parting]:
    """Where the Cinders of a comparison part; nothing if one alone decides."""
    if not job.several_cinders:
        return []
    from sim.analysis.parting import partings

    return partings([(each.row, each.summary, each.records) for each in outcomes if each.records is not None])


def sides(found: Sequence[Cinder]) -> list[tuple[Side, Side]]:
    """What `verify` compares: one Cinder with engine `fast`, or each of several with the next one."""
    if len(found) > 1:
        return list(pairwise(found))
    return [("cinder" if one == INSTALLED else one, "fast") for one in found]
