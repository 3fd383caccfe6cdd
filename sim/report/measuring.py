"""Files that measure on the real cloud what an advice promises: a script, and a task for Rally."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd

from sim.inputs.backend import NOVA
from sim.inputs.cells import csv_text
from sim.inputs.images import Image
from sim.inputs.problems import printable
from sim.inputs.scenario import Scenario
from sim.planner.advise import Advice
from sim.planner.storm import Ask, Storms

FOLDER = Path("measure")
STORM = 10  # creates at once on each volume type: the default of measure.sh
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
        FOLDER / "promised.csv": csv_text(promised(advice, image)),
    }


def type_lines(scenario: Scenario, backends: set[str]) -> list[str]:
    """A line for each volume type and zone of some backends: the type, its number of pools, and its zone."""
    pools: dict[tuple[str, str], int] = {}
    for name, backend in scenario.backends.items():
        for tier in backend.volume_types if name in backends else ():
            key = tier, "" if backend.availability_zone == NOVA else backend.availability_zone
            pools[key] = pools.get(key, 0) + len(backend.pools)
    return ["\t".join([tier, str(count), *([zone] if zone else [])]) for (tier, zone), count in pools.items()]


def promised(advice: Advice, image: Image | None) -> pd.DataFrame:
    """A row for each volume type and kind of create: simulated seconds.

    `cold` and `warm` are users' creates of the history, waits included. `storm` is that of measure.sh: STORM
    creates at once of an image that no cache has, while nothing else happens.
    """
    rows = [
        {"volume_type": tier, "kind": kind, **told}
        for tier, ways in advice.promise["create_s"].items()
        for kind, told in ways.items()
    ]
    if image is not None:
        scenario = advice.last.scenario
        served = [tier for tier in scenario.tiers if scenario.hosts_of(tier)]
        rows += [
            {"volume_type": tier, "kind": "storm", **_storm(advice, image.image_id, tier)} for tier in served
        ]
    return pd.DataFrame(rows, columns=COLUMNS)


def _storm(advice: Advice, image: str, tier: str) -> dict[str, float]:
    """How long the creates of a storm take that succeed."""
    seconds = Storms(advice.last, Ask(STORM, image, tier=tier)).play(advice.strategy, {}).up_s
    made = seconds[np.isfinite(seconds)]
    p50_s, p95_s = np.percentile(made, (50, 95)) if len(made) else (np.nan, np.nan)
    return {"creates": len(made), "p50_s": float(p50_s), "p95_s": float(p95_s)}
