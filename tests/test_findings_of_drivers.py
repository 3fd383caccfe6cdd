from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from handmade import case_of, findings, records_of

from sim.workload.loading import load

RBD = Path(__file__).parents[1] / "scenarios" / "rbd.yaml"


def test_what_the_driver_cannot_clone_is_named(tmp_path: Path) -> None:
    case = case_of(tmp_path)
    raw, qcow = {"image_id": "007"}, {"image_id": "qcow"}
    records = records_of([raw | {"source": "driver"}, qcow, qcow | {"source": "cache"}])
    assert findings(records, case, "cache-only") == []
    backends = case.scenario.backends
    rbd = backends | {"fast": backends["fast"].model_copy(update={"driver_clones_raw": True})}
    case = replace(case, scenario=case.scenario.model_copy(update={"backends": rbd}))
    assert findings(records, case, "cache-only") == [
        "fast: the driver itself cloned 1 of 3 creates, all of raw images. 2 creates asked for images that"
        " are not raw (small); 1 downloaded. If Glance has these as raw images (4 GiB), the driver clones"
        " them too, and no cache is needed"
    ]


def test_the_shipped_cloud_has_images_of_both_kinds() -> None:
    case = load(RBD)
    assert case.scenario.backends["rbd"].driver_clones_raw
    assert {image.disk_format for image in case.images.values()} == {"raw", "qcow2"}
