"""The search: simulate the grid, choose under every strategy, simulate what was chosen, take the best."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sim.inputs.limits import Limits, todays
from sim.inputs.problems import BadInput
from sim.inputs.strategies import STRATEGIES
from sim.model.initial import misfits
from sim.planner.choice import Choice, Chooser
from sim.planner.grid import (
    Groups,
    candidates,
    chosen_point,
    finer,
    groups,
    in_turn,
    of_backends,
    points,
    working_sets,
)
from sim.planner.measured import Batch, Runs, sample_of, table_of
from sim.planner.requirements import Requirement
from sim.planner.simulator import Load, Simulator
from sim.planner.targets import Targets, check
from sim.planner.task import Task, required_of
from sim.sweep.varying import Point

WITHOUT = "none"  # the strategy without image-volumes
MOST_REPAIRS = 12
ENOUGH = -1e-9  # margins down to here are kept: floating point


@dataclass(frozen=True)
class Confirmed:
    """A choice that was simulated with all its limits at once: its runs, and their margins."""

    choice: Choice
    runs: Runs
    margins: Mapping[Requirement, float]

    @property
    def broken(self) -> list[Requirement]:
        """The requirements that are not kept."""
        return [each for each, margin in self.margins.items() if margin < ENOUGH]

    @property
    def short(self) -> float:
        """The sum of its shortfalls, in the requirements' scales; 0 if it keeps them all."""
        return sum(max(0.0, ENOUGH - margin) / each.scale for each, margin in self.margins.items())

    def rank(self, goals: bool) -> tuple[float, ...]:
        """Smaller is better."""
        return (round(self.short, 9), *self.choice.rank(goals)[1:])


class Simulated(NamedTuple):
    """A point that was simulated as a whole: the limits of every backend, and its runs."""

    limits: Mapping[str, Limits]
    runs: Runs


@dataclass(frozen=True)
class Plan:
    """The result of the search: `best` is the plan, and `found` has the best of every strategy.

    - today: runs of today's settings under the same load.
    - choosers: by strategy, with the measures of the grid.
    - simulated: by strategy, the points of the grid and the best choice.
    - misfits: strategies whose image-volumes do not fit at the start, with the reasons.
    """

    load: Load
    task: Task
    best: Confirmed
    found: dict[str, Confirmed]
    today: Runs
    choosers: dict[str, Chooser] = field(repr=False)
    simulated: dict[str, list[Simulated]] = field(repr=False)
    misfits: dict[str, list[str]]

    @property
    def met(self) -> bool:
        """Whether all requirements are kept."""
        return self.best.short == 0

    @property
    def todays_strategy(self) -> str:
        """The strategy of today's settings."""
        return self.task.scenario.todays_strategy()


def search(load: Load, targets: Targets, simulator: Simulator) -> Plan:
    """Choose strategy and limits (see `Targets` for what they keep to). Raises BadInput."""
    scenario = load.case.scenario
    check(targets, scenario, creates_of(load))
    unfit = {name: misfits(load.case, [name]) for name in scenario.strategies}
    names = [name for name, problems in unfit.items() if not problems]
    if not names:
        raise BadInput(problem for problems in unfit.values() for problem in problems)
    planned = targets.planned(scenario.tiers)
    together = groups(load.case, planned)
    limits = {name: _looked_at(load, name, together, planned) for name in names}
    wanted = {name: points(name, together, limits[name], load.common) for name in names}
    first = [
        Point(tuple(load.changes.items()), scenario.todays_strategy()),
        Point(tuple(load.common.items()), WITHOUT),
    ]
    runs = iter(simulator.run([*first, *(point for each in wanted.values() for point in each)]))
    today, without = next(runs), next(runs)
    required = required_of(targets, scenario, today, without)
    task = Task(scenario, targets, sample_of(today, scenario.seed), required)
    coarse = {name: Batch(limits[name], [next(runs) for _ in wanted[name]]) for name in names}
    choosers, simulated = _choosers(task, simulator, together, coarse)
    found = {name: _confirmed(chooser, simulator) for name, chooser in choosers.items()}
    best = min(found.values(), key=lambda each: each.rank(targets.goals))
    kept = _todays(task, simulator, choosers.get(scenario.todays_strategy()))
    if (best.short or not targets.goals) and kept.rank(targets.goals) < best.rank(targets.goals):
        found[kept.choice.strategy] = best = kept
    for name, each in found.items():
        simulated.setdefault(name, []).append(Simulated(each.choice.backends, each.runs))
    unfit = {name: problems for name, problems in unfit.items() if problems}
    return Plan(load, task, best, found, today, choosers, simulated, unfit)


def creates_of(load: Load) -> Counter[str]:
    """The creates from an image after the warm-up, by tier. Raises BadInput if there are none."""
    events = load.case.trace.events
    later = events[events["time"] >= load.warm_up_s]
    asked = later.query("event == 'create' and image_id != ''")["volume_type"].astype(str)
    if asked.empty:
        raise BadInput([f"{load.plain.path}: no creates from an image are left to plan on"])
    return Counter(asked)


def _looked_at(
    load: Load, strategy: str, together: Groups, planned: Sequence[str]
) -> dict[str, list[Limits]]:
    spans = {}
    if STRATEGIES[strategy].image_volume_cache_enabled:
        spans = working_sets(load.cases, strategy, together)
    return candidates(load.case.scenario, strategy, together, spans, planned)


def _choosers(
    task: Task, simulator: Simulator, together: Groups, coarse: Mapping[str, Batch]
) -> tuple[dict[str, Chooser], dict[str, list[Simulated]]]:
    """By strategy, a chooser with the coarse grid and with finer limits near its best choice there; and their
    points.
    """
    simulated, near, shown = {}, {}, {}
    choosers = {
        name: Chooser(table_of(task.scenario, name, together, [of]), task) for name, of in coarse.items()
    }
    for name, chooser in choosers.items():
        simulated[name] = list(map(Simulated, in_turn(together, coarse[name].limits), coarse[name].runs))
        choice = chooser.choose({})
        # Where budgets decide, there may be room above what was chosen.
        above = not task.targets.goals or choice.short > 0
        limits = coarse[name].limits
        near[name] = {group: finer(limits[group], each, above) for group, each in choice.limits.items()}
        if any(near[name].values()):
            shown[name] = {group: of or [choice.limits[group]] for group, of in near[name].items()}
    wanted = {name: points(name, together, of, simulator.load.common) for name, of in shown.items()}
    runs = iter(simulator.run([point for each in wanted.values() for point in each]))
    for name, its in wanted.items():
        finest = Batch(near[name], [next(runs) for _ in its])
        simulated[name] += map(Simulated, in_turn(together, shown[name]), finest.runs)
        choosers[name] = Chooser(table_of(task.scenario, name, together, [coarse[name], finest]), task)
    return choosers, simulated


# -- simulated whole -----------------------------------------------------------------------------------


def _confirmed(chooser: Chooser, simulator: Simulator) -> Confirmed:
    """The best choice that keeps the requirements when all backends have their limits at once.

    The grid does not show what backends share: Glance and locks. So a requirement that falls short gets less
    room, and the choice is made again. Then limits step down again while everything is kept.
    """
    goals = chooser.task.targets.goals
    tighter: dict[Requirement, float] = {}
    tried: list[Confirmed] = []
    for _ in range(MOST_REPAIRS):
        choice = chooser.choose(tighter)
        tried += _simulated(chooser, simulator, [choice])
        last = tried[-1]
        if not last.broken or choice.short:
            break
        lacking = {each: -last.margins[each] for each in last.broken}
        tighter = {each: tighter.get(each, 0.0) + lacking.get(each, 0.0) for each in last.margins}
    best = min(tried, key=lambda each: each.rank(goals))
    return best if best.short or not goals else _smallest(best, chooser, simulator)


def _simulated(chooser: Chooser, simulator: Simulator, choices: Sequence[Choice]) -> list[Confirmed]:
    """Simulate choices with all their limits at once. A goal has the margin of the worst larger limits."""
    common = simulator.load.common
    found = simulator.run([chosen_point(each.strategy, each.backends, common) for each in choices])
    confirmed = []
    for choice, runs in zip(choices, found, strict=True):
        margins = margins_of(chooser.task, choice, runs)
        less = {each: margin - chooser.dip(each, choice.limits) for each, margin in margins.items()}
        confirmed.append(Confirmed(choice, runs, less))
    return confirmed


def margins_of(task: Task, choice: Choice, runs: Runs) -> dict[Requirement, float]:
    """The margin of each requirement in the runs of one choice."""
    limits = {name: [each] for name, each in choice.limits.items()}
    return task.margins(table_of(task.scenario, choice.strategy, choice.groups, [Batch(limits, [runs])]))


def _todays(task: Task, simulator: Simulator, chooser: Chooser | None) -> Confirmed:
    """Today's settings as a choice, without the tenant's quotas like all others.

    Backends of one group may each have other limits, which no grid has.
    """
    strategy = task.scenario.todays_strategy()
    limits = {name: todays(backend) for name, backend in task.scenario.backends.items()}
    (runs,) = simulator.run([chosen_point(strategy, limits, simulator.load.common)])
    alone = {name: (name,) for name in limits}
    batch = Batch({name: [each] for name, each in limits.items()}, [runs])
    choice = Chooser(table_of(task.scenario, strategy, alone, [batch]), task).chosen(limits)
    margins = margins_of(task, choice, runs)
    if chooser is not None:
        grid = chooser.table
        of_groups = {group: limits[group] for group in grid.groups}
        if of_backends(of_groups, grid.groups) == limits and all(
            each in grid.limits[group] for group, each in of_groups.items()
        ):  # larger ones may do worse
            margins = {each: margin - chooser.dip(each, of_groups) for each, margin in margins.items()}
    return Confirmed(choice, runs, margins)


def _smallest(best: Confirmed, chooser: Chooser, simulator: Simulator) -> Confirmed:
    """Step down while the next smaller limits of a group keep everything.

    Smaller limits may use more space: other images stay, or the scheduler places creates elsewhere. They
    count as smaller all the same.
    """
    while True:
        below = [chooser.chosen(limits) for limits in chooser.next_to(best.choice.limits, larger=False)]
        good = [each for each in _simulated(chooser, simulator, below) if not each.short]
        if not good:
            return best
        best = min(good, key=lambda each: (each.choice.cost, sorted(each.choice.limits.items())))
