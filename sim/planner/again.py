"""Whether other limits of the caches would be much better now: a plan on a sliding window of the history.

`python -m sim.planner.again` is the child process of a watch (`sim.live.again`). A line on stdin has what is
asked, and stdout gets the answer. It ends when stdin is closed, because the watch is then gone.
"""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from sim.importers import calibration
from sim.importers.importing import Given, import_cloud
from sim.inputs.beside import remove_all, temporary_folder
from sim.inputs.conf import limits_of
from sim.inputs.problems import BadInput, Problems
from sim.inputs.scenario import Case
from sim.live import promise as promises
from sim.live.promise import ALL, Promise
from sim.live.settings import Settings
from sim.planner.advise import grounds_at, limits_to_try
from sim.planner.advise_greedy import best_of_each
from sim.planner.advise_levers import Known, levers_of
from sim.planner.advise_trials import DEFAULT, Trials
from sim.planner.promise import asked
from sim.planner.simulator import PlanOptions
from sim.planner.targets import Targets
from sim.planner.verdict import load_changes

DAY_S = 86_400.0
WINDOW_DAYS = 42  # what is older does not count
HALF_LIFE_DAYS = 14  # so old a day counts half as much as the last one
LARGE = 0.1  # of what the cloud costs a month: less is not worth a change of limits


def again(given: Given, promise: Promise | None = None) -> dict[str, Any]:
    """Plan the limits of the caches anew on the last days of a cloud's database. Raises BadInput.

    `large`: whether other limits save much, beyond chance. `backends`: these limits, by Cinder's names.
    `saves_month` and its interval, and `costs_month`, are in the money of `Worth`. `why`: what has changed.
    """
    end = given.until or datetime.now(UTC)
    window = replace(given, since=end - timedelta(days=WINDOW_DAYS), until=end)
    with temporary_folder() as name:
        folder = Path(name)
        import_cloud(folder / "import", window)
        path, _ = calibration.fitted(folder / "import")
        targets, options = Targets(), PlanOptions(folder=folder / "plan", workers=1)
        trials = Trials(
            grounds_at(path, folder / "plan", targets, options, one_array=False),
            DEFAULT,
            one_array=False,
            half_life_days=HALF_LIFE_DAYS,
        )
        return _document(trials, targets, list(_why(trials, given, promise)))


def _document(trials: Trials, targets: Targets, why: list[str]) -> dict[str, Any]:
    case, state = trials.grounds[False].simulator.load.case, trials.today
    known = Known(case, limits_to_try(trials, targets), one_pool="")
    every = levers_of(case.scenario, state.strategy, known)
    wanted = [each for each in every if each.name == "limits" or each.name.startswith("cache on")]
    (now,) = trials([state])
    assert now is not None
    document = {
        "at": datetime.now(UTC).isoformat(),
        "days": trials.of,
        "large": False,
        "costs_month": now.cost,
        "why": why,
    }
    tried = best_of_each(trials, state, wanted)
    if not tried:
        return document
    action, best = min(tried, key=lambda each: each[1].rank)
    saved = trials.saved(best, now, len(tried))
    large = trials.worth_it(best, now, len(tried)) and saved.interval.mean >= LARGE * now.cost
    limits = limits_of(trials.scenario(best.state), best.state.strategy)
    return document | {
        "large": large,
        "action": action.option.words,
        "backends": {name: each.options for name, each in limits.items()},
        "saves_month": saved.interval.mean,
        "saves_month_low": saved.interval.low,
        "saves_month_high": saved.interval.high,
    }


def _why(trials: Trials, given: Given, promise: Promise | None) -> Iterator[str]:
    """What explains that other limits are better: settings, load and images that are not as before."""
    if promise is not None:
        settings = Settings(given.conf, given.services, promise)
        settings.read()
        yield from (str(each) for each in settings.differences(None) if each.drifted)
    load = trials.grounds[False].simulator.load
    creates = _creates(load.case)
    before = dict(promise.load.get(ALL, {})) if promise is not None else {}
    days, since = trials.of, 0.0
    if not before and days > HALF_LIFE_DAYS:  # the last days beside those before them
        since = (days - HALF_LIFE_DAYS) * DAY_S
        old = creates[creates["time"] < since]
        found = asked(old["time"].to_numpy(float), old["image_id"].to_numpy(object), 0.0, since)
        before = {key: value for key, value in found.items() if value is not None}
    recent = creates.assign(time=creates["time"] - since)
    for each in load_changes(ALL, before, recent, days - since / DAY_S):
        yield str(each["text"])


def _creates(case: Case) -> Any:
    events = case.trace.events
    mine = events[(events["event"] == "create") & (events["image_id"] != "")]
    return mine[["time", "image_id"]].astype({"image_id": "str"})


# -- the child process ---------------------------------------------------------------------------------


def main() -> None:
    """Answer one question."""
    question = json.loads(sys.stdin.readline())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        problems = Problems()
        path = question["promise"]
        promise = promises.read(Path(path), problems) if path else None
        problems.raise_any()
        given = Given(
            conf=[Path(each) for each in question["conf"]],
            services=[[Path(each) for each in files] for files in question["services"]],
            db=question["db"],
        )
        document = again(given, promise)
    except BadInput as error:
        document = {"problems": error.problems}
    except Exception as error:  # the watch says what it was, and goes on
        document = {"problems": [" ".join(f"{type(error).__name__}: {error}".split())]}
    print(json.dumps(document, default=np.generic.item, allow_nan=False))


def _end_with_parent() -> None:
    sys.stdin.read()
    remove_all()
    os._exit(0)


if __name__ == "__main__":
    main()
