"""Findings on nodes whose conversion directory had no room."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from sim.analysis.node_findings import held_on
from sim.analysis.wording import Finding, at_host, by, count, creates, lost_s, name_of, some
from sim.inputs.problems import printable
from sim.model.records import Records
from sim.run import run

if TYPE_CHECKING:
    from sim.inputs.scenario import Case

# What `check_available_space` says (cinder/image/image_utils.py).
NO_SPACE = "ImageTooBig: .*: There is no space on "


def full_directories(nodes: pd.DataFrame, case: Case, strategy: str | None) -> list[Finding]:
    """A line for each node that refused creates or uploads.

    `nodes`: as in Records. `strategy`: None if the case is too large to simulate it again without limits.
    """
    full = nodes[nodes["image_conversion_refused"] > 0]
    if full.empty:
        return []
    enough = _needed(case, strategy) if strategy else None
    lines = []
    for row, refused in zip(full.to_dict("records"), full["image_conversion_refused"], strict=True):
        line = (
            f"node {printable(row['node'])}: image_conversion_dir ({row['image_conversion_gib']:,g} GiB) had"
            f" no room for {count(refused, 'create or upload', 'creates and uploads')}"
        )
        if enough is not None:
            gib = math.ceil(enough[row["node"]] * 100) / 100
            line += f"; more than {gib:,g} GiB would have been enough"
        lines.append(Finding(line, lost_s=refused * case.scenario.boot_timeout_s))
    return lines


def _needed(case: Case, strategy: str) -> pd.Series[float]:
    """The GiB that each node needs if it has them: the case is simulated without these limits."""
    nodes = {
        name: node.model_copy(update={"image_conversion_gib": None})
        for name, node in case.scenario.nodes.items()
    }
    free = replace(case, scenario=case.scenario.model_copy(update={"nodes": nodes}))
    return run(free, strategy, "fast").nodes.set_index("node")["image_conversion_needed_gib"]


def refused_clones(records: Records, case: Case) -> list[Finding]:
    """A line for each pool with creates whose clone was refused for lack of space for a conversion."""
    requests = records.requests
    refused = requests[requests["error"].astype(str).str.contains(NO_SPACE)]
    held = held_on(records, case)
    had = [
        any(start <= row["end"] < until for start, until in held[row["host"], row["image_id"]])
        for row in refused[["host", "image_id", "end"]].to_dict("records")
    ]
    cached = refused[np.array(had, dtype=bool)]  # an empty list would choose no columns
    lines = []
    for host, chosen in by(cached, "host"):
        images = some(name_of(case, image_id) for image_id in chosen["image_id"].unique())
        line = (
            f"{creates(chosen)} of {images} failed for lack of space for image conversion, though the"
            " cache had the image: Cinder checks the space before it looks into the cache"
        )
        lines.append(at_host(line, case, host, lost_s(chosen, case)))
    return lines
