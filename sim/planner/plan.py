"""The plan: simulate the grid, choose under every strategy, simulate what was chosen, take the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Blocks, Sample
from sim.inputs.limits import Limits, todays
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.planner.choice import Choice, Chooser
from sim.planner.grid import (
    Groups,
    candidates,
    chosen_point,
    finer,
    groups,
    of_backends,
    points,
    working_sets,
)
from sim.planner.measured import Floats, sample_of, scopes, table_of
from sim.planner.optimum import Row
from sim.planner.requirements import Requirement, factor, of_table, requirements
from sim.planner.targets import Targets, check
from sim.run import misfits
from sim.sweep.sweep import sweep
from sim.sweep.varying import Point
from sim.workload.loading import load

WITHOUT = "none"  # the strategy without image-volumes
MOST_REPAIRS = 12
ENOUGH = -1e-9  # margins down to here are kept: floating point

Document = Mapping[str, Any]
Cell = Sequence[Document]  # a document for each replication


@dataclass(frozen=True)
class Load:
    """The workload that is planned for: a scenario, its changes by key, and what of it counts.

    `cases` are its replications, changed; `plain` is the first one as it is written. `common` are the values
    that every cell has: the changes, and the internal tenant's quotas lifted (a plan tells what it needs).
    """

    plain: Case
    cases: list[Case]
    changes: Mapping[str, Any]
    warm_up_s: float

    @property
    def case(self) -> Case:
        """The first replication."""
        return self.cases[0]

    def blocks_of(self, time: Floats) -> npt.NDArray[np.int64]:
        """The block of the one history that each time is in (see `sim.analysis.statistics.Blocks`)."""
        return Blocks.between(self.warm_up_s, self.case.last_create_s).of(time)

    @property
    def common(self) -> dict[str, Any]:
        """What all cells set."""
        quotas = ("cinder.internal_tenant_quota_volumes", "cinder.internal_tenant_quota_gigabytes")
        return {**self.changes, **dict.fromkeys(quotas)}


def load_of(path: Path, changes: Mapping[str, Any], replications: int, warm_up_s: float) -> Load:
    """Read the workload, changed (`workload.growth` and other keys). Raises BadInput."""
    values = {tuple(key.split(".")): value for key, value in changes.items()}
    cases = [load(path, replication=number, values=values) for number in range(replications)]
    if replications > 1 and cases[0].scenario.workload.generate is None:
        raise BadInput([f"{path}: a trace has one history: replications need workload.generate"])
    return Load(load(path), cases, changes, warm_up_s)


class Simulator:
    """Runs cells of one workload and counts what it runs."""

    def __init__(
        self,
        load: Load,
        targets: Targets,
        folder: Path | None = None,
        workers: int = -1,
        dask: str | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.load, self.cells, self.requests = load, 0, 0
        self._progress, self._total = progress, 0
        self._options: dict[str, Any] = {
            "replications": len(load.cases),
            "warm_up_s": load.warm_up_s,
            "slow_s": dict(targets.p95_s),
            "folder": folder,
            "workers": workers,
            "dask": dask,
        }

    def run(self, wanted: Sequence[Point]) -> list[Cell]:
        """The documents of each point. Raises BadInput if cells fail."""
        before = self._total
        self._total += len(wanted) * len(self.load.cases)

        def told(done: int) -> None:
            if self._progress is not None:
                self._progress(before + done, self._total)

        documents = sweep(self.load.plain, wanted, progress=told, **self._options)
        failed = sorted({document["error"] for document in documents if document["error"]})
        if failed:
            raise BadInput([f"{self.load.plain.path}: {error}" for error in failed])
        self.cells += len(documents)
        self.requests += sum(document["requests"] for document in documents)
        count = len(self.load.cases)
        return [documents[at : at + count] for at in range(0, len(documents), count)]


@dataclass(frozen=True)
class Confirmed:
    """A choice that was simulated whole: its cell, and the margin that it leaves to each requirement."""

    choice: Choice
    cell: Cell
    margins: Mapping[Requirement, float]

    @property
    def short(self) -> float:
        """What it lacks, in the requirements' scales; 0 if it keeps them all."""
        return sum(max(0.0, ENOUGH - margin) / each.scale for each, margin in self.margins.items())

    def rank(self, goals: bool) -> tuple[float, ...]:
        """Smaller is better."""
        return (round(self.short, 9), *self.choice.rank(goals)[1:])


@dataclass(frozen=True)
class Plan:
    """What was found. `found` has every strategy's best, by name; the plan is that of `best`.

    `today`: the cell of today's settings under the same load. `choosers` have what the grid measured.
    `misfits`: strategies whose image-volumes do not fit at the start, and why.
    """

    load: Load
    targets: Targets
    required: list[Requirement]
    sample: Sample
    best: Confirmed
    found: dict[str, Confirmed]
    today: Cell
    todays_strategy: str
    choosers: dict[str, Chooser] = field(repr=False)
    misfits: dict[str, list[str]]

    @property
    def met(self) -> bool:
        """Whether all requirements are kept."""
        return self.best.short == 0


def plan(load: Load, targets: Targets, simulator: Simulator, strategies: Iterable[str] | None = None) -> Plan:
    """Choose strategy and limits (see `Targets` for what they keep to). Raises BadInput."""
    case = load.case
    scenario = case.scenario
    events = case.trace.events[case.trace.events["time"] >= load.warm_up_s]
    asked = events.query("event == 'create' and image_id != ''")["volume_type"].astype(str)
    if asked.empty:
        raise BadInput([f"{load.plain.path}: no creates from an image are left to plan on"])
    check(targets, scenario, Counter(asked))
    unfit = {name: misfits(case, [name]) for name in strategies or scenario.strategies}
    names = [name for name, problems in unfit.items() if not problems]
    if not names:
        raise BadInput(problem for problems in unfit.values() for problem in problems)
    planned = targets.planned(scenario.tiers)
    first = [
        Point(tuple(load.changes.items()), scenario.todays_strategy()),
        Point(tuple(load.common.items()), WITHOUT),
    ]
    together = groups(case, planned)
    limits = {name: _looked_at(load, name, together, planned) for name in names}
    wanted = {name: points(name, together, limits[name], load.common) for name in names}
    cells = iter(simulator.run([*first, *(point for each in wanted.values() for point in each)]))
    today, without = next(cells), next(cells)
    sample = sample_of(today, scenario.seed)
    required = requirements(targets, scenario, _errors(today, case), _errors(without, case))
    choosers, found = {}, {}
    for name in names:
        batches = [(limits[name], [next(cells) for _ in wanted[name]])]
        chooser = Chooser(table_of(scenario, name, together, batches), sample, required, targets, scenario)
        coarse = chooser.choose({})
        # Where budgets decide, there may be room above what was chosen.
        above = not targets.goals or coarse.short > 0
        near = {group: finer(limits[name][group], each, above) for group, each in coarse.limits.items()}
        if any(near.values()):
            shown = {group: of or [coarse.limits[group]] for group, of in near.items()}
            nearer = simulator.run(points(name, together, shown, load.common))
            table = table_of(scenario, name, together, [*batches, (near, nearer)])
            chooser = Chooser(table, sample, required, targets, scenario)
        choosers[name] = chooser
        found[name] = _confirmed(chooser, simulator, sample, required, targets)
    best = min(found.values(), key=lambda each: each.rank(targets.goals))
    # Today's limits, but as all others without the tenant's quotas.
    limits_today = {name: todays(backend) for name, backend in scenario.backends.items()}
    (cell,) = simulator.run([chosen_point(scenario.todays_strategy(), limits_today, load.common)])
    kept = _todays(cell, scenario, sample, required, targets, choosers.get(scenario.todays_strategy()))
    if (best.short or not targets.goals) and kept.rank(targets.goals) < best.rank(targets.goals):
        found[kept.choice.strategy] = best = kept
    return Plan(
        load, targets, required, sample, best, found, today, scenario.todays_strategy(), choosers,
        {name: problems for name, problems in unfit.items() if problems},
    )  # fmt: skip


def _looked_at(
    load: Load, strategy: str, together: Groups, planned: Sequence[str]
) -> dict[str, list[Limits]]:
    spans = {}
    if STRATEGIES[strategy].image_volume_cache_enabled:
        spans = working_sets(load.cases, strategy, together)
    return candidates(load.case.scenario, strategy, together, spans, planned)


def _errors(cell: Cell, case: Case) -> dict[str, float]:
    """Failed creates by tier, with an image or without, the most of the replications."""
    of = scopes([cell], case.scenario)
    return {tier: float(of[tier].failed(tier)[0].max()) for tier in case.scenario.tiers}


# -- simulated whole -----------------------------------------------------------------------------------


def _confirmed(
    chooser: Chooser,
    simulator: Simulator,
    sample: Sample,
    required: Sequence[Requirement],
    targets: Targets,
) -> Confirmed:
    """The choice that still keeps the requirements when all backends have their limits at once.

    What the grid does not show (backends share Glance and locks) is made up for by less room for what fell
    short, and then taken back where smaller limits do as well.
    """
    tighter: dict[Requirement, float] = {}
    tried: list[Confirmed] = []
    for _ in range(MOST_REPAIRS):
        choice = chooser.choose(tighter)
        (cell,) = simulator.run([chosen_point(choice.strategy, choice.backends, simulator.load.common)])
        tried.append(_judged(chooser, choice, cell, sample, required))
        lacking = {each: -margin for each, margin in tried[-1].margins.items() if margin < ENOUGH}
        if not lacking or choice.short:
            break
        tighter = {each: tighter.get(each, 0.0) + lacking.get(each, 0.0) for each in required}
    best = min(tried, key=lambda each: each.rank(targets.goals))
    return best if best.short or not targets.goals else _smallest(best, chooser, simulator, sample, required)


def _todays(
    cell: Cell,
    scenario: Scenario,
    sample: Sample,
    required: Sequence[Requirement],
    targets: Targets,
    chooser: Chooser | None,
) -> Confirmed:
    """Today's settings as a choice: backends of one group may have other limits each, which no grid has."""
    alone = {name: (name,) for name in scenario.backends}
    limits = {name: todays(backend) for name, backend in scenario.backends.items()}
    batches = [({name: [each] for name, each in limits.items()}, [cell])]
    table = table_of(scenario, scenario.todays_strategy(), alone, batches)
    choice = Chooser(table, sample, required, targets, scenario).chosen(limits)
    margins = {each: margin_of(each, cell, choice, sample, scenario, targets.confidence) for each in required}
    if chooser is not None:
        grid = chooser.table
        of_groups = {group: limits[group] for group in grid.groups}
        if of_backends(of_groups, grid.groups) == limits and all(
            each in grid.limits[group] for group, each in of_groups.items()
        ):  # larger ones may do worse
            margins = {each: margin - chooser.dip(each, of_groups) for each, margin in margins.items()}
    return Confirmed(choice, cell, margins)


def _judged(
    chooser: Chooser,
    choice: Choice,
    cell: Cell,
    sample: Sample,
    required: Sequence[Requirement],
) -> Confirmed:
    margins = {
        each: margin_of(each, cell, choice, sample, chooser.scenario, chooser.targets.confidence)
        - chooser.dip(each, choice.limits)
        for each in required
    }
    return Confirmed(choice, cell, margins)


def margin_of(
    requirement: Requirement,
    cell: Cell,
    choice: Choice,
    sample: Sample,
    scenario: Scenario,
    confidence: float,
) -> float:
    """What one whole simulation leaves of a requirement."""
    limits = {name: [each] for name, each in choice.limits.items()}
    table = table_of(scenario, choice.strategy, choice.groups, [(limits, [cell])])
    margins, room = of_table(requirement, table, sample, scenario)
    row = Row(margins, room, factor(requirement, sample, confidence))
    return row.margin(dict.fromkeys(limits, 0))


def _smallest(
    best: Confirmed,
    chooser: Chooser,
    simulator: Simulator,
    sample: Sample,
    required: Sequence[Requirement],
) -> Confirmed:
    """Step down as long as the next smaller limits of a group keep everything.

    Smaller limits may come to more space (other images stay, or, where the scheduler places creates, each run
    is another history), and are smaller all the same.
    """
    while True:
        below = [chooser.chosen(limits) for limits in chooser.next_to(best.choice.limits, larger=False)]
        cells = simulator.run(
            [chosen_point(each.strategy, each.backends, simulator.load.common) for each in below]
        )
        judged = [
            _judged(chooser, choice, cell, sample, required)
            for choice, cell in zip(below, cells, strict=True)
        ]
        good = [each for each in judged if not each.short]
        if not good:
            return best
        best = min(good, key=lambda each: (each.choice.cost, sorted(each.choice.limits.items())))
