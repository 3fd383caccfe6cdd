"""Run every cell of a sweep once, on all cores or on a cluster, and keep each as soon as it is finished."""

from __future__ import annotations

import hashlib
import itertools
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from sim.analysis.pool import results
from sim.cinders import answering
from sim.cinders.apart import ready
from sim.cinders.environments import identity
from sim.fast.engine import Prepared
from sim.inputs.beside import beside, remove_left
from sim.inputs.cinders import Cinder, CinderFailed
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.model.sources import digest_of
from sim.sweep.cluster import Scheduler, connected
from sim.sweep.measures import Measurer
from sim.sweep.results import ALL, Result, table_of
from sim.sweep.varying import Point, apply, check, paths_of, refuse_many, reloads
from sim.workload.loading import load


@dataclass(frozen=True)
class Counted:
    """Creates that count: those from `warm_up_s` on. A create is slow above the seconds of its tier."""

    warm_up_s: float
    slow_s: tuple[tuple[str, float], ...]


@dataclass(frozen=True)
class Cell:
    """One run: a point, the replication of its workload, and a hash of everything that decides the result.

    `base` is the part of the hash that all cells of a sweep share. With it, a worker notices changed files.
    """

    point: Point
    replication: int
    counted: Counted
    base: str
    digest: str
    cinder: Cinder | None = None  # None: engine `fast`
    identity: Sequence[str] = ()  # of the Cinder, when the sweep began


def sweep(
    case: Case,
    points: Sequence[Point],
    *,
    cinders: Sequence[Cinder] | None = None,
    replications: int = 1,
    warm_up_s: float = 0.0,
    slow_s: Mapping[str, float] | None = None,
    folder: Path | None = None,
    workers: int = -1,
    dask: Scheduler | str | None = None,
    progress: Callable[[int], None] | None = None,
) -> list[Result]:
    """Run every cell. Returns the results, by point, then by Cinder and by replication.

    With `cinders`, engine `cinder` runs each point with each of them, else engine `fast` runs it. `folder`
    keeps each finished cell, and cells that it already has do not run again. It does not keep failed cells.
    `workers`: number of processes (-1: one per core). `dask`: address of a scheduler whose workers run the
    cells instead. `progress` is called with the number of finished cells. Raises BadInput, and NotInstalled
    if the environment of a Cinder cannot be made.
    """
    check(case.scenario, points)
    if replications > 1 and case.scenario.workload.generate is None:
        raise BadInput([f"{case.path}: a trace has one history: replications need workload.generate"])
    deciding: Sequence[Cinder | None] = [None] if cinders is None else cinders
    refuse_many(len(points) * len(deciding) * replications, f"{case.path}: {{}} cells")
    if cinders is not None and any(key == "cinder" for point in points for key, _ in point.values):
        raise BadInput(["--cinder: the varied key cinder would have the same column in the results"])
    counted = Counted(warm_up_s, tuple(sorted((slow_s or {}).items())))
    cells = _cells(case, points, deciding, replications, counted)
    kept = {}
    if folder is not None:
        remove_left(folder / "cells", "[0-9a-f]*")
        kept = _kept(folder, cells)
    # Cells of one workload one after another: a worker keeps only a few of them prepared.
    todo = sorted((cell for cell in cells if cell.digest not in kept), key=_workload_of)
    if progress is not None:
        progress(len(cells) - len(todo))
    for cinder in dict.fromkeys(cell.cinder for cell in todo if cell.cinder is not None):
        ready(cinder)
    found = dict(kept)
    for result in _run(case, todo, workers, dask):
        found[result.digest] = result
        if folder is not None and not result.error:
            _keep(folder, result)
        if progress is not None:
            progress(len(found))
    return [found[cell.digest] for cell in cells]


def tidy(results: Sequence[Result]) -> pd.DataFrame:
    """One row for each cell and scope (tier, pool, backend, all): first the varied values, then the results.

    A failed cell has one row with scope `all` and its `error`.
    """
    rows = []
    for result in results:
        about = {**result.point, "replication": result.replication, "error": result.error}
        own = [row.flat() for row in result.rows.values()] or [{"scope": "all", "name": ALL}]
        rows += [about | row for row in own]
    return table_of(rows, results)


# -- cells ---------------------------------------------------------------------------------------------


def _cells(
    case: Case,
    points: Sequence[Point],
    cinders: Sequence[Cinder | None],
    replications: int,
    counted: Counted,
) -> list[Cell]:
    base = _base(case)
    of_cinders = [(cinder, identity(cinder) if cinder is not None else []) for cinder in cinders]
    cells = []
    for point, (cinder, told), replication in itertools.product(points, of_cinders, range(replications)):
        own = [base, sorted(point.values), point.strategy, replication, asdict(counted), told]
        digest = hashlib.sha256(json.dumps(own, sort_keys=True).encode()).hexdigest()
        cells.append(Cell(point, replication, counted, base, digest[:32], cinder, told))
    return cells


def _workload_of(cell: Cell) -> tuple[str, int]:
    return repr(_reloading(cell)), cell.replication


def _reloading(cell: Cell) -> tuple[tuple[str, Any], ...]:
    """The values that change the workload."""
    return tuple(pair for pair in cell.point.values if reloads(pair[0]))


def _base(case: Case) -> str:
    """A hash of a case and of what simulates it. Of the scenario it counts what it says, not how."""
    from sim.analysis.results import versions
    from sim.inputs.files import hashes

    files = {name: digest for name, digest in hashes(case).items() if name != "scenario"}
    raw = case.scenario.model_dump(by_alias=True, mode="json")
    said = {key: value for key, value in raw.items() if key not in ("name", "strategies")}
    about = [files, versions(), _sources(), said]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


@lru_cache(maxsize=1)
def _sources() -> str:
    """A hash of the code and data that simulate a cell: a change is another version, released or not."""
    both = digest_of(__name__, "sim") + digest_of(answering.__name__, "sim")  # which another process imports
    digest = hashlib.sha256(both.encode())
    for source in sorted(Path(__file__).parents[1].glob("data/*.csv")):
        digest.update(source.read_bytes())
    return digest.hexdigest()


def _kept(folder: Path, cells: Sequence[Cell]) -> dict[str, Result]:
    found = {}
    for cell in cells:
        path = folder / "cells" / f"{cell.digest}.json"
        try:
            result = Result.of_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not there, or not as it was written: it is run
        if result.digest == cell.digest:
            found[cell.digest] = replace(result, values=dict(cell.point.values))
    return found


def _keep(folder: Path, result: Result) -> None:
    with beside(folder / "cells" / f"{result.digest}.json") as (new,):
        new.write_text(result.to_json(), encoding="utf-8")


# -- running -------------------------------------------------------------------------------------------


def _run(case: Case, cells: Sequence[Cell], workers: int, dask: Scheduler | str | None) -> Iterator[Result]:
    """The results as they are done, in any order."""
    if not cells:
        return
    path = case.path.resolve()
    with _backend(dask, workers):
        yield from results(run_cell, ((path, cell) for cell in cells))


@contextmanager
def _backend(dask: Scheduler | str | None, workers: int) -> Iterator[None]:
    if dask is None:
        with joblib.parallel_config("loky", n_jobs=workers):
            yield
        return
    with connected(dask):
        yield


def run_cell(path: Path, cell: Cell) -> Result:
    """Run one cell; the result says what failed in it."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    try:
        measurer = _measurer(path, cell.base, cell.replication, cell.counted, _reloading(cell))
        scenario = apply(measurer.prepared.case.scenario, dict(cell.point.values), measurer.raw)
        state, engine_s = measurer.play(scenario, cell.point.strategy, cell.cinder)
        if cell.cinder is not None and identity(cell.cinder) != cell.identity:
            raise RuntimeError(f"{cell.cinder.name} is not the Cinder that the sweep began with")
        rows = measurer.rows(state, scenario)
        found = {"rows": rows, "requests": int((~measurer.other).sum()), "engine_s": engine_s}
    except Exception as error:
        text = str(error) if isinstance(error, CinderFailed) else f"{type(error).__name__}: {error}"
        found = {"error": " ".join(text.split())}
    name = None if cell.cinder is None else cell.cinder.name
    about = (cell.digest, dict(cell.point.values), cell.point.strategy, cell.replication, name)
    return Result(*about, cell_s=time.perf_counter() - began, **found)


@lru_cache(maxsize=4)
def _measurer(
    path: Path, base: str, replication: int, counted: Counted, reloading: tuple[tuple[str, Any], ...]
) -> Measurer:
    """The prepared case of a worker process. It is prepared once, and again for values that change its
    workload."""
    case = load(path, replication=replication)
    if _base(case) != base:
        raise RuntimeError(f"{path} or what it names, or the program, is not what the sweep began with")
    if reloading:
        raw = case.scenario.model_dump(by_alias=True)
        values = {path: value for key, value in reloading for path in paths_of(key, raw)}
        case = load(path, replication=replication, values=values)
    return Measurer(Prepared(case), counted.warm_up_s, dict(counted.slow_s))
