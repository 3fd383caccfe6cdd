"""Writes the workload of a scenario as a trace."""

from __future__ import annotations

import os
from pathlib import Path

from sim.inputs.beside import beside
from sim.inputs.images import write_images
from sim.inputs.problems import BadInput, printable
from sim.inputs.trace import write_initial, write_trace


def write(path: str | os.PathLike[str], out: str | os.PathLike[str], replication: int) -> list[Path]:
    """See `sim.api.generate`."""
    from sim.inputs.files import files_of
    from sim.workload.loading import load

    case = load(path, replication=replication)
    trace = Path(out)
    spec = case.scenario.workload.generate
    added = spec is not None and bool(spec.popularity.release_every or spec.uploads_per_day)
    targets = [trace]
    workload = case.scenario.workload
    if added or case.scenario.images is None or workload.image_size_factor != 1:
        targets.append(trace.with_name("images.csv"))
    if workload.growth != 1 and len(case.initial):
        targets.append(trace.with_name("initial.csv"))
    read = {file.resolve() for file in files_of(case).values()}
    problems = [
        f"{printable(str(file))}: the scenario reads it" for file in targets if file.resolve() in read
    ]
    if trace.name == "images.csv":
        problems.append(f"{printable(str(trace))}: is the name of the image list")
    if problems:
        raise BadInput(problems)
    with beside(*targets) as new:
        write_trace(case.trace, new[0], trace.suffix.lower() == ".parquet")
        for target, path in zip(targets[1:], new[1:], strict=True):
            if target.name == "images.csv":
                write_images(case.images.values(), path)
            else:
                write_initial(case.initial, case.trace.start, path)
    return targets
