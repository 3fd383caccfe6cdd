"""What-ifs: Cinder's own classes with a few functions decorated or wrapped in another way.

Each says in `sim.scenario.WhatIf` what it would change in Cinder. What is off is Cinder's own.
"""

from __future__ import annotations

import inspect
from typing import Any

from cinder import coordination
from cinder.volume.flows.manager import create_volume

from sim.scenario import WhatIf


def create_task(what_if: WhatIf) -> Any:
    """The class of the task that makes a volume: `CreateVolumeFromSpecTask`, or what it would be."""
    task = create_volume.CreateVolumeFromSpecTask
    changed: dict[str, Any] = {}
    prepare = task._prepare_image_cache_entry
    if what_if.lock_per_pool:
        prepare = coordination.synchronized("{image_id}-{volume.host}")(inspect.unwrap(prepare))
        changed["_prepare_image_cache_entry"] = prepare
    return type(task.__name__, (task,), changed) if changed else task
