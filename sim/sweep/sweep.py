"""Run every cell of a sweep once, on all cores or on a cluster, and keep each as soon as it is finished."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib
import pandas as pd

from sim.analysis.pool import results
from sim.cinders import answering
from sim.cinders.apart import ready
from sim.cinders.environments import identity
from sim.fast.engine import Prepared, compiled
from sim.fast.spare import give_back
from sim.inputs.beside import beside, remove_left
from sim.inputs.cinders import Cinder, CinderFailed
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.model.sources import digest_of
from sim.sweep.cells import Alike, Cell, Counted, Known, holds
from sim.sweep.cluster import Scheduler, connected
from sim.sweep.measures import Measurer
from sim.sweep.results import ALL, Result, table_of
from sim.sweep.varying import Point, Varied, check, refuse_many, reloads
from sim.workload.loading import drawn, read

WAVE = 8  # cells that differ in limits alone, and run before the next ones are chosen
MESSAGE_S = 0.05  # a process gets so many cells at a time that they take about so long, but no more than WAVE
SHORT_S = 1.0  # where a sweep fails, it waits for a few cells that take less
# A worker keeps so many workloads prepared, or up to MOST as long as they have no more events together. A
# sweep runs the cells of half as many events at a time: varied workloads may have more.
FEWEST, MOST, EVENTS = 4, 64, 500_000
STARTS = 3  # of each: a plan asks for one strategy after the other, in turn

_prepared: dict[Any, Measurer] = {}  # of this process, in the order of use
_read_cases: dict[Any, Case] = {}  # up to FEWEST of generated workloads, not drawn yet


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
    known: Known | None = None,
) -> list[Result]:
    """Run every cell. Returns the results, by point, then by Cinder and by replication.

    With `cinders`, engine `cinder` runs each point with each of them, else engine `fast` runs it. `folder`
    keeps each finished run, and cells that it already has do not run again. It does not keep failed cells.
    A cell does not run either if the run of another holds for it (see `sim.sweep.cells`); `known` has runs
    of earlier sweeps.
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
    counted = Counted(warm_up_s, tuple(sorted((slow_s or {}).items())), in_blocks=replications == 1)
    cells = _cells(case, points, deciding, replications, counted)
    folder = None if folder is None else folder / "cells"
    kept = {}
    if folder is not None:
        remove_left(folder, "[0-9a-f]*")
        kept = _kept(folder, cells)
    known = Known(case.scenario) if known is None else known
    for cell in cells:
        if cell.digest in kept:
            known.add(cell, kept[cell.digest])
    todo = [cell for cell in cells if cell.digest not in kept]
    if progress is not None:
        progress(len(cells) - len(todo))
    for cinder in dict.fromkeys(cell.cinder for cell in todo if cell.cinder is not None):
        ready(cinder)
    found = dict(kept)
    for result in _results(case, todo, known, workers, dask):
        found[result.digest] = result
        if folder is not None and not result.error and result.cell_s:
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
        path = folder / f"{cell.digest}.json"
        try:
            result = Result.of_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue  # not there, or not as it was written: it is run
        if result.digest == cell.digest:
            found[cell.digest] = replace(result, values=dict(cell.point.values))
    return found


def _keep(folder: Path, result: Result) -> None:
    with beside(folder / f"{result.digest}.json", clean=False) as (new,):
        new.write_text(result.to_json(), encoding="utf-8")


# -- running -------------------------------------------------------------------------------------------


def _results(
    case: Case, cells: Sequence[Cell], known: Known, workers: int, dask: Scheduler | str | None
) -> Iterator[Result]:
    """The results as they are done, in any order; which cells run does not depend on the workers."""
    if not cells:
        return
    path = case.path.resolve()
    by_workload: dict[Any, list[Cell]] = {}
    # Neighbours often have the same result, and should not run at the same time: the order is by chance.
    for cell in sorted(cells, key=lambda cell: cell.digest):
        by_workload.setdefault(_workload_of(cell), []).append(cell)
    # The unchanged workload comes first: most processes still have it prepared. Others would push it out.
    workloads = [by_workload[key] for key in sorted(by_workload, key=lambda of: (of[0] != repr(()), of))]
    if dask is None and any(cell.cinder is None for cell in cells):
        compiled()
    with _processes(dask, workers) as how:
        count = max(FEWEST, min(MOST, EVENTS // max(len(case.trace.events), 1)) // 2)
        for first in range(0, len(workloads), count):
            together = workloads[first : first + count]
            groups = [group for of in together for group in known.alike(of)]
            for alike, before in groups:
                for result in before:
                    yield from alike.held(result)
            yield from _in_waves(path, [alike for alike, _ in groups], known, how)


def _in_waves(path: Path, groups: Sequence[Alike], known: Known, how: Mapping[str, Any]) -> Iterator[Result]:
    """Run the cells of groups, a wave after the other. `how`: see `_processes`.

    The halves of the groups take turns. The last cells of one half's wave run beside the first ones of the
    other's: so processes are busy while this one looks at results and chooses the next cells.
    """
    halves = groups[: len(groups) // 2], groups[len(groups) // 2 :]
    running: deque[tuple[int, dict[str, tuple[Cell, Alike]], Generator[Result]]] = deque()
    at_once = processes = 1
    ended = False

    def begin(*numbers: int) -> None:
        """Begin a wave of the first of these halves that has cells left."""
        nonlocal processes
        for number in numbers:
            wave = {cell.digest: (cell, alike) for alike in halves[number] for cell in alike.take(WAVE)}
            if wave:
                break
        else:
            return
        calls = itertools.takewhile(lambda _: not ended, ((path, cell) for cell, _ in wave.values()))
        with joblib.parallel_config(**how):
            processes = joblib.effective_n_jobs(None)
            share = math.ceil(len(wave) / processes)  # more leaves processes idle
            running.append((number, wave, results(run_cell, calls, at_once=min(at_once, share))))

    try:
        begin(1, 0)
        while running:
            number, wave, found = running[0]
            for left, result in zip(range(len(wave) - 1, -1, -1), found, strict=True):
                at_once = int(min(max(MESSAGE_S / max(result.cell_s, 1e-9), 1), WAVE))
                cell, alike = wave[result.digest]
                known.add(cell, result)
                if result.cell_s < SHORT_S and left <= processes * at_once and len(running) == 1:
                    begin(1 - number)
                yield result
                yield from alike.held(result)
            running.popleft()
            if not running:
                begin(1 - number, number)
    finally:
        ended = True
        if len(running) > 1:  # to end one call of joblib would break the other: they share processes
            for *_, found in running:
                with suppress(Exception):
                    deque(found, maxlen=0)
        for *_, found in running:
            found.close()


@contextmanager
def _processes(dask: Scheduler | str | None, workers: int) -> Iterator[dict[str, Any]]:
    """Arguments of `joblib.parallel_config` for one call of joblib, which stops the backend that it makes."""
    if dask is None:
        yield {"backend": "loky", "n_jobs": workers}
        return
    with connected(dask) as client:
        yield {"backend": "dask", "client": client}


def run_cell(path: Path, cell: Cell) -> Result:
    """Run one cell; the result says what failed in it."""
    began = time.perf_counter()
    found: dict[str, Any] = {}
    try:
        with _measurer(path, cell) as measurer:
            scenario = measurer.varied.with_values(cell.point.values)
            state, engine_s = measurer.play(scenario, cell.point.strategy, cell.cinder)
            if cell.cinder is not None and identity(cell.cinder) != cell.identity:
                raise RuntimeError(f"{cell.cinder.name} is not the Cinder that the sweep began with")
            rows = measurer.rows(state, scenario)
            found = {"rows": rows, "holds": holds(state), "requests": measurer.requests, "engine_s": engine_s}
            give_back(state)
    except Exception as error:
        text = str(error) if isinstance(error, CinderFailed) else f"{type(error).__name__}: {error}"
        found = {"error": " ".join(text.split())}
    name = None if cell.cinder is None else cell.cinder.name
    about = (cell.digest, dict(cell.point.values), cell.point.strategy, cell.replication, name)
    return Result(*about, cell_s=time.perf_counter() - began, **found)


@contextmanager
def _measurer(path: Path, cell: Cell) -> Iterator[Measurer]:
    """The prepared case of a cell, for this thread alone: prepared once, and again after many others."""
    key = path, cell.base, cell.counted, *_workload_of(cell)
    measurer = _prepared.pop(key, None)
    if measurer is None:
        _make_place()
        measurer = _prepare(path, cell)
    try:
        yield measurer
    finally:
        _prepared[key] = measurer  # the last: it was used last


def _make_place() -> None:
    """Let go of the prepared cases that were not used for longest, until there is a place for one more."""
    kept = {key: len(measurer.prepared.case.trace.events) for key, measurer in _prepared.copy().items()}
    for key in list(kept):
        if len(kept) >= MOST or (len(kept) >= FEWEST and sum(kept.values()) > EVENTS):
            del kept[key]
            _prepared.pop(key, None)


def _prepare(path: Path, cell: Cell) -> Measurer:
    case = drawn(_read(path, cell), cell.replication)
    counted = cell.counted
    return Measurer(Prepared(case, STARTS), counted.warm_up_s, dict(counted.slow_s), counted.in_blocks)


def _read(path: Path, cell: Cell) -> Case:
    """The case of a cell, and of its other replications: what is drawn needs no file again."""
    reloading = _reloading(cell)
    key = path, cell.base, repr(reloading)
    if (known := _read_cases.get(key)) is not None:
        return known
    plain = case = read(path)
    if reloading:
        case = read(path, values=Varied(plain.scenario).paths(reloading))
    if _base(plain) != cell.base:  # of the files as they are now
        raise RuntimeError(f"{path} or what it names, or the program, is not what the sweep began with")
    if case.scenario.workload.generate is not None:
        if len(_read_cases) >= FEWEST:
            _read_cases.clear()
        _read_cases[key] = case
    return case
