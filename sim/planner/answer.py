"""The answer: a plan as a document and as tables, with its back-test and its sensitivity."""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pandas as pd

from sim.analysis.pareto import frontier
from sim.analysis.pool import results
from sim.analysis.verification import difference
from sim.inputs.beside import beside
from sim.inputs.cells import csv_text
from sim.inputs.kept import kept
from sim.inputs.limits import todays
from sim.inputs.scenario import Case
from sim.model.records import Records
from sim.planner.explored import Explored, explored
from sim.planner.figures import add_p95, figures
from sim.planner.grid import chosen_point
from sim.planner.hindsight import back_test
from sim.planner.lines import conf_lines, quota_binds, quota_commands, quotas
from sim.planner.promise import promised_load
from sim.planner.reasons import binding, runners_up
from sim.planner.search import ENOUGH, Plan, search
from sim.planner.sensitivity import sensitivity
from sim.planner.simulator import PlanOptions, Simulator, load_of
from sim.planner.targets import Targets
from sim.run import run
from sim.sweep.results import ALL
from sim.sweep.varying import apply


@dataclass(frozen=True)
class Whole:
    """A run of a plan's first replication, with its tables."""

    case: Case
    strategy: str
    records: Records


@dataclass(frozen=True)
class Answer:
    """A plan.

    `document`: the whole plan as JSON, with stable keys. `candidates`: all limits that were simulated.
    `frontier`: those candidates that no other beats in both space and hits. `today` and `planned`: full runs
    with today's settings and with the plan. `explored`: all points that were simulated as a whole.
    `drawn`: see `answer_of`.
    """

    document: dict[str, Any]
    candidates: pd.DataFrame
    frontier: pd.DataFrame
    today: Whole
    planned: Whole
    explored: Explored
    drawn: Any = None

    def write(self, folder: Path) -> None:
        """Write `plan.json`, `candidates.csv` and `frontier.csv`, in one step. Raises OSError."""
        texts = {
            "candidates.csv": csv_text(self.candidates),
            "frontier.csv": csv_text(self.frontier),
            "plan.json": json.dumps(self.document, indent=2, allow_nan=False) + "\n",
        }
        with beside(*(folder / name for name in texts)) as new:
            for path, text in zip(new, texts.values(), strict=True):
                path.write_text(text, encoding="utf-8")


def answer_of(
    path: Path, targets: Targets, options: PlanOptions, draw: Callable[[Answer], Any] | None = None
) -> Answer:
    """Choose the strategy and the limits of every backend's cache for a scenario. Raises BadInput.

    `draw`: called in a thread with the answer, whose document ends with `settings`: the check by Cinder's
    code, other inputs and the counts are not there yet. `Answer.drawn` is what it returns.
    """
    changes: dict[str, Any] = {} if options.growth == 1 else {"workload.growth": options.growth}
    load = load_of(path, changes, options.replications, options.warm_up_s)
    rest = None
    if options.train is not None:
        cut_s = options.train * load.case.last_create_s
        rest = Simulator(replace(load, warm_up_s=cut_s), targets, options)
        load = load_of(path, {**changes, "workload.until": cut_s}, options.replications, options.warm_up_s)
    simulator = Simulator(load, targets, options)
    plan = search(load, targets, simulator)
    case, strategy = planned_case(plan), plan.best.choice.strategy
    with closing(_run_by_cinder(case, strategy, options)) as checking, ThreadPoolExecutor(1) as thread:
        settled = thread.submit(_settled, plan, case, draw)
        sensitive = sensitivity(plan, simulator)
        tested = {} if rest is None else {"back_test": back_test(plan, rest)}
        answer = settled.result()
        told: dict[str, Any] = {"checked_by_cinder": checked(next(checking), answer.planned.records)}
    told |= {"sensitivity": sensitive, **tested}
    every = [simulator] if rest is None else [simulator, rest]
    told["cells"] = sum(each.cells for each in every)
    told["requests_simulated"] = sum(each.requests for each in every)
    return replace(answer, document=answer.document | told)


def _settled(plan: Plan, case: Case, draw: Callable[[Answer], Any] | None) -> Answer:
    """What this process makes of a plan alone, while others check it and try other inputs."""
    today, planned = whole(plan.load.case, plan.todays_strategy), whole(case, plan.best.choice.strategy)
    told, candidates = document(plan, today, planned), candidates_table(plan)
    points = explored(plan, told["today"]["tiers"])
    answer = Answer(told, candidates, frontier_table(candidates), today, planned, points)
    return answer if draw is None else replace(answer, drawn=draw(answer))


def whole(case: Case, strategy: str) -> Whole:
    """Run a strategy on engine `fast`."""
    return Whole(case, strategy, run(case, strategy, "fast"))


def document(plan: Plan, today: Whole, planned: Whole) -> dict[str, Any]:
    """The document of a plan, with stable keys, as JSON can hold it.

    `today` and `planned` are full runs of engine `fast`.
    """
    task, records = plan.task, planned.records
    scenario, confidence = task.scenario, task.targets.shown_confidence
    best = figures(plan.best.runs, scenario, task.sample, confidence)
    now = figures(plan.today, scenario, task.sample, confidence)
    if len(plan.load.cases) == 1:
        for told, its in ((best, records), (now, today.records)):
            add_p95(told, its.requests, plan.load, task.sample, confidence)
    quota = quotas(plan)
    return {
        "scenario": scenario.name,
        "changes": dict(plan.load.changes),
        "met": plan.met,
        "strategy": plan.best.choice.strategy,
        "backends": {
            name: {**limits.options, **best["backends"][name]}
            for name, limits in plan.best.choice.backends.items()
        },
        "tiers": best["tiers"],
        "today": {
            "strategy": plan.todays_strategy,
            "backends": {
                name: {**todays(backend).options, **now["backends"][name]}
                for name, backend in scenario.backends.items()
            },
            "tiers": now["tiers"],
        },
        "targets": [
            {
                "constraint": each.kind,
                "where": each.where,
                "bound": each.bound,
                "asked": each.given,
                "met": margin >= ENOUGH,
                "text": each.text,
            }
            for each, margin in plan.best.margins.items()
        ],
        "binding": [*binding(plan, records, planned.case), *quota_binds(plan, quota)],
        "runners_up": runners_up(plan),
        "cinder_conf": conf_lines(plan),
        "quota": {**quota, "commands": quota_commands(quota)},
        "confidence": task.targets.confidence,
        "intervals": {"of": task.sample.kind, "units": task.sample.units, "confidence": confidence},
        **promised_load(plan.load, records.requests),
        "warm_up_s": plan.load.warm_up_s,
        "settings": kept(scenario),
    }


def _run_by_cinder(case: Case, strategy: str, options: PlanOptions) -> Generator[Records]:
    """The run of engine `cinder`: if there are several processes here, one of them begins with it now."""
    with joblib.parallel_config("loky", n_jobs=options.workers if options.dask is None else 1):
        return results(run, [(case, strategy, "cinder")])


def checked(by_cinder: Records, records: Records) -> dict[str, Any]:
    """Whether engine `cinder` ran the plan as engine `fast` did."""
    parted = difference(by_cinder, records)
    return {"requests": len(by_cinder.requests), "equal": parted is None, "difference": parted or ""}


def planned_case(plan: Plan) -> Case:
    """The first replication of the load, with the plan's limits and without quotas."""
    point = chosen_point(plan.best.choice.strategy, plan.best.choice.backends, plan.load.common)
    return replace(plan.load.case, scenario=apply(plan.load.case.scenario, dict(point.values)))


# -- tables --------------------------------------------------------------------------------------------


def candidates_table(plan: Plan) -> pd.DataFrame:
    """One row for each strategy, backend and pair of limits that was simulated, for `sim.planner.pickers`.

    Columns: strategy, backend, Cinder's three options; hit_rate (of the backend's creates), hit_rate_low and
    _high, p95_s, errors (creates that failed, from an image or not), space_gib_mean, space_gib_peak
    (provisioned, of image-volumes), volumes_peak (all volumes), price_month.
    """
    scenario, sample = plan.task.scenario, plan.task.sample
    factor = sample.factor(plan.task.targets.shown_confidence)
    parts = []
    for strategy, chooser in plan.choosers.items():
        table = chooser.table
        pairs = [(group, name) for group, members in table.groups.items() for name in members]
        for group, name in pairs:
            measured = table.backends[name]
            rate = sample.ratio(measured.units("clones", ALL), measured.units("creates", ALL))
            spread = factor * np.linalg.norm(rate.deviations, axis=-1)
            columns = {
                "hit_rate": rate.point,
                "hit_rate_low": rate.point - spread,
                "hit_rate_high": rate.point + spread,
                "p95_s": measured.mean("create_s_p95"),
                "errors": measured.failed(ALL).mean(axis=1),
                "space_gib_mean": measured.mean("image_provisioned_gib_mean"),
                "space_gib_peak": measured.peak("image_provisioned_gib_peak"),
                "volumes_peak": measured.volumes_peak(),
                "price_month": measured.prices(scenario).mean(axis=1),
            }
            options = pd.DataFrame([limits.options for limits in table.limits[group]])
            about = pd.DataFrame({"strategy": strategy, "backend": name}, index=options.index)
            parts.append(pd.concat([about, options, pd.DataFrame(columns)], axis=1))
    return pd.concat(parts, ignore_index=True)


def frontier_table(candidates: pd.DataFrame) -> pd.DataFrame:
    """The Pareto front of each strategy and backend: limits that no others beat in both space and hits."""
    parts = [frontier(of) for _, of in candidates.groupby(["strategy", "backend"], sort=False)]
    return pd.concat(parts, ignore_index=True)
