"""Cases out of arrays: creates with lifetimes, for tests that draw their workload."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from sim.inputs.scenario import Case, Scenario
from sim.inputs.trace import EVENTS, Trace, empty_initial

GIB = 2**30


def drawn_case(
    time: npt.ArrayLike,
    image: npt.ArrayLike,
    lifetime: npt.ArrayLike,
    host: npt.ArrayLike = "array#p0",
    tier: npt.ArrayLike = "tier",
    size_gib: int = 10,
    **scenario: Any,
) -> Case:
    """A create of image `i{image}` at each of `time` (seconds), deleted `lifetime` seconds later.

    All but `size_gib` are scalars or of one shape (creates,). `scenario` has `backends` and what else is
    not as absent; images are raw and of 1 GiB each.
    """
    count = np.size(time)
    image = np.broadcast_to(np.asarray(image), count)
    creates = pd.DataFrame(
        {
            "time": np.asarray(time, dtype=float),
            "event": "create",
            "volume_id": [f"v{number}" for number in range(count)],
            "image_id": [f"i{number}" for number in image],
            "size_gib": size_gib,
            "volume_type": np.broadcast_to(tier, count),
            "host": np.broadcast_to(host, count),
        }
    )
    deletes = creates[["time", "volume_id"]].assign(event="delete")
    deletes["time"] += np.broadcast_to(lifetime, count)
    events = pd.concat([creates, deletes]).sort_values("time", kind="stable", ignore_index=True)
    events = events.fillna({"image_id": "", "volume_type": "", "host": "", "size_gib": 0}).assign(
        size_gib=lambda frame: frame["size_gib"].astype("int64"),
        event=lambda frame: pd.Categorical(frame["event"], EVENTS),
        project="",
        encrypted=False,
        first_host="",
        availability_zone="",
        snapshot_id="",
    )
    images = [
        {
            "image_id": f"i{number}",
            "name": "",
            "disk_format": "raw",
            "container_format": "bare",
            "size_bytes": GIB,
            "virtual_size_bytes": GIB,
        }
        for number in np.unique(image)
    ]
    spec = Scenario.model_validate(
        {"tiers": {name: {} for name in np.unique(tier)}, "workload": {"trace": "drawn"}}
        | {"images": images}
        | scenario
    )
    assert not isinstance(spec.images, str)
    by_id = {one.image_id: one for one in spec.images}
    return Case(Path("drawn.yaml"), spec, by_id, Trace(events, None, Path("drawn")), empty_initial())
