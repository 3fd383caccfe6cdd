"""Load a scenario, run a strategy, compare strategies, size caches, generate a workload and fit one.

Everything heavy is imported where it is needed: Cinder alone takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Literal

from sim.inputs.problems import BadInput
from sim.run import run, unknown

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves
    from sim.analysis.streaming import Streamed
    from sim.analysis.verification import Verdict
    from sim.fitting.fit import Fit
    from sim.inputs.scenario import Case
    from sim.planner.answer import Answer
    from sim.planner.targets import Targets


def load(path: str | Path, most_events: int | None = None, replication: int = 0) -> Case:
    """Read and check a scenario and all files that it names.

    A Parquet trace of more than `most_events` is left on disk, for `stream`. `replication` is which draw of a
    generated workload. Raises `sim.inputs.problems.BadInput`, whose `problems` are all that is wrong in all
    of them.
    """
    from sim.workload.loading import load as load_case

    return load_case(path, most_events, replication)


def generate(path: str | Path, out: str | Path, replication: int = 0) -> list[Path]:
    """Write the workload of a scenario as a trace (Parquet if `out` ends so), for `workload: {trace: …}`.

    Images that the scenario does not have are written beside it, with all others, as `images.csv`. Gives
    the files written. Raises `BadInput` as `load` does, and if it would overwrite what the scenario reads.
    """
    from sim.workload.writing import write

    return write(path, out, replication)


def fit(trace: str | Path, images: str | Path | None = None) -> Fit:
    """The parameters of `workload: {generate: …}` out of a trace, with how good each fit is.

    `images`, the trace's image list, tells which images are private, raw, or versions of one line. Raises
    `BadInput` with what is wrong in either.
    """
    from sim.fitting.fit import fit as fit_trace

    return fit_trace(trace, images)


def stream(
    case: Case,
    strategy: str,
    folder: Path,
    fmt: Literal["csv", "parquet"] = "parquet",
    progress: Callable[[int], None] | None = None,
) -> Streamed:
    """Simulate a trace larger than memory with engine `fast`; its long tables are written into `folder`.

    `case` is one of `load(path, most_events)` that left its trace on disk. Raises `BadInput` on an unknown
    strategy, or with what is wrong in the trace, wherever it is met.
    """
    if problems := unknown("fast", [strategy]):
        raise BadInput(problems)
    from sim.analysis.streaming import stream as stream_fast

    return stream_fast(case, strategy, folder, fmt, progress)


def compare(case: Case, strategies: Iterable[str] | None = None, engine: str = "cinder") -> pd.DataFrame:
    """Simulate several strategies (None: the scenario's) on the same workload.

    Gives the rows of `sim.analysis.metrics.summary` of each, one below the other. Raises `BadInput`
    as `run` does, before the first run.
    """
    import pandas as pd

    from sim.analysis.metrics import summary

    names = list(dict.fromkeys(strategies or case.scenario.strategies))
    if problems := unknown(engine, names):
        raise BadInput(problems)
    rows = [summary(run(case, name, engine), case, name) for name in names]
    return pd.concat(rows, ignore_index=True)


def intervals(
    case: Case,
    strategies: Iterable[str] | None = None,
    engine: str = "cinder",
    *,
    replications: int = 1,
    warm_up_s: float = 0.0,
) -> Comparison:
    """How sure the figures of strategies (None: the scenario's) and their differences are.

    Over replications of a generated workload, run on all cores, or, of one, over blocks of the history (see
    `sim.analysis.comparison.Comparison`). Creates before `warm_up_s` are left out. Raises `BadInput` as
    `run` does, and on replications of a trace; RuntimeError if a replication fails.
    """
    from sim.analysis import comparison
    from sim.analysis.statistics import Blocks

    names = list(dict.fromkeys(strategies or case.scenario.strategies))
    problems = unknown(engine, names)
    if replications > 1 and case.scenario.workload.generate is None:
        problems.append(f"{case.path}: a trace has one history: replications need workload.generate")
    if problems:
        raise BadInput(problems)
    if replications > 1:
        found = comparison.replicate_all(case.path, names, engine, range(replications), warm_up_s)
        if failed := [text for one in found for text in one.values() if isinstance(text, str)]:
            raise RuntimeError(failed[0])
        return comparison.of_replications(comparison.without_failed(found), warm_up_s)
    blocks = Blocks.between(warm_up_s, case.last_create_s)
    counts = []
    for name in names:
        requests = comparison.counted(run(case, name, engine), warm_up_s).requests
        counts.append(comparison.in_blocks(requests, case.scenario.tiers, name, blocks))
    return comparison.of_history(counts, blocks, case.scenario.seed)


def verify(case: Case, strategies: Iterable[str] | None = None) -> list[Verdict]:
    """Simulate strategies (None: the scenario's) on both engines and compare all that they give.

    Gives a `sim.analysis.verification.Verdict` of each. Raises `BadInput` as `run` does, before the first
    run.
    """
    from sim.analysis.verification import verdict

    names = list(dict.fromkeys(strategies or case.scenario.strategies))
    if problems := unknown("cinder", names):
        raise BadInput(problems)
    return [verdict(case, name) for name in names]


def curve(
    case: Case,
    strategy: str = "cache-only",
    sizes_gib: Iterable[int] | None = None,
    engine: str = "cinder",
    *,
    progress: Callable[[int], None] | None = None,
) -> Curves:
    """Hits and byte hits against the limits of the cache, per pool and tier, and the working sets.

    What they are and what they leave out: `sim.analysis.curves.curve`. The engine runs only to place creates
    that have no host. Raises `BadInput` as `run` does, and on a strategy that has no cache.
    """
    if problems := unknown(engine, [strategy]):
        raise BadInput(problems)
    from sim.analysis.curves import curve as curve_of

    return curve_of(case, strategy, sizes_gib, engine, progress=progress)


def plan(
    path: str | Path,
    targets: Targets,
    *,
    growth: float = 1.0,
    train: float | None = None,
    replications: int = 1,
    warm_up_s: float = 0.0,
    folder: Path | None = None,
    workers: int = -1,
) -> Answer:
    """Choose the strategy and the limits of every backend's cache, such as
    `plan("scenario.yaml", Targets(hit_rate={"flash": 0.9}))`.

    What the options are, and what comes back: `sim.planner.answer.plan`. Raises `BadInput`.
    """
    from sim.planner.answer import plan as make

    return make(
        path,
        targets,
        growth=growth,
        train=train,
        replications=replications,
        warm_up_s=warm_up_s,
        folder=folder,
        workers=workers,
    )
