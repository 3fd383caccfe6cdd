"""Findings on drivers that clone images themselves: RBD beside Glance on the same Ceph cluster."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sim.analysis.wording import Finding, at_host, by, count, downloads, lost_s, name_of, some
from sim.model.records import Records

if TYPE_CHECKING:
    from sim.inputs.scenario import Case


def driver_findings(records: Records, case: Case) -> list[Finding]:
    """What the driver cloned by itself, and which images it could not clone because they are not raw."""
    lines = []
    for backend, spec in case.scenario.backends.items():
        if not spec.driver_clones_raw:
            continue
        hosts = [f"{backend}#{pool}" for pool in spec.pools]
        requests = records.requests[records.requests["host"].isin(hosts)]
        cloned = int((requests["source"] == "driver").sum())
        converted = [i.image_id for i in case.images.values() if i.disk_format != "raw"]
        others = requests[requests["image_id"].isin(converted)]
        if not len(others):
            continue
        downloaded = downloads(others)
        names = some(dict.fromkeys(name_of(case, image_id) for image_id, _ in by(others, "image_id")))
        gib = sum(case.images[image_id].virtual_gib for image_id in set(others["image_id"]))
        line = (
            f"the driver itself cloned {cloned:,} of {count(len(requests), 'create')}, all of raw"
            f" images. {count(len(others), 'create')} asked for images that are not raw ({names});"
            f" {len(downloaded):,} downloaded. If Glance has these as raw images ({gib:,} GiB), the driver"
            " clones them too, and no cache is needed"
        )
        lines.append(at_host(line, case, backend, lost_s(downloaded, case)))
    return lines
