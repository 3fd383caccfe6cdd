"""Files that measure on the real cloud what an advice promises: a script, and a task for Rally."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from sim.inputs.backend import NOVA
from sim.inputs.cells import csv_text
from sim.inputs.images import Image
from sim.inputs.problems import printable
from sim.inputs.scenario import Scenario
from sim.planner.advise import Advice

FOLDER = Path("measure")
SIZE_GIB = 10  # of volumes, where no image is known
FORMATS = [
    "qcow2",
    "raw",
    "vhd",
    "vmdk",
    "vdi",
    "iso",
    "aki",
    "ari",
    "ami",
]  # that Rally's context `images@openstack` takes
COLUMNS = ["volume_type", "kind", "creates", "p50_s", "p95_s"]


def measuring(advice: Advice, image: Image | None) -> dict[Path, str]:
    """The files of `measure/` by path. `image`: the one that is worth measuring, if any."""
    templates = files("sim.report") / "templates" / "deploy" / "measure"
    lines = type_lines(advice.last.scenario, set(advice.last.scenario.backends))
    environment = jinja2.Environment(
        autoescape=False, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    task = environment.from_string((templates / "rally.yaml.j2").read_text(encoding="utf-8"))
    told = {
        "types": [(tier, "".join(zone)) for tier, _, *zone in (line.split("\t") for line in lines)],
        "size_gib": SIZE_GIB if image is None else image.virtual_gib,
        "disk_format": image.disk_format if image is not None and image.disk_format in FORMATS else "raw",
    }
    about = "# Volume type, how many pools it has, and its availability zone, with tabs between them."
    texts = {} if image is None else {FOLDER / "image.txt": f"{printable(image.image_id)}\n"}
    return texts | {
        FOLDER / "measure.sh": (templates / "measure.sh").read_text(encoding="utf-8"),
        FOLDER / "types.txt": "\n".join([about, *lines]) + "\n",
        FOLDER / "rally.yaml": task.render(told) + "\n",
        FOLDER / "promised.csv": csv_text(promised(advice.promise)),
    }


def type_lines(scenario: Scenario, backends: set[str]) -> list[str]:
    """A line for each volume type and zone of some backends: the type, its number of pools, and its zone."""
    pools: dict[tuple[str, str], int] = {}
    for name, backend in scenario.backends.items():
        for tier in backend.volume_types if name in backends else ():
            key = tier, "" if backend.availability_zone == NOVA else backend.availability_zone
            pools[key] = pools.get(key, 0) + len(backend.pools)
    return ["\t".join([tier, str(count), *([zone] if zone else [])]) for (tier, zone), count in pools.items()]


def promised(promise: dict[str, Any]) -> pd.DataFrame:
    """A row for each volume type and kind of create: simulated seconds, of all users' creates together."""
    rows = [
        {"volume_type": tier, "kind": kind, **told}
        for tier, ways in promise["create_s"].items()
        for kind, told in ways.items()
    ]
    return pd.DataFrame(rows, columns=COLUMNS)
