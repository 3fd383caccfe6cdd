"""Runs a strategy on an engine: the only file that knows both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sim.inputs.cinders import INSTALLED, Cinder
from sim.inputs.problems import BadInput, quoted

if TYPE_CHECKING:
    from sim.inputs.scenario import Case, Scenario
    from sim.model.records import Records


ENGINES = ("cinder", "fast")
COMPILED_WEIGHERS = ("CapacityWeigher", "AllocatedCapacityWeigher", "VolumeNumberWeigher")


def run(
    case: Case,
    strategy: str,
    engine: str = "cinder",
    *,
    cinder: Cinder = INSTALLED,
    progress: Callable[[int], None] | None = None,
    cinder_log: bool = False,
    watch: bool = False,
    compact: bool = False,
) -> Records:
    """Simulate one strategy on the case's workload.

    Engine `cinder` runs what engine `fast` cannot (see `engine_of`). With another `cinder` than the installed
    one, engine `cinder` runs in a process of that Cinder's own. `progress` is called now and then with
    the number of finished trace events. `cinder_log` lets Cinder log. With `watch`, engine `cinder` checks
    invariants all the while, and `Records.broken` tells which did not hold. With `compact`, engine `fast`
    leaves columns of few names as categories, which take a tenth of the memory of texts. Raises `BadInput`
    for an unknown strategy or engine, and NotInstalled if the other Cinder cannot be installed.
    """
    if problems := unknown(engine, [strategy]):
        raise BadInput(problems)
    if cinder != INSTALLED:
        from sim.cinders.apart import run as run_apart

        return run_apart(case, strategy, cinder, progress, cinder_log=cinder_log, watch=watch)
    if watch:
        from sim.cinder.watch.parts import run as run_watched

        return run_watched(case, strategy, progress, cinder_log=cinder_log)
    if engine_of(case.scenario, engine) == "fast":
        from sim.fast.engine import run as run_fast

        return run_fast(case, strategy, progress, compact)
    from sim.cinder.engine import run as run_cinder

    return run_cinder(case, strategy, progress, cinder_log=cinder_log)


def engine_of(scenario: Scenario, engine: str) -> str:
    """The engine that runs a scenario if `engine` is asked for: `cinder` for what `fast` has not compiled."""
    return "cinder" if engine == "fast" and not_compiled(scenario) else engine


def not_compiled(scenario: Scenario) -> list[str]:
    """What a scenario has that engine `fast` has not compiled: keys with their values."""
    from sim.inputs.schedulers import FILTERS  # slow to import, and the help needs this file

    filters = scenario.acting_filters()
    weighers = [name for name in scenario.acting_weighers() if name not in COMPILED_WEIGHERS]
    found = []
    if filters != FILTERS:
        found.append(f"cinder.scheduler_default_filters: {', '.join(filters) or 'none'}")
    if weighers:
        found.append(f"cinder.scheduler_default_weighers: {', '.join(weighers)}")
    return found


def not_comparable(case: Case) -> list[str]:
    """A line for each key that only engine `cinder` can run, so that there are no two runs to compare."""
    return [f"{case.path}: {key}: engine fast cannot run this" for key in not_compiled(case.scenario)]


def unknown(engine: str, strategies: Iterable[str]) -> list[str]:
    """A line for an engine and for each strategy that there is not."""
    from sim.inputs.strategies import STRATEGIES

    problems = [
        f"strategy: there is no {quoted(name)}, only {', '.join(STRATEGIES)}"
        for name in strategies
        if name not in STRATEGIES
    ]
    if engine not in ENGINES:
        problems.append(f"engine: there is no {quoted(engine)}, only {', '.join(ENGINES)}")
    return problems
