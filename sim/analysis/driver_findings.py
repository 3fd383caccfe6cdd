"""Findings on drivers that clone images themselves: RBD beside Glance on the same Ceph cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from sim.analysis.adding import Counts, Kind, Part, costs
from sim.analysis.wording import Finding, at_host, count, lost, name_of, number, parts_of, some
from sim.inputs.hosts import backend_of
from sim.inputs.strategies import Strategy

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def _of_drivers(part: Part, case: Case, strategy: Strategy) -> pd.DataFrame | None:
    hosts = [host for host in case.scenario.pools() if case.scenario.backend_at(host).driver_clones_raw]
    if not hosts:
        return None
    requests = part.requests[part.requests["host"].isin(hosts)]
    downloaded = requests["source"] == "download"
    rows = costs(requests, case, "host", "image_id")
    return rows.assign(
        cloned=(requests["source"] == "driver").astype(int),
        downloaded=downloaded.astype(int),
        lost_s=rows["lost_s"].where(downloaded, 0.0),
    )


KINDS = {"of drivers": Kind(("host", "image_id"), _of_drivers)}


def driver_findings(counts: Counts, case: Case) -> list[Finding]:
    """What the driver cloned by itself, and which images it could not clone because they are not raw."""
    if "of drivers" not in counts:
        return []
    table = counts["of drivers"]
    converted = [i.image_id for i in case.images.values() if i.disk_format != "raw"]
    lines = []
    for backend, rows in table.groupby(table["host"].map(backend_of)):
        others = rows[rows["image_id"].isin(converted)]
        if not len(others):
            continue
        names = some(dict.fromkeys(name_of(case, image_id) for image_id, _ in parts_of(others, "image_id")))
        gib = sum(case.images[image_id].virtual_gib for image_id in set(others["image_id"]))
        asked = count(number(others), "create")
        line = (
            f"the driver itself cloned {rows['cloned'].sum():,} of {count(number(rows), 'create')},"
            f" all of raw images. {asked} asked for images that are not raw ({names});"
            f" {others['downloaded'].sum():,} downloaded. If Glance has these as raw images"
            f" ({gib:,} GiB), the driver clones them too, and no cache is needed"
        )
        lines.append(at_host(line, case, str(backend), lost(others)))
    return lines
