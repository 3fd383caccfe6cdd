"""The command that says whether a promise was kept: verdict."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from sim.cli.ending import command
from sim.cli.shared import Json, print_json, show
from sim.cli.sources import Conf, Db, Dump, Notifications, Service, Until, given_of
from sim.inputs.beside import unwritable
from sim.inputs.problems import BadInput, Problems, printable


@command()
def verdict(
    promise: Annotated[
        Path,
        typer.Argument(
            metavar="PROMISE", help="What was promised: promise.json of advise, or plan.json of plan."
        ),
    ],
    conf: Conf = None,
    service: Service = None,
    db: Db = None,
    dump: Dump = None,
    notifications: Notifications = None,
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="When the settings were deployed, in UTC (default: the end of the history that the promise"
            " comes from).",
        ),
    ] = None,
    until: Until = None,
    hit_margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="How much lower a clone-hit rate may be than promised."),
    ] = 0.05,
    p95_factor: Annotated[
        float,
        typer.Option(
            min=1, max=1000, help="How many times longer than promised 95 % of the creates may take."
        ),
    ] = 1.25,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the verdict and its tables.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say whether what was promised was kept, and if not, why.

    The command compares the clone-hit rate and the create seconds of each backend with those promised: kept,
    not kept, or cannot tell yet, and then how long to wait. It names settings that are not as planned, and a
    load that is not that of the promise. It exits with 1 if something is not kept.

    \b
    Example: two weeks after the advice was deployed:
      cinder-cache verdict advice/promise.json --conf /etc/cinder/cinder.conf \\
          --db mysql+pymysql://reader:secret@db/cinder --since 2026-01-31
    """
    from sim.live import promise as promises
    from sim.live.observed import NOTHING, observe

    wrong = unwritable(out) if out else []
    given = given_of(conf, service, db, dump, None, None, None, None, notifications, since, until, wrong)
    if not (db or dump or notifications):
        wrong.append(NOTHING)
    problems = Problems()
    promised = promises.read(promise, problems)
    if promised is not None and not promised.figures:
        problems.add(promise, "", "promises settings and no figures: give promise.json or plan.json")
    if wrong or problems:
        from sim.importers.importing import look_at

        look_at(given, problems)
        raise BadInput([*wrong, *problems.lines()])
    assert promised is not None
    from sim.planner.verdict import NOT_KEPT, Margins
    from sim.planner.verdict import verdict as judge
    from sim.report.display_verdict import verdict_text, write_verdict

    document = judge(promised, observe(given, promised), Margins(hit_margin, p95_factor))
    if out:
        write_verdict(document, out)
    if as_json:
        print_json(document)
    else:
        show(verdict_text(document), coloured=True)
    if out:
        print(f"verdict: written to {printable(str(out))}", file=sys.stderr)
    if document["verdict"] == NOT_KEPT:
        raise typer.Exit(1)
