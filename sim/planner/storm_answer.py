"""The answer to a storm: times by strategy, what runs out first, and what helps."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.model.initial import misfits
from sim.planner.storm import Ask, Outcome, Storms, bad_numbers, images_of, instant, problems_of, tiers_of
from sim.planner.storm_levers import SHORTENS, Help, help_of, levers_of
from sim.planner.storm_shares import Shares, shares_of, states_over_time
from sim.run import engine_of

TIMES = ("strategy", "up_50_s", "up_95_s", "up_100_s", "over_boot_timeout", "late", "failed", "creates")


@dataclass(frozen=True)
class StormAnswer:
    """What a storm does.

    - times: a row for each strategy: TIMES. `up_50_s` is when half of the servers were up; infinite: never.
    - strategy: the one that the rest is about.
    - shares, states: see `sim.planner.storm_shares`; None if engine `fast` cannot run the scenario.
    - helps: see `sim.planner.storm_levers.Help`.
    - creates: a row for each create: the server, the volume, `time_s` and `end_s` from the storm's instant.
    """

    case: Case = field(repr=False)
    ask: Ask
    engine: str
    strategy: str
    within_s: float
    images: list[str]
    tiers: list[str]
    times: pd.DataFrame
    shares: Shares | None
    states: pd.DataFrame | None
    helps: Help
    up_s: pd.DataFrame
    at_s: float
    runs: int

    @property
    def runs_out(self) -> dict[str, Any] | None:
        """The shared thing whose relief shortens the storm most; None if that of none does."""
        if self.shares is None:
            return None
        rows = self.helps.table
        good = list(rows.loc[rows["effect"] == SHORTENS, "lever"])
        of = {lever.words: lever.name for lever in levers_of(self.case.scenario, self.strategy)}
        for words in good:  # the best first
            named = [of[words] in levers.split(";") for levers in self.shares.table["levers"]]
            short = self.shares.table[named]
            short = short[(short["waited_s"] > 0) | (short["refused"] > 0) | (short["busy"] > 0)]
            if len(short):
                short = short.sort_values(["refused", "waited_s", "busy"], ascending=False, kind="stable")
                first = {str(name): value for name, value in short.iloc[0].items()}
                same = short[(short["resource"] == first["resource"]) & (short["limit"] == first["limit"])]
                first["where"] = ", ".join(same.loc[same["refused"].gt(0) == (first["refused"] > 0), "where"])
                first["refused"], first["waited_s"] = (
                    int(same["refused"].sum()),
                    float(same["waited_s"].sum()),
                )
                return {"lever": words, **first}
        return None


def answer(case: Case, ask: Ask, strategy: str | None, engine: str) -> StormAnswer:
    """Simulate a storm under the scenario's strategies, and say what it lacks under one of them.

    `strategy`: the one to look at; None: what runs today. Raises `BadInput`.
    """
    problems = bad_numbers(ask)
    chosen = strategy or case.scenario.todays_strategy()
    problems += problems or problems_of(ask, case)
    names = [strategy] if strategy else list(dict.fromkeys([*case.scenario.strategies, chosen]))
    problems = list(dict.fromkeys(problems)) or misfits(case, names)
    if problems:
        raise BadInput(problems)
    storms = Storms(case, ask, engine)
    outcomes = {name: storms.play(name, {}) for name in names}
    times = pd.DataFrame([_times(case, name, of) for name, of in outcomes.items()], columns=list(TIMES))
    at = instant(case, ask)
    shares = states = None
    if engine_of(case.scenario, "fast") == "fast":
        noted = Storms(case, ask).play(chosen, {}, noted=True)
        if not np.array_equal(noted.up_s, outcomes[chosen].up_s):
            raise RuntimeError("engine fast and engine cinder differ: cinder-cache verify shows where")
        shares = shares_of(noted, at)
        states = states_over_time(shares, noted)
    helps = help_of(storms, chosen, outcomes[chosen])
    up_s = pd.DataFrame({"server": range(ask.creates), "up_s": outcomes[chosen].up_s})
    return StormAnswer(
        *(case, ask, engine, chosen, storms.within_s, images_of(case, ask), tiers_of(case.scenario, ask)),
        *(times, shares, states, helps, up_s, at, storms.runs),
    )


def _times(case: Case, name: str, outcome: Outcome) -> tuple[object, ...]:
    timeout = case.scenario.boot_timeout_s
    over = int(((outcome.up_s > timeout) & np.isfinite(outcome.up_s)).sum())
    shares = (outcome.at(0.5), outcome.at(0.95), outcome.at(1.0))
    return name, *shares, over, outcome.late, outcome.failed, outcome.creates


def tables_of(found: StormAnswer) -> dict[str, pd.DataFrame]:
    """The tables that a folder of a storm has, by name."""
    tables = {"times": found.times, "levers": found.helps.table, "servers": found.up_s}
    if found.shares is not None and found.states is not None:
        tables |= {"shares": found.shares.table, "states": found.states, "bands": found.shares.bands}
    return {name: table.replace([math.inf], np.nan) for name, table in tables.items()}
