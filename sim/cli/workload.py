"""Commands for workloads: write a generated one as a trace, fit the generator to a trace."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim import api
from sim.cli.ending import command
from sim.cli.shared import Json, Scenario, print_json, show
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, printable


@command()
def generate(
    scenario: Scenario,
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="The trace to write: CSV, or Parquet if the name ends in .parquet."
        ),
    ],
    replication: Annotated[
        int,
        typer.Option(
            min=0, max=2**31 - 1, help="Number of the draw; the same number always gives the same trace."
        ),
    ] = 0,
) -> None:
    """Write the workload of a scenario as a trace.

    The command also writes the generated images, next to the trace. A copy of the scenario with
    `workload: {trace: trace.csv}` and `images: images.csv` then runs the same workload.

    \b
    Example: write the workload of the smallest scenario:
      cinder-cache generate scenarios/smallest.yaml --out trace.csv
    """
    if problems := unwritable(out, is_file=True):
        raise BadInput(problems)
    for written in api.generate(scenario, out, replication):
        print(f"written: {printable(str(written))}", file=sys.stderr)


@command()
def fit(
    trace: Annotated[Path, typer.Argument(metavar="TRACE", help="The trace to fit: CSV or Parquet.")],
    images: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Image list of the trace. It says which images are private, raw, or versions of one image.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Fit the parameters of a generated workload to a trace.

    The output shows how good each fit is. Its first lines are YAML: paste them below `workload:` in a
    scenario. For twice the load, double `creates_per_day`. For new golden images every week, set
    `release_every: 7d`.

    \b
    Example: fit the trace of the smallest scenario:
      cinder-cache fit scenarios/smallest/trace.csv
    """
    fitted = api.fit(trace, images)
    if as_json:
        print_json(fitted.document())
    else:
        show(str(fitted))
