"""Load a scenario, run a strategy, compare strategies, size caches, generate a workload and fit one.

Everything heavy is imported where it is needed: Cinder alone takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

from sim.inputs.problems import BadInput
from sim.run import not_comparable, not_compiled, run, unknown

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from sim.analysis.comparison import Comparison
    from sim.analysis.curves import Curves
    from sim.analysis.size import Size
    from sim.analysis.streaming import Streamed
    from sim.analysis.verification import Verdict
    from sim.fitting.fit import Fit
    from sim.inputs.scenario import Case
    from sim.planner.answer import Answer
    from sim.planner.storm import Ask
    from sim.planner.storm_answer import StormAnswer
    from sim.planner.targets import Targets
    from sim.sweep.cluster import Scheduler


def load(
    path: str | Path,
    most_events: int | None = None,
    replication: int = 0,
    *,
    most_drawn: int | None = None,
) -> Case:
    """Read and check a scenario and all files that it names.

    A Parquet trace of more than `most_events` events stays on disk, for `stream`. `replication` is the number
    of the draw of a generated workload. One of about more than `most_drawn` events is not drawn, and its case
    has none. Raises `sim.inputs.problems.BadInput`, whose `problems` list every
    problem of all files.
    """
    from sim.workload.loading import load as load_case

    return load_case(path, most_events, replication, most_drawn=most_drawn)


def size_of(case: Case) -> Size:
    """How large the workload of a case is. A trace that stays on disk is read and checked in parts.

    Raises `BadInput` with the problems of its first bad part.
    """
    from sim.analysis.size import size_of as size

    return size(case)


def generate(path: str | Path, out: str | Path, replication: int = 0) -> list[Path]:
    """Write the workload of a scenario as a trace, for `workload: {trace: …}`. Returns the files written.

    The trace is Parquet if `out` ends in `.parquet`, else CSV. If the workload has images that the scenario
    does not have, `images.csv` next to the trace has all images. Raises `BadInput` as `load` does, and if a
    file of the scenario would be overwritten.
    """
    from sim.workload.writing import write

    return write(path, out, replication)


def fit(trace: str | Path, images: str | Path | None = None) -> Fit:
    """Fit the parameters of `workload: {generate: …}` to a trace, with the goodness of each fit.

    `images` is the image list of the trace. It says which images are private, raw, or versions of one line.
    Raises `BadInput` with the problems of both files.
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
    """Simulate a trace larger than memory with engine `fast`, and write its long tables into `folder`.

    `case` comes from `load(path, most_events)`, which left its trace on disk. Raises `BadInput` for an
    unknown strategy, for what engine `fast` cannot run, and for problems in the trace as soon as it meets
    them.
    """
    large = [f"{case.path}: {key}: needs a trace that fits in memory" for key in not_compiled(case.scenario)]
    if problems := unknown("fast", [strategy]) + large:
        raise BadInput(problems)
    from sim.analysis.streaming import stream as stream_fast

    return stream_fast(case, strategy, folder, fmt, progress)


def compare(case: Case, strategies: Iterable[str] | None = None, engine: str = "cinder") -> pd.DataFrame:
    """Simulate several strategies (None: the scenario's) on the same workload.

    Returns those of `sim.analysis.metrics.summary` for each row of `sim.analysis.rows.rows_of`: the
    strategies and, where the scenario says what runs today, `today` and `cache-everywhere`. Raises
    `BadInput` as `run` does, before the first run.
    """
    import pandas as pd

    from sim.analysis.metrics import summary
    from sim.analysis.rows import rows_of

    names = list(strategies or case.scenario.strategies)
    if problems := unknown(engine, names):
        raise BadInput(problems)
    rows = [summary(run(row.case, row.strategy, engine), row.case, row.name) for row in rows_of(case, names)]
    return pd.concat(rows, ignore_index=True)


def intervals(
    case: Case,
    strategies: Iterable[str] | None = None,
    engine: str = "cinder",
    *,
    replications: int = 1,
    warm_up_s: float = 0.0,
) -> Comparison:
    """Confidence intervals of strategies (None: the scenario's) and of their differences.

    With `replications` above 1, they come from replications of a generated workload, which run on all cores.
    Else they come from blocks of the history (see `sim.analysis.comparison.Comparison`). Creates before
    `warm_up_s` are left out. Raises `BadInput` as `run` does, and for replications of a trace; RuntimeError
    if a replication fails.
    """
    from sim.analysis import comparison
    from sim.analysis.rows import rows_of
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
    for row in rows_of(case, names):
        requests = comparison.counted(run(row.case, row.strategy, engine), warm_up_s).requests
        counts.append(comparison.in_blocks(requests, case.scenario.tiers, row.name, blocks))
    return comparison.of_history(counts, blocks, case.scenario.seed)


def verify(case: Case, strategies: Iterable[str] | None = None) -> list[Verdict]:
    """Simulate strategies (None: the scenario's) on both engines and compare all results.

    Returns a `sim.analysis.verification.Verdict` for each strategy. Raises `BadInput` as `run` does, before
    the first run, and for a scenario that engine `fast` cannot run.
    """
    from sim.analysis.verification import verdict

    names = list(dict.fromkeys(strategies or case.scenario.strategies))
    if problems := unknown("cinder", names) + not_comparable(case):
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

    `sim.analysis.curves.curve` says how they are computed and what they leave out. The engine runs only to
    place creates that have no host. Raises `BadInput` as `run` does, and for a strategy without a cache.
    """
    if problems := unknown(engine, [strategy]):
        raise BadInput(problems)
    from sim.analysis.curves import curve as curve_of

    return curve_of(case, strategy, sizes_gib, engine, progress=progress)


def storm(case: Case, ask: Ask, strategy: str | None = None, engine: str = "fast") -> StormAnswer:
    """Simulate many creates at one instant, such as `storm(case, Ask(500, image="ubuntu-22.04"))`.

    `strategy`: the one to look at closely; None: what the cloud uses today, and the times of all. Raises
    `BadInput` for what the scenario does not have.
    """
    if problems := unknown(engine, [strategy] if strategy else []):
        raise BadInput(problems)
    from sim.planner.storm_answer import answer

    return answer(case, ask, strategy, engine)


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
    dask: Scheduler | str | None = None,
    progress: Callable[[int, int], None] | None = None,
    draw: Callable[[Answer], Any] | None = None,
) -> Answer:
    """Choose the strategy and the limits of every backend's cache, such as
    `plan("scenario.yaml", Targets(hit_rate={"flash": 0.9}))`.

    - growth: multiplies the load.
    - train: share of the time until the last create to plan on; the rest tests the plan.
    - replications: draws of a generated workload.
    - warm_up_s: earlier creates do not count.
    - folder: keeps the finished cells; see `sim.sweep.sweep.sweep` for it, `workers` and `dask`.
    - progress: called with the number of finished cells and of all cells so far.
    - draw: see `sim.planner.answer.answer_of`.

    Raises `BadInput`.
    """
    from pathlib import Path

    from sim.planner.answer import answer_of
    from sim.planner.simulator import PlanOptions

    options = PlanOptions(growth, train, replications, warm_up_s, folder, workers, dask, progress)
    return answer_of(Path(path), targets, options, draw)
