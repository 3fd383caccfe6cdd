"""What to do about a cloud: actions in the order of what they bring, each simulated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sim.analysis.statistics import CONFIDENCE, FEWEST, Estimate, Sample, holm
from sim.inputs.kept import kept
from sim.inputs.limits import Limits
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case, Scenario
from sim.inputs.strategies import STRATEGIES
from sim.planner import search as plans
from sim.planner.advise_greedy import Found, Tried, search, state_of
from sim.planner.advise_ground import joined, one_pool, with_releases, write_scenario
from sim.planner.advise_levers import UNCACHED, Known, Lever, levers_of
from sim.planner.advise_trials import (
    DEFAULT,
    HOUR_S,
    Action,
    Ground,
    State,
    Trials,
    Worth,
    cheapest,
    grounds_of,
)
from sim.planner.figures import EVERY
from sim.planner.measured import Floats, Runs, tiers_of
from sim.planner.promise import promise_of
from sim.planner.simulator import Load, PlanOptions, Simulator, load_of
from sim.planner.targets import Targets
from sim.run import run
from sim.sweep.measures import MADE_S
from sim.sweep.results import ALL
from sim.sweep.varying import Point

# The figures of a state, and whether more of each is better.
GAINS = {"hit_rate": True, "p95_s": False, "waited_h_month": False, "errors": False, "price_month": False}
Gains = dict[str, dict[str, Estimate]]  # by tier and EVERY, by figure
Units = dict[str, dict[str, Floats]]  # the same by unit of the sample: what the figure counts


@dataclass(frozen=True)
class Advice:
    """The actions for a cloud.

    - document: all of it as JSON, with stable keys.
    - last: the scenario with all actions, its strategy, and its runs.
    - today: the scenario as it is now.
    - promise: what is promised with all actions (`sim.planner.promise`).
    """

    document: dict[str, Any]
    today: Case
    last: Case
    strategy: str
    runs: Runs
    promise: dict[str, Any]


@dataclass(frozen=True)
class _Shown:
    """A scenario file of an action: its load, and what its runs measured."""

    file: str
    load: Load
    strategy: str
    runs: Runs
    gains: Gains
    units: Units

    def told(self, sample: Sample) -> dict[str, Any]:
        """The figures by tier and EVERY, each with the ends of its interval, cut off at what can occur."""
        found = {tier: _told(of, sample) for tier, of in self.gains.items()}
        for of in found.values():
            for name in GAINS:
                if of[name] is not None:
                    of[f"{name}_low"] = max(0.0, of[f"{name}_low"])
            if of["hit_rate"] is not None:
                of["hit_rate_high"] = min(1.0, of["hit_rate_high"])
        return found


def advise(
    path: Path,
    folder: Path,
    targets: Targets,
    options: PlanOptions,
    worth: Worth = DEFAULT,
    one_array: bool = False,
) -> Advice:
    """Find what is worth doing, and write the scenarios of every action into `folder`.

    `one_array`: backends that are alike lie on one array, and may become one backend. Raises BadInput.
    """
    trials = Trials(grounds_at(path, folder, targets, options, one_array), worth, one_array)
    ground = trials.grounds[False]
    known = Known(ground.simulator.load.case, limits_to_try(trials, targets), _one_pool(trials))

    def levers(state: State) -> list[Lever]:
        its = replace(known, one_pool="") if state.one_pool else known
        return levers_of(trials.scenario(state), state.strategy, its)

    found = search(trials, levers)
    show = _Showing(trials, folder, targets, options)
    chain = [show.of(str(number), found.actions[:number]) for number in range(len(found.actions) + 1)]
    alone = chain[:2] + [
        show.of(f"{number}-alone", [each]) for number, each in enumerate(found.actions[1:], start=2)
    ]
    document = {
        "scenario": ground.scenario.name,
        "today": _state(chain[0], trials),
        "strategies": _strategies(trials),
        "actions": [
            _action(number, found.actions, chain, alone[number], trials)
            for number in range(1, len(found.actions) + 1)
        ],
        "with_all": _state(chain[-1], trials),
        "undecided": _undecided(found, trials),
        "tried": [of for of, _ in _savings(found.alone, trials, trials.today)],
        "met": _met(trials, found.actions),
        "worth": vars(worth),
        "confidence": CONFIDENCE,
        "intervals_of": trials.sample.kind,
        "cells": sum(each.simulator.cells for each in trials.grounds.values()) + show.cells,
        "requests_simulated": sum(each.simulator.requests for each in trials.grounds.values())
        + show.requests,
    }
    last = chain[-1]
    promise = promise_of(last.load, last.strategy, last.runs, trials.sample, CONFIDENCE)
    return Advice(document, chain[0].load.case, last.load.case, last.strategy, last.runs, promise)


def grounds_at(
    path: Path, folder: Path, targets: Targets, options: PlanOptions, one_array: bool
) -> dict[bool, Ground]:
    """Today, and today on one pool if several can be one."""
    paths = {False: with_releases(path, folder / "base")}
    if (joint := one_pool(paths[False], folder / "one-pool", one_array)) is not None:
        paths[True] = joint
    loads = {key: load_of(each, {}, options.replications, options.warm_up_s) for key, each in paths.items()}
    plans.creates_of(loads[False])
    return grounds_of({key: Simulator(load, targets, options) for key, load in loads.items()}, targets)


def _one_pool(trials: Trials) -> str:
    """How several pools become one, in words; '' if they cannot."""
    if True not in trials.grounds:
        return ""
    to: dict[str, list[str]] = {}
    for host, one in joined(trials.grounds[False].scenario, trials.one_array).items():
        to.setdefault(one, []).append(host)
    return "one pool instead of several: " + "; ".join(
        f"{', '.join(hosts)} become {one}" for one, hosts in to.items() if len(hosts) > 1
    )


def limits_to_try(trials: Trials, targets: Targets) -> list[Mapping[str, Limits]]:
    """The limits of a plan, and those with the least cost in its grid; none without a cache to size."""
    simulator = trials.grounds[False].simulator
    load: Load = simulator.load
    scenario = trials.grounds[False].scenario
    strategy = scenario.todays_strategy()
    strategy = strategy if STRATEGIES[strategy].image_volume_cache_enabled else UNCACHED.get(strategy, "")
    if not strategy:
        return []
    only = {"strategies": (strategy,)}
    cases = [replace(each, scenario=each.scenario.model_copy(update=only)) for each in load.cases]
    try:
        plan = plans.search(replace(load, cases=cases), targets, simulator)
    except BadInput:  # image-volumes of this strategy do not fit
        return []
    table = plan.choosers[strategy].table
    cheap = cheapest(table, scenario, trials.worth, trials.months)
    return [cheap, plan.best.choice.backends]


class _Showing:
    """Writes scenarios of actions, and simulates what was written."""

    def __init__(self, trials: Trials, folder: Path, targets: Targets, options: PlanOptions) -> None:
        self.trials, self.folder, self.targets, self.options = trials, folder, targets, options
        self.cells = self.requests = 0

    def of(self, name: str, actions: Sequence[Action]) -> _Shown:
        """The scenario with some actions, as `actions/NAME.yaml`."""
        trials, state = self.trials, state_of(self.trials, actions)
        ground = trials.grounds[state.one_pool].simulator.load.plain.path
        target = self.folder / "actions" / f"{name}.yaml"
        write_scenario(ground, target, state.values, state.strategy)
        load = load_of(target, {}, self.options.replications, self.options.warm_up_s)
        simulator = Simulator(load, self.targets, self.options)
        (runs,) = simulator.run([Point((), state.strategy)])
        self.cells, self.requests = self.cells + simulator.cells, self.requests + simulator.requests
        file = str(target.relative_to(self.folder))
        return _Shown(file, load, state.strategy, runs, *self._gains(load, state.strategy, runs))

    def _gains(self, load: Load, strategy: str, runs: Runs) -> tuple[Gains, Units]:
        scenario, sample = load.case.scenario, self.trials.sample
        every = tiers_of(scenario, [runs])
        p95 = _p95(load, strategy, sample) if len(runs) == 1 else {}
        found: Gains = {}
        units: Units = {}
        prices = []
        for tier, of in every.items():
            name = tier or EVERY
            if tier:  # image-volumes cost something where nobody asks for an image, too
                price = sample.mean(of.prices(scenario))
                prices.append(Estimate(price.point[0], price.deviations[0]))
            values = of.values("create_s_p95")
            creates = of.units("creates", tier)
            if not creates.sum():
                continue
            hits, seconds, failed = of.units("clones", tier), of.units(MADE_S, tier), of.failures(tier)
            units[name] = {
                "hit_rate": hits[0],
                "p95_s": seconds[0],
                "waited_h_month": seconds[0],
                "errors": failed[0],
            }
            own = {
                "hit_rate": sample.ratio(hits, creates[0]),
                "waited_h_month": sample.total(seconds / HOUR_S / self.trials.months),
                "errors": sample.total(failed),
            }
            found[name] = {key: Estimate(each.point[0], each.deviations[0]) for key, each in own.items()}
            if tier:
                found[name]["price_month"] = prices[-1]
            if name in p95:
                found[name]["p95_s"] = p95[name]
            elif len(runs) > 1 and not np.isnan(values).any():
                mean = sample.mean(values)
                found[name]["p95_s"] = Estimate(mean.point[0], mean.deviations[0])
        found[EVERY]["price_month"] = sum(prices[1:], start=prices[0])
        return found, units


def _p95(load: Load, strategy: str, sample: Sample) -> dict[str, Estimate]:
    """By tier and EVERY: the 95th percentile of create seconds in one history."""
    requests = run(load.case, strategy, "fast").requests
    made = requests[(requests["status"] == "available") & (requests["time"] >= load.warm_up_s)]
    seconds = (made["end"] - made["time"]).to_numpy(float)
    block = load.blocks_of(made["time"].to_numpy(float))
    tiers = made["volume_type"].to_numpy(object)
    found = {}
    for tier in (*load.case.scenario.tiers, EVERY):
        here = np.ones(len(made), bool) if tier == EVERY else tiers == tier
        if here.any():
            found[tier] = sample.percentile(seconds[here], block[here], 95)
    return found


# -- the document --------------------------------------------------------------------------------------


def _told(of: Mapping[str, Estimate], sample: Sample) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in GAINS:
        if name in of:
            told = sample.interval(of[name], CONFIDENCE)
            found |= {name: told.mean, f"{name}_low": told.low, f"{name}_high": told.high}
        else:
            found |= dict.fromkeys((name, f"{name}_low", f"{name}_high"))
    return found


def _figures(of: _Shown, trials: Trials) -> dict[str, Any]:
    return {"tiers": of.told(trials.sample)}


def _state(of: _Shown, trials: Trials) -> dict[str, Any]:
    settings = kept(of.load.case.scenario)
    return {
        "strategy": of.strategy,
        "scenario": of.file,
        **_figures(of, trials),
        "settings": settings,
    }


def _gain(after: _Shown, before: _Shown, trials: Trials) -> dict[str, dict[str, Any]]:
    """By tier and EVERY: what is more, and what is less, with intervals of the paired difference."""
    return {
        tier: _told({name: of[name] - old[name] for name in of if name in old}, trials.sample)
        for tier, of in after.gains.items()
        if (old := before.gains.get(tier)) is not None
    }


def _action(
    number: int, actions: Sequence[Action], chain: Sequence[_Shown], alone: _Shown, trials: Trials
) -> dict[str, Any]:
    action = actions[number - 1]
    old, new = trials([state_of(trials, actions[:count]) for count in (number - 1, number)])
    pays_with_next = old is not None and new is not None and not trials.worth_it(new, old)
    after, before = chain[number], chain[number - 1]
    gain = _gain(after, before, trials)
    return {
        "number": number,
        "lever": action.lever.name,
        "action": action.option.words,
        "effort": action.lever.effort,
        "file": f"deploy/{action.lever.file}",
        "scenario": after.file,
        "alone_scenario": alone.file,
        "strategy": after.strategy,
        "values": {key: _json(value) for key, value in action.option.values.items()},
        "gain": gain,
        "alone": _gain(alone, chain[0], trials)[EVERY],
        "hurts": _hurts(after, before, trials),
        "pays_with_next": pays_with_next,
        **_figures(after, trials),
    }


def _json(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _hurts(after: _Shown, before: _Shown, trials: Trials) -> list[dict[str, Any]]:
    """The figures of single tiers that become worse beyond chance; a price is no hurt.

    One figure alone is worse if its own interval says so: that is a warning. Of many figures, some look
    worse by chance. So only those are `sure` that Holm's procedure rejects among all figures of the action,
    and that differ on enough days or in enough replications.
    """
    looked_at = []
    for tier, of in after.gains.items():
        for name in of:
            if tier != EVERY and name != "price_month" and name in before.gains.get(tier, {}):
                change = of[name] - before.gains[tier][name]
                rests_on = trials.rests_on(after.units[tier][name], before.units[tier][name])
                looked_at.append((tier, name, change, trials.sample.p_value(change), rests_on))
    beyond = holm([p_value if rests_on >= FEWEST else 1.0 for *_, p_value, rests_on in looked_at])
    found = []
    for (tier, name, change, *_), sure in zip(looked_at, beyond, strict=True):
        told = trials.sample.interval(change, CONFIDENCE)
        if (told.high if GAINS[name] else -told.low) < 0:
            figures = {"by": told.mean, "low": told.low, "high": told.high}
            found.append({"tier": tier, "figure": name, **figures, "sure": sure})
    return found


def _savings(tried: Sequence[Tried], trials: Trials, state: State) -> list[tuple[dict[str, Any], bool]]:
    """What each lever saves a month beside a state, in money, all intervals together; and whether it pays."""
    (now,) = trials([state])
    assert now is not None
    rows = []
    for action, outcome in tried:
        saved = trials.saved(outcome, now, len(tried))
        row = {
            "lever": action.lever.name,
            "action": action.option.words,
            "effort": action.lever.effort,
            "saves_month": saved.interval.mean,
            "saves_month_low": saved.interval.low,
            "saves_month_high": saved.interval.high,
            "rests_on": saved.rests_on,
            "of": saved.of,
            "largest": saved.largest,
            "needed": saved.needed,
            "lacks": outcome.short,
            "worth_it": trials.worth_it(outcome, now, len(tried)),
        }
        rows.append((row, trials.pays(outcome, now)))
    return rows


def _undecided(found: Found, trials: Trials) -> list[dict[str, Any]]:
    """The levers that would pay beside the actions, if that is no chance; what saves most comes first."""
    rows = _savings(found.beside, trials, state_of(trials, found.actions))
    undecided = [row for row, pays in rows if pays and not row["worth_it"]]
    return sorted(undecided, key=lambda row: -float(row["saves_month"]))


def _met(trials: Trials, actions: Sequence[Action]) -> bool:
    (last,) = trials([state_of(trials, actions)])
    return last is not None and last.short == 0


def _strategies(trials: Trials) -> list[dict[str, Any]]:
    """Each strategy of the scenario with today's limits."""
    scenario: Scenario = trials.grounds[False].scenario
    names = list(scenario.strategies)
    outcomes = trials([State(name) for name in names])
    rows = []
    for name, outcome in zip(names, outcomes, strict=True):
        if outcome is None:
            continue
        figures = [result.rows["all", ALL].figures for result in outcome.runs]
        mean = {
            key: float(np.mean([each[of] for each in figures]))
            for key, of in (
                ("hit_rate", "clone_hit_rate"),
                ("p95_s", "create_s_p95"),
                ("errors", "errors"),
                ("price_month", "price_month"),
            )
        }
        rows.append(
            {"strategy": name, **{key: None if np.isnan(value) else value for key, value in mean.items()}}
        )
    return rows
