"""What `run` and `compare` are asked for: options, checked; and the folder in which results wait."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sim.cli.ending import full
from sim.cli.shared import (
    Format,
    bad_options,
    checked,
    deciding,
    handed_over,
    too_many,
    warm_up_s,
    wrong_warm_up,
    wrong_workers,
)
from sim.inputs.problems import BadInput

if TYPE_CHECKING:
    from sim.analysis.rows import Row
    from sim.analysis.statistics import Blocks
    from sim.inputs.scenario import Case
    from sim.inputs.scenario import Scenario as Spec

# Engine `fast` does not read a larger Parquet trace into memory, if it can stream it.
MOST_EVENTS = 5_000_000


@dataclass(frozen=True)
class Options:
    """The options of a command.

    `strategies`: None for those in the scenario. `reported`: whether a report follows. `cinder`: the Cinders
    that decide, with commas; None for the one that is installed. `watch`: whether invariants are checked.
    `workers`: number of processes; -1 for one per core where that is faster.
    """

    scenario: Path
    strategies: list[str] | None
    engine: str
    out: Path | None
    fmt: Format | None
    verbose: bool
    warm_up: str = "0"
    replications: int = 1
    reported: bool = False
    cinder: str | None = None
    watch: bool = False
    workers: int = -1


@dataclass(frozen=True)
class Job:
    """Options that have been checked, the rows to simulate, and what each needs.

    `blocks` begin after the warm-up. `new`: the folder in which results wait for the end (see `written`), and
    `told` what is said of them then.
    """

    options: Options
    case: Case
    rows: list[Row]
    blocks: Blocks
    sha256: dict[str, str]
    new: Path | None = None
    told: list[str] = field(default_factory=list)

    @property
    def several_cinders(self) -> bool:
        """Whether rows of one strategy differ in the Cinder that decides."""
        return len({row.cinder for row in self.rows}) > 1


def job_of(options: Options, compared: bool = False) -> Job:
    """Check the options and load the case. Raises BadInput with all problems.

    `compared`: the strategies are rows of a comparison, among which today's settings are one.
    """
    from sim.inputs.memory import freed_at_once

    freed_at_once()
    from sim.analysis.rows import Row, decided_by, rows_of
    from sim.analysis.statistics import Blocks
    from sim.inputs.files import hashes

    chosen, engine, out = options.strategies, options.engine, options.out
    most = MOST_EVENTS if engine == "fast" and out is not None and options.warm_up == "0" else None
    problems = bad_options(engine, chosen or [], out, options.fmt) + wrong_warm_up(options.warm_up)
    problems += wrong_workers(options.workers)
    cinders = deciding(options.cinder, engine, problems)
    if options.watch and engine != "cinder":
        problems.append("--watch: only engine cinder is watched: leave out --engine")
    case = checked(options.scenario, chosen, problems, most, options.replications)
    if options.watch and (changed := _unwatched(case.scenario)):
        raise BadInput([f"{case.path}: {changed}: changes the rules that --watch checks: leave it out"])
    handed_over(case.scenario, engine)
    names = case.scenario.strategies if chosen is None else chosen
    if problems := too_many(options.replications, len(names) * len(cinders), case.creates):
        raise BadInput(problems)
    if compared:
        rows = rows_of(case, names, cinders)
    else:
        rows = decided_by([Row(name, name, case) for name in names], cinders)
    blocks = Blocks.between(warm_up_s(options.warm_up, case, list(names)), case.last_create_s)
    return Job(options, case, rows, blocks, hashes(case))


def _unwatched(scenario: Spec) -> str:
    """The key of a scenario with which Cinder does what it does not do, '' if there is none."""
    from sim.inputs.scenario import WhatIf

    if scenario.what_if != WhatIf():
        return "what_if"
    return "upload" if scenario.upload.startswith("raw-twin") else ""


@contextmanager
def written(job: Job) -> Iterator[Job]:
    """The job with a folder for its results, if `--out` is given: they come to their places at the end.

    What has ended comes there after an error, too: a failure cannot lose it. A process that is killed,
    or for which the disk is full, leaves the earlier results.
    """
    from sim.analysis.results import together

    if job.options.out is None:
        yield job
        return
    failed = None
    with together(job.options.out) as new:
        try:
            yield replace(job, new=new)
        except Exception as error:
            if full(error):
                raise
            failed = error
    for line in job.told:
        print(line, file=sys.stderr)
    if failed is not None:
        raise failed
