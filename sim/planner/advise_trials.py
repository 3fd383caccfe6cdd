"""Trials: what a set of changes brings, in the money that users' waiting and image-volumes cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import CONFIDENCE, DAY_S, FEWEST, Blocks, Estimate, Interval, Sample
from sim.inputs.limits import OFF, Limits
from sim.inputs.scenario import Scenario
from sim.planner.advise_ground import in_one_pool, joined
from sim.planner.advise_levers import Lever, Option
from sim.planner.measured import Batch, Floats, Measured, Runs, Table, sample_of, table_of, tiers_of
from sim.planner.search import ENOUGH, WITHOUT
from sim.planner.simulator import Simulator
from sim.planner.targets import Targets
from sim.planner.task import Task, required_of
from sim.sweep.measures import MADE_S
from sim.sweep.results import ALL
from sim.sweep.varying import Point, apply

MONTH_S = 30 * 86_400.0
HOUR_S = 3600.0
LEAST_SHARE = 0.01  # of today's cost, which an action must save
LONGEST = 365  # days, or replications, for which nobody waits


@dataclass(frozen=True)
class Worth:
    """What things cost, in the currency of the tiers' prices.

    - hour: an hour that a user waits for a create.
    - failed: a create that fails.
    - gib_month: a GiB of image-volumes for a month, where no tier has a price.
    """

    hour: float = 10.0
    failed: float = 10.0
    gib_month: float = 0.1

    def cost(self, of: Measured, tier: str, scenario: Scenario, months: float) -> Floats:
        """(candidates, units): the cost a month of the tier's creates and of the image-volumes of `of`.

        The mean over replications, or the sum over the blocks of one history, is the cost.
        """
        waited = self.hour / HOUR_S / months * of.units(MADE_S, tier)
        failed = self.failed / months * of.failures(tier)
        priced = any(each.price_gib_month or each.price_volume_month for each in scenario.tiers.values())
        prices = of.prices(scenario) if priced else self.gib_month * of.levels("image_physical_gib")
        cost: Floats = waited + failed + prices / (1 if of.replicated else prices.shape[1])
        return cost


DEFAULT = Worth()


@dataclass(frozen=True)
class Ground:
    """A scenario as it is today, on which changes are tried: its simulator, and what they must keep."""

    simulator: Simulator
    task: Task

    @property
    def scenario(self) -> Scenario:
        return self.task.scenario


def grounds_of(simulators: Mapping[bool, Simulator], targets: Targets) -> dict[bool, Ground]:
    """The grounds, by `State.one_pool`. Today and no image-volumes at all say how many creates may fail."""
    scenario = simulators[False].load.case.scenario
    today, without = simulators[False].run([Point((), scenario.todays_strategy()), Point((), WITHOUT)])
    sample = sample_of(today, scenario.seed)
    found = {}
    for key, simulator in simulators.items():
        its = simulator.load.case.scenario
        found[key] = Ground(simulator, Task(its, targets, sample, required_of(targets, its, today, without)))
    return found


@dataclass(frozen=True)
class State:
    """Changes of today: the strategy, other values by key, and whether they are on the one pool."""

    strategy: str
    values: Mapping[str, Any] = field(default_factory=dict)
    one_pool: bool = False


@dataclass(frozen=True)
class Outcome:
    """What a state brings: its cost a month by unit (see `Worth.cost`), and what it lacks of the targets (0:
    it keeps all).
    """

    state: State
    units: Floats
    cost: float
    short: float
    runs: Runs

    @property
    def rank(self) -> tuple[float, float]:
        """Smaller is better."""
        return round(self.short, 9), self.cost


@dataclass(frozen=True)
class Saving:
    """What a state saves a month against another, and what tells it.

    - interval: of the paired difference.
    - rests_on: the days of the history, or the replications, in which the two differ.
    - of: all days of the history, or all replications.
    - largest: the share of it in the block (or replication) that saves most; 1 if the others save nothing.
    """

    interval: Interval
    rests_on: float
    of: float
    largest: float

    @property
    def sure(self) -> bool:
        """Whether it saves something beyond chance: the interval is above zero, and rests on enough days.

        A bootstrap of few days knows no others, and may have no width. With fewer than `FEWEST` differences,
        no two-sided sign test rejects, whatever their sizes.
        """
        return self.interval.low > 0 and self.rests_on >= FEWEST

    @property
    def needed(self) -> int | None:
        """About how many days, or replications, like these would tell; None: more than LONGEST.

        The interval of a mean becomes narrower with the square root of their number.
        """
        mean, half = self.interval.mean, self.interval.high - self.interval.mean
        if not mean or not self.rests_on:
            return None
        needed = self.of * max(1.0, (half / mean) ** 2, FEWEST / self.rests_on)
        return math.ceil(needed) if needed <= LONGEST else None


class Trials:
    """Simulates states, each once, and tells their outcomes.

    `grounds`: by `State.one_pool`. `one_array`: whether backends that are alike lie on one array.
    `half_life_days`: so old a day of a history counts half as much as the last one (None: all count alike).
    """

    def __init__(
        self,
        grounds: Mapping[bool, Ground],
        worth: Worth,
        one_array: bool,
        half_life_days: float | None = None,
    ) -> None:
        self.grounds, self.worth, self.one_array = grounds, worth, one_array
        self.half_life_days = half_life_days
        self._known: dict[str, Outcome | None] = {}

    @property
    def sample(self) -> Sample:
        return self.grounds[False].task.sample

    @property
    def today(self) -> State:
        """The state without changes."""
        return State(self.grounds[False].scenario.todays_strategy())

    @cached_property
    def months(self) -> float:
        """The length of the workload in which creates count."""
        load = self.grounds[False].simulator.load
        return max(load.case.last_create_s - load.warm_up_s, HOUR_S) / MONTH_S

    def scenario(self, state: State) -> Scenario:
        """The scenario with the changes of a state."""
        return apply(self.grounds[state.one_pool].scenario, state.values)

    def after(self, state: State, option: Option) -> State:
        """The state with one more change."""
        values = {**state.values, **option.values}
        if option.one_pool:
            names = joined(self.grounds[False].scenario, self.one_array)
            settings = in_one_pool(self.scenario(state), self.grounds[True].scenario, names)
            values = {key: of for key, of in values.items() if not key.startswith("backends.")} | settings
        return State(option.strategy or state.strategy, values, state.one_pool or option.one_pool)

    def __call__(self, states: Sequence[State]) -> list[Outcome | None]:
        """The outcome of each; None where the engine refuses it, such as image-volumes that do not fit."""
        for one_pool, ground in self.grounds.items():
            new = {repr(s): s for s in states if s.one_pool == one_pool and repr(s) not in self._known}
            points = [Point(tuple(sorted(s.values.items())), s.strategy) for s in new.values()]
            for (key, state), runs in zip(
                new.items(), ground.simulator.tried(points) if points else [], strict=True
            ):
                failed = any(result.error for result in runs)
                self._known[key] = None if failed else self._outcome(state, runs)
        return [self._known[repr(state)] for state in states]

    def _outcome(self, state: State, runs: Runs) -> Outcome:
        scenario, task = self.scenario(state), self.grounds[state.one_pool].task
        every = tiers_of(scenario, [runs])
        costs = [self.worth.cost(every[tier], tier, scenario, self.months)[0] for tier in scenario.tiers]
        units = np.sum(costs, axis=0)
        alone = {name: (name,) for name in scenario.backends}
        limits = {name: [OFF] for name in alone}  # of the one candidate, whatever it is
        table = table_of(scenario, state.strategy, alone, [Batch(limits, [runs])])
        margins = replace(task, scenario=scenario).margins(table)
        short = sum(max(0.0, ENOUGH - margin) / each.scale for each, margin in margins.items())
        return Outcome(state, units, float(self.total(units).point), short, runs)

    def total(self, units: Floats) -> Estimate:
        """Estimate the total (see `Sample.total`) of (units,), in which older days may count less."""
        if self.half_life_days is None:
            return self.sample.total(units)
        load = self.grounds[False].simulator.load
        days = Blocks.between(load.warm_up_s, load.case.last_create_s).length_s / DAY_S
        weights = 0.5 ** (np.arange(len(units))[::-1] * days / self.half_life_days)
        mean = self.sample.ratio(weights * units, weights)
        return Estimate(mean.point * len(units), mean.deviations * len(units))

    @cached_property
    def _asked(self) -> npt.NDArray[np.bool_]:
        """(units,): whether anybody asked for a volume from an image."""
        (today,) = self([self.today])
        assert today is not None
        scenario = self.grounds[False].scenario
        asked: npt.NDArray[np.bool_] = tiers_of(scenario, [today.runs])[ALL].units("creates", ALL)[0] > 0
        return asked

    @cached_property
    def of(self) -> float:
        """The days of the history, or the number of replications."""
        load = self.grounds[False].simulator.load
        if self.sample.kind == "replications":
            return float(self.sample.units)
        return max(load.case.last_create_s - load.warm_up_s, 0.0) / DAY_S

    def rests_on(self, new: Floats, old: Floats) -> float:
        """In how many days of the history, or replications, with creates two states differ (units,).

        Blocks shorter than a day are no more units than there are days: one storm is in several of them.
        """
        differ = ~np.isclose(new, old, rtol=1e-9, atol=1e-9) & self._asked
        return min(float(np.count_nonzero(differ)), self.of)

    def saved(self, new: Outcome, old: Outcome, tests: int = 1) -> Saving:
        """What a state saves a month against another.

        Of `tests` savings that are looked at together, all lie in their intervals with CONFIDENCE
        (Bonferroni): the best of many is large by chance, too.
        """
        estimate = self.total(old.units - new.units)
        interval = self.sample.interval(estimate, 1 - (1 - CONFIDENCE) / tests)
        saved = old.units - new.units
        largest = float(min(1.0, saved.max() / saved.sum())) if saved.sum() > 0 else 0.0
        return Saving(interval, self.rests_on(new.units, old.units), self.of, largest)

    def worth_it(self, new: Outcome, old: Outcome, tests: int = 1) -> bool:
        """Whether a state is better: nearer to the targets, or as near and cheaper beyond chance."""
        if round(new.short, 9) != round(old.short, 9):
            return new.short < old.short
        return self.saved(new, old, tests).sure and self.pays(new, old)

    def pays(self, new: Outcome, old: Outcome) -> bool:
        """Whether a state keeps the targets as the other does and saves enough in this workload, maybe by
        chance."""
        (today,) = self([self.today])
        assert today is not None
        saved = old.cost - new.cost
        return new.short <= old.short and saved > 0 and saved >= LEAST_SHARE * today.cost


def cheapest(table: Table, scenario: Scenario, worth: Worth, months: float) -> dict[str, Limits]:
    """The limits of each group of backends with the least cost, by what a plan's grid measured."""
    found: dict[str, Limits] = {}
    for group, members in table.groups.items():
        each = [worth.cost(table.backends[name], ALL, scenario, months) for name in members]
        units = np.sum(each, axis=0)
        costs = units.mean(axis=1) if table.backends[members[0]].replicated else units.sum(axis=1)
        unplaced = worth.failed / months * table.unplaced[ALL][group].mean(axis=1)
        found |= dict.fromkeys(members, table.limits[group][int(np.argmin(costs + unplaced))])
    return found


@dataclass(frozen=True)
class Action:
    """A lever with the option that was taken."""

    lever: Lever
    option: Option
