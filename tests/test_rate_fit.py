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
from sim.inputs.scenario import Case
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


def test_parts_of_a_download_are_fitted_together_where_the_history_tells_their_sum(tmp_path: Path) -> None:
    """Images of one size: which part of a download is slow does not show. How long they take does."""
    header = "image_id,name,disk_format,container_format,size_bytes,virtual_size_bytes"
    images = [f"i0,i0,raw,bare,{GIB // 32},{GIB // 32}", f"i1,i1,qcow2,bare,{GIB // 32},{GIB}"]
    (tmp_path / "images.csv").write_text("\n".join((header, *images)) + "\n")
    rows = [f"{n * 100},create,v{n},i{n % 3 % 2},10,t," for n in range(60)]
    header = "time,event,volume_id,image_id,size_gib,volume_type,host"
    (tmp_path / "trace.csv").write_text("\n".join((header, *rows)) + "\n")
    path = tmp_path / "scenario.yaml"

    def written(stream_mib_s: float, **rates: float) -> Case:
        backends = {"a": {"volume_type": "t", "pools": {"p0": {}}} | rates}
        scenario = {"images": "images.csv", "workload": {"trace": "trace.csv"}, "backends": backends}
        path.write_text(
            yaml.safe_dump(scenario | {"tiers": {"t": {}}, "glance": {"stream_mib_s": stream_mib_s}})
        )
        return load(path)

    made = run(written(2.0, create_s=0.5, write_mib_s=500, convert_mib_s=1000), "none").requests
    seconds = (made["end"] - made["time"]) * np.exp(np.random.default_rng(5).normal(0, NOISE, len(made)))
    observed = {"volume_id": made["volume_id"], "create_s": seconds.round(), "downloaded": 1.0}
    pd.DataFrame(observed).to_csv(tmp_path / "observed.csv")
    assumed = {"create_s": 1.0, "write_mib_s": 159.0, "convert_mib_s": 445.0}
    written(71.0, **assumed)
    paths = [["glance", "stream_mib_s"], *(["backends", "a", key] for key in assumed)]
    document = {"assumed": [{"path": key, "value": None, "why": ""} for key in paths]}
    document |= {"strategy": "none", "fills": None, "telemetry": None}
    (tmp_path / "import.json").write_text(json.dumps(document))
    found = calibrate(tmp_path)
    told, together = found.rates["told"], found.rates["together"]
    assert together.any() and not (together & told).any()
    fitted = run(load(write(found, tmp_path)), "none").requests
    for image, of in made.groupby("image_id", observed=True):
        again = fitted[fitted["image_id"] == image]
        true_s = (of["end"] - of["time"]).median()
        assert (again["end"] - again["time"]).median() == pytest.approx(true_s, rel=0.05)
    for each in found.rates[~told & ~together].to_dict("records"):
        assert each["fitted"] == each["assumed"]
