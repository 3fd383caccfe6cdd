"""Runs a strategy on an engine: the only file that knows both."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from sim.inputs.problems import BadInput, quoted

if TYPE_CHECKING:
    from sim.inputs.scenario import Case
    from sim.model.records import Records


ENGINES = ("cinder", "fast")


def run(
    case: Case,
    strategy: str,
    engine: str = "cinder",
    *,
    progress: Callable[[int], None] | None = None,
    cinder_log: bool = False,
) -> Records:
    """Simulate one strategy on the case's workload.

    `progress` is called now and then with the number of finished trace events. `cinder_log` lets Cinder log.
    Raises `BadInput` for an unknown strategy or engine.
    """
    if problems := unknown(engine, [strategy]):
        raise BadInput(problems)
    if engine == "fast":
        from sim.fast.engine import run as run_fast

        return run_fast(case, strategy, progress)
    from sim.cinder.engine import run as run_cinder

    return run_cinder(case, strategy, progress, cinder_log=cinder_log)


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
