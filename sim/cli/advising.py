"""The command `advise`: what to do about a cloud, in the order of what it brings."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from sim.cli.ending import command
from sim.cli.planning import (
    Confidence,
    CreateP95,
    Errors,
    HitRate,
    Price,
    Replications,
    Space,
    SpareVolumes,
    replications_of,
    targets_of,
)
from sim.cli.shared import (
    Json,
    WarmUp,
    Workers,
    checked,
    handed_over,
    print_json,
    progress,
    show,
    uncollected,
    warm_up_s,
    wrong_warm_up,
    wrong_workers,
)
from sim.cli.sources import (
    Conf,
    Db,
    Dump,
    GlanceCloud,
    Images,
    Notifications,
    Pools,
    Service,
    Since,
    Until,
    Volumes,
    given_of,
    unless_named,
)
from sim.inputs.beside import beside, scratch, unwritable
from sim.inputs.problems import BadInput, printable

BOTH = "SCENARIO: give a scenario, or the sources of a cloud such as --conf and --db, not both"
NEITHER = "SCENARIO: give a scenario, or the sources of a cloud such as --conf and --db"
MOST_MONEY = 1e9
PARTS = ("actions", "base", "deploy", "one-pool")  # folders of an advice

Hour = Annotated[
    float,
    typer.Option(
        metavar="PRICE",
        min=0,
        max=MOST_MONEY,
        help="What an hour costs that users wait for their volumes, in the currency of the tiers' prices.",
    ),
]
Failed = Annotated[
    float,
    typer.Option(
        metavar="PRICE", min=0, max=MOST_MONEY, help="What a failed create costs, in the same currency."
    ),
]
OneArray = Annotated[
    bool,
    typer.Option(
        "--one-array",
        help="Backends that are alike lie on one array, so that they can become one backend with one cache.",
    ),
]


@command()
def advise(
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for the advice and for what it is made from.")
    ],
    scenario: Annotated[
        Path | None,
        typer.Argument(metavar="[SCENARIO]", help="The scenario's YAML file, if there are no sources."),
    ] = None,
    conf: Conf = None,
    service: Service = None,
    db: Db = None,
    dump: Dump = None,
    glance: GlanceCloud = None,
    images: Images = None,
    pools: Pools = None,
    volumes: Volumes = None,
    notifications: Notifications = None,
    since: Since = None,
    until: Until = None,
    target_hit_rate: HitRate = None,
    max_p95_s: CreateP95 = None,
    budget_gib: Space = None,
    budget_price: Price = None,
    max_errors: Errors = None,
    spare_volumes: SpareVolumes = 0,
    confidence: Confidence = 0.95,
    hour_price: Hour = 10.0,
    failed_price: Failed = 10.0,
    one_array: OneArray = False,
    replications: Replications = None,
    warm_up: WarmUp = "0",
    workers: Workers = -1,
    as_json: Json = False,
) -> None:
    """Say what to do about a cloud, in the order of what it brings.

    The advice has at most seven actions. Give a scenario or the sources that `import` takes. With sources,
    the command imports the cloud into DIR/import, and fits the model to its history. It simulates every lever
    alone, and then the best ones together. What users wait, what fails and what image-volumes cost are added
    up to a price a month. An action must lower it beyond chance, and must keep the targets if there are some.

    \b
    Example: from the configuration and the database to the answer:
      cinder-cache advise --conf /etc/cinder/cinder.conf \\
          --db mysql+pymysql://reader:secret@db/cinder --out advice
    """
    problems = unwritable(out) + wrong_workers(workers) + wrong_warm_up(warm_up)
    bounds = target_hit_rate, max_p95_s, budget_gib, budget_price, max_errors
    targets = targets_of(bounds, spare_volumes, confidence, problems)
    db = unless_named(db, scenario)
    sources = conf, service, db, dump, glance, images, pools, volumes, notifications
    given = given_of(*sources, since, until, problems)
    if scenario is not None and (given.something or since or until):
        problems.append(BOTH)
    elif scenario is None and not given.something:
        problems.append(NEITHER)
    elif scenario is None:
        from sim.importers.importing import import_cloud, wrong

        if problems:
            raise BadInput(problems + wrong(out / "import", given))
        with progress("importing", None, shown=True) as done:
            import_cloud(out / "import", given, progress=done)
        scenario = _fitted(out / "import")
    case = checked(scenario or out, [], problems) if scenario or not problems else None
    if case is None or scenario is None:
        raise BadInput(problems)
    handed_over(case.scenario, "fast")
    from sim.planner.advise import advise as find
    from sim.planner.advise_trials import Worth
    from sim.planner.simulator import PlanOptions
    from sim.report.advised import advice_page
    from sim.report.deploy import Known, write_deploy
    from sim.report.display_advise import advice_text
    from sim.report.page import made_of, write

    with uncollected(), progress("cells", None, shown=True) as told:
        options = PlanOptions(
            replications=replications_of(replications, case),
            warm_up_s=warm_up_s(warm_up, case, list(case.scenario.strategies)),
            folder=out,
            workers=workers,
            progress=told,
        )
        with scratch(out) as new:
            found = find(scenario, new, targets, options, Worth(hour_price, failed_price), one_array)
            write_advice(found.document, found.promise, new)
            known = Known.of(scenario.parent)
            write_deploy(found, known, new)
            made = made_of(found.today, "fast", options.warm_up_s)
            write(advice_page(found, known, options.warm_up_s, made), new)
            replaced(out, new)
    if as_json:
        print_json(found.document)
    else:
        show(advice_text(found.document, out), coloured=True)
    print(f"advise: written to {printable(str(out))}", file=sys.stderr)


def _fitted(folder: Path) -> Path:
    """The imported scenario, fitted to its history where there is one; a line on stderr says if not."""
    from sim.importers import calibration

    with progress("fitting", None, shown=True) as done:
        scenario, why = calibration.fitted(folder, done)
    if why:
        print(f"not calibrated: {printable(why)}", file=sys.stderr)
    return scenario


def write_advice(document: dict[str, Any], promise: dict[str, Any], folder: Path) -> None:
    """Write `advice.json`, `advice.csv` (a row for each action) and `promise.json` into a new folder.

    Raises OSError.
    """
    import pandas as pd

    from sim.inputs.cells import csv_text

    rows = [
        {key: action[key] for key in ("number", "lever", "action", "effort", "file", "scenario")}
        | action["gain"]["all"]
        for action in document["actions"]
    ]
    texts = {
        "advice.csv": csv_text(pd.DataFrame(rows)) if rows else "number,lever,action,effort,file,scenario\n",
        "advice.json": json.dumps(document, indent=2, allow_nan=False) + "\n",
        "promise.json": json.dumps(promise, indent=2, allow_nan=False) + "\n",
    }
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")


def replaced(folder: Path, new: Path) -> None:
    """Move the files of an advice from `new` into `folder`, where they replace all of an older one."""
    files = [path.relative_to(new) for path in sorted(new.rglob("*")) if path.is_file()]
    with beside(*(folder / name for name in files)) as places:
        for name, place in zip(files, places, strict=True):
            (new / name).replace(place)
    for part in PARTS:
        for path in sorted((folder / part).rglob("*"), reverse=True):
            if path.is_file() and path.relative_to(folder) not in files:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
