"""Small scenarios as files, and the tables of runs that never were, for tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from sim.analysis import findings as analysis
from sim.analysis.wording import Finding
from sim.inputs.scenario import Case
from sim.inputs.texts import in_few
from sim.model.records import (
    OTHERS,
    Records,
    directories_table,
    links_table,
    nodes_table,
    uploads_table,
)
from sim.model.usage import space_table
from sim.workload.loading import load

GIB = 2**30
COMPACT = ("volume_type", "host", "source", "status", "event", "reason")
SCENARIO: dict[str, Any] = {
    "name": "hand [b]made",
    "tiers": {
        "flash": {"price_gib_month": 0.5, "price_volume_month": 2.0},
        "disk": {"price_gib_month": 0.25},
    },
    "backends": {
        "fast": {
            "volume_type": "flash",
            "pools": {"p0": {}, "p1": {}},
            "create_s": 1.0,
            "clone_s": 2.0,
            "write_mib_s": 512,
            "max_clones_per_volume": 32,
            "image_volume_cache_max_count": 2,
            "image_volume_cache_max_size_gb": 20,
        },
        "slow": {"volume_type": ["disk", "flash"], "pools": {"p0": {}}, "write_mib_s": 128},
    },
    "images": "images.csv",
    "workload": {"trace": "trace.csv"},
}
IMAGES = """image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes
007,[b]raw[/b],raw,bare,2147483648,2147483648
qcow,small,qcow2,bare,1073741824,4294967296
huge,huge,raw,bare,42949672960,42949672960
"""
TRACE = """time,event,volume_id,image_id,size_gib,volume_type,host
0,create,1,007,40,flash,
1,create,2,007,40,flash,
2,create,3,qcow,40,disk,
50,create,4,007,40,flash,
60,create,5,huge,40,flash,
60,create,6,huge,40,flash,
1000,delete,1,,,,
"""


def scenario_file(
    folder: Path,
    images: str = IMAGES,
    trace: str = TRACE,
    initial: str | None = None,
    **changes: Any,
) -> Path:
    """Writes a scenario and its files; `changes` replaces keys of SCENARIO."""
    scenario = SCENARIO | changes
    (folder / "images.csv").write_text(images)
    (folder / "trace.csv").write_text(trace)
    if initial is not None:
        (folder / "initial.csv").write_text(initial)
        scenario["workload"] = {"trace": "trace.csv", "initial": "initial.csv"}
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario, sort_keys=False))
    return path


def case_of(folder: Path, **changes: Any) -> Case:
    return load(scenario_file(folder, **changes))


REQUEST: dict[str, Any] = {
    "volume_id": "v",
    "image_id": "007",
    "volume_type": "flash",
    "host": "fast#p0",
    "size_gib": 40,
    "time": 0.0,
    "end": 10.0,
    "source": "download",
    "status": "available",
    "error": "",
    "attempts": 1,
    "lock_wait_s": 0.0,
    "stream_wait_s": 0.0,
    "cache_held": 0,
}
FAILED: dict[str, Any] = {"source": "none", "status": "error", "error": "NoSpace: not a GiB"}
EVENT: dict[str, Any] = {
    "time": 0.0,
    "host": "fast#p0",
    "event": "create",
    "image_id": "007",
    "size_gib": 2,
    "reason": "",
    "volume_id": "v",
}
USAGE_COLUMNS = [
    *("scope", "name", "kind"),
    *("volumes_mean", "volumes_peak", "provisioned_gib_mean", "provisioned_gib_peak"),
    *("physical_gib_mean", "physical_gib_peak", "volumes_end"),
]


def records_of(
    requests: list[dict[str, Any]],
    events: list[dict[str, Any]] | None = None,
    usage: list[tuple[Any, ...]] | None = None,
    others: list[dict[str, Any]] | None = None,
) -> Records:
    """Tables with a row per dict; what a dict leaves out is as in REQUEST and EVENT."""
    return Records(
        requests=pd.DataFrame([REQUEST | row for row in requests], columns=list(REQUEST)),
        others=pd.DataFrame([REQUEST | row for row in others or []], columns=list(OTHERS)),
        cache_events=pd.DataFrame([EVENT | row for row in events or []], columns=list(EVENT)),
        cache=pd.DataFrame(
            [("fast#p0", "007", 2, 3.5)], columns=["host", "image_id", "size_gib", "last_used"]
        ),
        uploads=uploads_table([]),
        usage=pd.DataFrame(usage or [], columns=USAGE_COLUMNS).assign(
            provisioned_gib_end=0.0, physical_gib_end=0.0
        ),
        space=space_table(np.array([0.0]), ["fast#p0"], np.zeros((1, 1, 3, 3))),
        volumes=pd.DataFrame(
            [("fast#p0", "user", "v", 40, 0)], columns=["host", "kind", "volume_id", "size_gib", "clones"]
        ),
        nodes=nodes_table({}, []),
        directories=directories_table([], np.zeros(1), np.zeros((0, 1)), np.zeros((0, 1))),
        links=links_table([], 0.0, total_mib_s=[], transfers=[], asked_mib=[], carried_mib=[]),
        engine_s=0.25,
    )


def compact(records: Records) -> Records:
    """The same tables with columns of few names as categories, as `sim.run` gives them with `compact`."""

    def categories(table: pd.DataFrame) -> pd.DataFrame:
        names = [name for name in COMPACT if name in table]
        return table.assign(**{name: in_few(table[name]).set_axis(table.index) for name in names})

    tables = ("requests", "others", "cache_events")
    return replace(records, **{name: categories(getattr(records, name)) for name in tables})


def findings(records: Records, case: Case, strategy: str) -> list[Finding]:
    """The findings, which categories do not change."""
    found = analysis.findings(records, case, strategy)
    assert analysis.findings(compact(records), case, strategy) == found
    return found
