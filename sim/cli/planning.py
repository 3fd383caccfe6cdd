"""The command `plan`: it chooses the strategy and the cache limits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim import api
from sim.cli.ending import command
from sim.cli.shared import (
    Dask,
    Json,
    Scenario,
    TlsCa,
    TlsCert,
    TlsKey,
    WarmUp,
    Workers,
    checked,
    folder_for,
    handed_over,
    print_json,
    progress,
    scheduler_of,
    show,
    too_many,
    uncollected,
    warm_up_s,
    wrong_warm_up,
    wrong_workers,
)
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, printable

if TYPE_CHECKING:
    from sim.inputs.scenario import Case
    from sim.planner.answer import Answer
    from sim.planner.targets import Targets
    from sim.report.parts import Section

MOST_CREATES = 50_000_000  # of all replications, which are in memory together
REPLICATIONS = 8  # draws of a generated workload, unless --replications says otherwise

HitRate = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[TIER=]SHARE", help="Lowest allowed clone-hit rate, for all tiers together or for one tier."
    ),
]
CreateP95 = Annotated[
    list[str] | None,
    typer.Option(metavar="[TIER=]SECONDS", help="Highest allowed 95th percentile of create seconds."),
]
Space = Annotated[
    list[str] | None,
    typer.Option(metavar="[TIER=]GIB", help="Most GiB that image-volumes may take at the peak."),
]
Price = Annotated[
    list[str] | None,
    typer.Option(metavar="[TIER=]PRICE", help="Highest price of image-volumes per month."),
]
Errors = Annotated[
    list[str] | None,
    typer.Option(
        metavar="[TIER=]N",
        help="Most creates that may fail, from an image or not (default: as many as today or, if more, "
        "without image-volumes).",
    ),
]
SpareVolumes = Annotated[
    int,
    typer.Option(
        min=0, max=2**31 - 1, help="Volumes that must still fit under every volume limit at the peak."
    ),
]
Growth = Annotated[float, typer.Option(min=0.01, max=800, help="Plan for this many times today's load.")]
Confidence = Annotated[
    float, typer.Option(help="Confidence level at which the targets must hold; 0 checks the mean only.")
]
Train = Annotated[
    float | None,
    typer.Option(metavar="SHARE", help="Share of the time to plan on; the plan is tested on the rest."),
]
Replications = Annotated[
    int | None,
    typer.Option(min=1, help=f"How many times to redraw a generated workload (default: {REPLICATIONS})."),
]
Folder = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder for the plan, its candidates and its report (default: plan-NAME)."
    ),
]


def targets_of(
    bounds: Sequence[list[str] | None], spare_volumes: int, confidence: float, problems: list[str]
) -> Targets:
    """The targets that the options give, in the order of `KINDS`; notes problems with them."""
    from sim.planner.requirements import KINDS
    from sim.planner.targets import Targets, parse

    try:
        texts = {kind: texts or [] for kind, texts in zip(KINDS, bounds, strict=True)}
        return parse(texts, spare_volumes, confidence)
    except BadInput as error:
        problems += error.problems
        return Targets()


def replications_of(replications: int | None, case: Case) -> int:
    """The draws of the workload to plan on. Raises BadInput if they are too many."""
    if replications is None:
        replications = 1 if case.scenario.workload.generate is None else REPLICATIONS
    if problems := too_many(replications, 1, case.creates, MOST_CREATES // max(1, case.creates)):
        raise BadInput(problems)
    return replications


def _drawn(answer: Answer) -> list[Section]:
    from sim.report.planned import drawn_of  # slow to import

    return drawn_of(answer)


@command()
def plan(
    scenario: Scenario,
    target_hit_rate: HitRate = None,
    max_p95_s: CreateP95 = None,
    budget_gib: Space = None,
    budget_price: Price = None,
    max_errors: Errors = None,
    spare_volumes: SpareVolumes = 0,
    growth: Growth = 1.0,
    confidence: Confidence = 0.95,
    train: Train = None,
    replications: Replications = None,
    warm_up: WarmUp = "0",
    out: Folder = None,
    workers: Workers = -1,
    dask: Dask = None,
    tls_ca_file: TlsCa = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    as_json: Json = False,
) -> None:
    """Choose the strategy and the limits of every cache.

    The plan states its reasons, its gain over today, its confidence intervals and the lines for cinder.conf.
    Without --target-hit-rate and --max-p95-s, it looks for the most hits that budgets and arrays allow. If
    only some tiers have targets, the other tiers keep their limits.

    \b
    Example: find limits for 50 % hits on flash at 1.5 times today's load:
      cinder-cache plan scenarios/smallest.yaml --target-hit-rate flash=0.5 \\
          --growth 1.5
    """
    problems = unwritable(out) if out else []
    problems += wrong_workers(workers) + wrong_warm_up(warm_up)
    if train is not None and not 0 < train < 1:
        problems.append("--train: a share between 0 and 1")
    bounds = target_hit_rate, max_p95_s, budget_gib, budget_price, max_errors
    targets = targets_of(bounds, spare_volumes, confidence, problems)
    scheduler = scheduler_of(dask, tls_ca_file, tls_cert, tls_key, problems)
    case = checked(scenario, [], problems)
    handed_over(case.scenario, "fast")
    folder = out or folder_for("plan", case)
    replications = replications_of(replications, case)
    with uncollected():
        with progress("cells", None, shown=True) as done:
            answer = api.plan(
                scenario,
                targets,
                growth=growth,
                train=train,
                replications=replications,
                warm_up_s=warm_up_s(warm_up, case, list(case.scenario.strategies)),
                folder=folder,
                workers=workers,
                dask=scheduler,
                progress=done,
                draw=_drawn,
            )
        from sim.report.planned import write_plan

        write_plan(answer, folder)
    if as_json:
        print_json(answer.document)
    else:
        from sim.report.plan_text import plan_text

        show(plan_text(answer.document), coloured=True)
    print(f"plan: written to {printable(str(folder))}", file=sys.stderr)
