"""A small scenario with all its files, written by the code that writes such files for users."""

from __future__ import annotations

import copy
import functools
import tempfile
import zlib
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

import sim
from sim.cli.shared import checked
from sim.inputs.images import Image, write_images
from sim.inputs.trace import empty_initial, read_trace, write_initial, write_trace

SHIPPED = Path(__file__).parents[2] / "scenarios"


@functools.cache
def smallest() -> dict[str, Any]:
    """A scenario with a trace, an image list and an initial state, as a tree."""
    tree: dict[str, Any] = yaml.safe_load((SHIPPED / "smallest.yaml").read_text())
    files = {"images": "images.csv", "workload": {"trace": "trace.csv", "initial": "initial.csv"}}
    return tree | files


@functools.cache
def generated() -> dict[str, Any]:
    """A scenario that generates its workload, small."""
    tree: dict[str, Any] = yaml.safe_load((SHIPPED / "generated.yaml").read_text())
    tree["workload"]["generate"] |= {"duration": "2d", "creates_per_day": 40, "uploads_per_day": 2}
    return tree


@functools.cache
def whole() -> dict[str, Any]:
    """A scenario with every key that there is."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scenario.yaml"
        path.write_text(yaml.safe_dump(generated()))
        case = sim.load(path)
    tree = case.scenario.model_dump(mode="json", by_alias=True)
    tree["images"] = [image.model_dump(mode="json") for image in list(case.images.values())[:4]]
    for key in ("raw_share", "start"):
        del tree["workload"]["generate"][key]
    tree["workload"]["generate"]["popularity"] = {"zipf": 1.0, "release_every": None}
    tree["workload"]["generate"]["volume_gib"] = {10: 1, 20: 2}
    return tree


def images() -> list[Image]:
    """The images of `smallest`, with all that an image list may say."""
    own = yaml.safe_load((SHIPPED / "smallest.yaml").read_text())["images"]
    first, second = (Image.model_validate(image) for image in own)
    shared = {"owner": "a", "visibility": "shared", "members": ("b", "c"), "image_owner": "d"}
    return [first, second.model_copy(update={"store_hosts": ("flash-a#p0",), **shared})]


def beside(folder: Path) -> None:
    """Write the files that `smallest` names: two images, a trace, and what exists at the start."""
    write_images(images(), folder / "images.csv")
    trace = read_trace(SHIPPED / "smallest" / "trace.csv")
    write_trace(trace, folder / "trace.csv")
    write_initial(initial(), None, folder / "initial.csv")
    (folder / "scenario.yaml").write_text(yaml.safe_dump(smallest(), sort_keys=False))


def initial() -> pd.DataFrame:
    """A volume and a cache entry at the start of `smallest`."""
    frame = empty_initial(2)
    frame["kind"] = pd.Categorical(["volume", "cache"], ["volume", "cache"])
    frame["volume_id"], frame["image_id"] = ["old", ""], ["debian", "debian"]
    frame["size_gib"], frame["last_used"] = [10, 3], [float("nan"), 0.0]
    for name, cells in (("host", ["flash-a#p0"] * 2), ("project", ["a", ""])):
        frame[name] = pd.Series(cells, dtype="str").astype("category")
    return frame


@functools.cache
def _written() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        beside(folder)
        return {path.name: path.read_bytes() for path in folder.iterdir()}


def written(file: str) -> bytes:
    """The bytes of a file that `beside` writes."""
    return _written()[file]


def trace_rows() -> list[dict[str, Any]]:
    """Rows with every event of a trace and every column, as a table's cells."""
    names = ("volume_id", "image_id", "volume_type", "host", "project", "availability_zone", "first_host")
    blank = dict.fromkeys(names, "")
    base = blank | {"size_gib": None, "encrypted": False}
    rows = [
        {"event": "create", "volume_id": "v0", "image_id": "debian", "size_gib": 10, "volume_type": "flash"},
        {"event": "create", "volume_id": "v1", "size_gib": 20, "volume_type": "flash", "host": "flash-a#p0"},
        {"event": "release", "image_id": "debian"},
        {"event": "create", "volume_id": "v2", "image_id": "ubuntu", "size_gib": 7, "volume_type": "flash"}
        | {"project": "b", "encrypted": True, "first_host": "flash-a#p0", "availability_zone": "nova"},
        {"event": "update_image", "image_id": "debian"},
        {"event": "delete", "volume_id": "v1"},
        {"event": "delete_image", "image_id": "ubuntu"},
    ]
    return [{"time": 60.0 * number} | base | row for number, row in enumerate(rows)]


def scenario_beside(folder: Path, tree: dict[str, Any]) -> None:
    """Write a scenario into a folder that has the files it names."""
    (folder / "scenario.yaml").write_text(yaml.safe_dump(copy.deepcopy(tree), sort_keys=False))


def with_scenario(path: Path) -> None:
    """Check one in thirty of the files that their reader accepts with the scenario that names them: it costs
    ten times as much."""
    if zlib.crc32(path.read_bytes()) % 30 == 0:
        checked(path.with_name("scenario.yaml"), None, [])
