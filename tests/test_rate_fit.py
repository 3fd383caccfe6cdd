"""Calibration of shared rates: a history that was simulated with them gives them back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from sim.fast.engine import run
from sim.importers.calibration import Calibration, calibrate, write
from sim.importers.shared_rates import NOT_SEEN, SEEN, UNTOLD
from sim.inputs.units import GIB
from sim.workload.loading import load

NOISE = 0.05  # of the logarithm of a create's seconds
OWN = {"glance": {"stream_mib_s": 75}, "a": {"write_mib_s": 200}}  # truths of a stream's own
ASSUMED = {("glance", "stream_mib_s"): 60, ("backends", "a", "write_mib_s"): 300}


def history(folder: Path, every_s: float, seed: int = 3, **shared: dict[str, Any]) -> Path:
    """An imported folder: 120 downloads, `every_s` apart on average, with the rates `shared` or without."""
    draw = np.random.default_rng(seed)
    # Files and virtual sizes in different proportions tell downloads from writes.
    images = [(0.5, 4), (1, 1), (2, 8), (4, 5), (6, 6)]
    rows = [f"i{n},i{n},qcow2,bare,{int(f * GIB)},{v * GIB}" for n, (f, v) in enumerate(images)]
    header = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes"
    (folder / "images.csv").write_text("\n".join((header, *rows)) + "\n")
    times = np.cumsum(draw.exponential(every_s, 120))
    lines = [f"{t:.6f},create,v{n},i{draw.integers(5)},10,t,a#p0" for n, t in enumerate(times)]
    (folder / "trace.csv").write_text(
        "\n".join(("time,event,volume_id,image_id,size_gib,volume_type,host", *lines)) + "\n"
    )
    scenario: dict[str, Any] = {
        "glance": OWN["glance"] | shared.get("glance", {}),
        "tiers": {"t": {}},
        "backends": {"a": {"volume_type": "t", "pools": {"p0": {}}} | OWN["a"] | shared.get("a", {})},
        "images": "images.csv",
        "workload": {"trace": "trace.csv"},
    }
    path = folder / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario))
    made = run(load(path), "none").requests
    seconds = (made["end"] - made["time"]) * np.exp(draw.normal(0, NOISE, len(made)))
    pd.DataFrame({"volume_id": made["volume_id"], "create_s": seconds, "downloaded": 1.0}).to_csv(
        folder / "observed.csv"
    )
    for part, keys in shared.items():
        for key in keys:
            del (scenario["glance"] if part == "glance" else scenario["backends"][part])[key]
    scenario["glance"]["stream_mib_s"] = ASSUMED["glance", "stream_mib_s"]
    scenario["backends"]["a"]["write_mib_s"] = ASSUMED["backends", "a", "write_mib_s"]
    path.write_text(yaml.safe_dump(scenario))
    assumed = [{"path": list(key), "value": None, "why": ""} for key in ASSUMED]
    document = {"strategy": "none", "assumed": assumed, "fills": None, "telemetry": None}
    (folder / "import.json").write_text(json.dumps(document))
    return folder


def row(found: Calibration, *path: str) -> dict[str, Any]:
    rows = found.shared.to_dict("records")
    return next(each for each in rows if each["path"] == path)


@pytest.mark.parametrize(
    ("path", "part", "key", "true"),
    [
        (("glance", "total_mib_s"), "glance", "total_mib_s", 150.0),
        (("backends", "a", "array_mib_s"), "a", "array_mib_s", 260.0),
    ],
)
def test_a_shared_rate_is_found(
    tmp_path: Path, path: tuple[str, ...], part: str, key: str, true: float
) -> None:
    folder = history(tmp_path, 35.0, **{part: {key: true}})
    found = calibrate(folder)
    seen = row(found, *path)
    assert seen["verdict"] == SEEN
    assert seen["low"] <= true <= seen["high"] and seen["high"] / seen["low"] < 1.5
    assert seen["with_off_by"] < seen["without_off_by"]
    assert seen["with_off_by"] == pytest.approx(np.exp(NOISE), abs=0.03)
    (other,) = (each for each in found.shared.to_dict("records") if each["path"] != path)
    assert other["verdict"] != SEEN
    for told in found.rates.to_dict("records"):
        assert told["told"], told
    calibrated = load(write(found, folder)).scenario
    place: Any = calibrated.model_dump(by_alias=True)
    for name in path:
        place = place[name]
    assert place == seen["fitted"]


def test_a_history_without_sharing_says_so(tmp_path: Path) -> None:
    shared = calibrate(history(tmp_path, 35.0)).shared
    assert shared["verdict"].tolist() == [NOT_SEEN, NOT_SEEN] and shared["fitted"].isna().all()


def test_creates_one_by_one_cannot_tell(tmp_path: Path) -> None:
    shared = calibrate(history(tmp_path, 3e5)).shared
    assert shared["verdict"].tolist() == [UNTOLD, UNTOLD]


def test_waits_for_turns_are_not_taken_for_the_time_of_clones(tmp_path: Path) -> None:
    """Three clones at once, one stream. Who of two is next is chance in the history, and not in the model."""
    draw = np.random.default_rng(11)
    header = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes,store_hosts"
    (tmp_path / "images.csv").write_text(f"{header}\ni,i,raw,bare,{GIB},{GIB},a#p0\n")
    rows = [f"{n // 3 * 100},create,v{n},i,10,t,a#p0" for n in range(120)]
    header = "time,event,volume_id,image_id,size_gib,volume_type,host"
    (tmp_path / "trace.csv").write_text("\n".join((header, *rows)) + "\n")
    backend = {"volume_type": "t", "pools": {"p0": {}}, "clone_s": 8.0, "clone_streams": 1}
    scenario = {"tiers": {"t": {}}, "images": "images.csv", "workload": {"trace": "trace.csv"}}
    path = tmp_path / "scenario.yaml"
    path.write_text(yaml.safe_dump(scenario | {"backends": {"a": backend}}))
    made = run(load(path), "store-only").requests
    assert made["clone_wait_s"].max() == 16
    seconds = (made["end"] - made["time"]).to_numpy().reshape(-1, 3).copy()
    seconds[:, 1:] = draw.permuted(seconds[:, 1:], axis=1)
    seconds = seconds.ravel() * np.exp(draw.normal(0, NOISE, len(made)))
    observed = {"volume_id": made["volume_id"], "create_s": seconds, "downloaded": 0.0}
    pd.DataFrame(observed).to_csv(tmp_path / "observed.csv")
    path.write_text(yaml.safe_dump(scenario | {"backends": {"a": backend | {"clone_s": 5.0}}}))
    assumed = [{"path": ["backends", "a", "clone_s"], "value": None, "why": ""}]
    document = {"strategy": "store-only", "assumed": assumed, "fills": None, "telemetry": None}
    (tmp_path / "import.json").write_text(json.dumps(document))
    (fitted,) = calibrate(tmp_path).rates.to_dict("records")
    assert fitted["told"] and fitted["low"] <= 8 <= fitted["high"], fitted
