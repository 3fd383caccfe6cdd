"""The workload to plan for, and the simulator of its points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sim.analysis.statistics import Blocks
from sim.inputs.problems import BadInput
from sim.inputs.scenario import Case
from sim.planner.measured import Floats, Runs
from sim.planner.targets import Targets
from sim.sweep.cells import Known
from sim.sweep.cluster import Scheduler
from sim.sweep.sweep import sweep
from sim.sweep.varying import Point
from sim.workload.loading import drawn, load, read


@dataclass(frozen=True)
class PlanOptions:
    """The options of `sim.api.plan`, which describes them."""

    growth: float = 1.0
    train: float | None = None
    replications: int = 1
    warm_up_s: float = 0.0
    folder: Path | None = None
    workers: int = -1
    dask: Scheduler | str | None = None
    progress: Callable[[int, int], None] | None = None


@dataclass(frozen=True)
class Load:
    """The workload to plan for: a scenario, its changes by key, and the warm-up that does not count.

    `cases` are its replications, changed; `plain` is the first one as it is written.
    """

    plain: Case
    cases: list[Case]
    changes: Mapping[str, Any]
    warm_up_s: float

    @property
    def case(self) -> Case:
        """The first replication."""
        return self.cases[0]

    def blocks_of(self, time: Floats) -> npt.NDArray[np.int64]:
        """The block of the one history that each time is in (see `sim.analysis.statistics.Blocks`)."""
        return Blocks.between(self.warm_up_s, self.case.last_create_s).of(time)

    @property
    def common(self) -> dict[str, Any]:
        """The values that every cell has: the changes, and no quotas of the internal tenant (a plan says what
        it needs).
        """
        quotas = ["cinder.internal_tenant_quota_volumes", "cinder.internal_tenant_quota_gigabytes"]
        by_type = self.plain.scenario.cinder.internal_tenant_quotas
        quotas += [f"cinder.internal_tenant_quotas.{resource}" for resource in by_type]
        return {**self.changes, **dict.fromkeys(quotas)}


def load_of(path: Path, changes: Mapping[str, Any], replications: int, warm_up_s: float) -> Load:
    """Read the workload with changes of `workload.growth` and other keys. Raises BadInput."""
    changed = read(path, values={tuple(key.split(".")): value for key, value in changes.items()})
    cases = [drawn(changed, number) for number in range(replications)]
    if replications > 1 and cases[0].scenario.workload.generate is None:
        raise BadInput([f"{path}: a trace has one history: replications need workload.generate"])
    return Load(load(path) if changes else cases[0], cases, changes, warm_up_s)


class Simulator:
    """Runs points of one workload and counts the cells and requests that it runs."""

    def __init__(self, load: Load, targets: Targets, options: PlanOptions) -> None:
        self.load, self.cells, self.requests = load, 0, 0
        self._slow_s, self._options, self._total = dict(targets.p95_s), options, 0
        self._known = Known(load.plain.scenario)

    def run(self, wanted: Sequence[Point]) -> list[Runs]:
        """Simulate points: the results of each by replication. Raises BadInput if cells fail."""
        found = self.tried(wanted)
        if failed := sorted({result.error for runs in found for result in runs if result.error}):
            raise BadInput([f"{self.load.plain.path}: {error}" for error in failed])
        return found

    def tried(self, wanted: Sequence[Point]) -> list[Runs]:
        """Simulate points, as `run` does; the results of cells that fail say why."""
        if not wanted:
            return []
        load, options, before = self.load, self._options, self._total
        count = len(load.cases)
        self._total += len(wanted) * count

        def told(done: int) -> None:
            if options.progress is not None:
                options.progress(before + done, self._total)

        results = sweep(
            load.plain,
            wanted,
            replications=count,
            warm_up_s=load.warm_up_s,
            slow_s=self._slow_s,
            folder=options.folder,
            workers=options.workers,
            dask=options.dask,
            progress=told,
            known=self._known,
        )
        self.cells += len(results)
        self.requests += sum(result.requests for result in results)
        return [results[at : at + count] for at in range(0, len(results), count)]
