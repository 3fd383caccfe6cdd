"""What-ifs: Cinder's own classes with a few functions decorated or wrapped in another way.

`sim.inputs.scenario.WhatIf` states the change of each to Cinder. With a what-if off, the code is Cinder's
own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from cinder import coordination, exception, utils
from cinder.volume import manager
from cinder.volume.flows.manager import create_volume

from sim.inputs.scenario import WhatIf
from sim.inputs.units import whole_gib
from sim.model.rules import cache_refuses


def create_task(what_if: WhatIf, *patches: type) -> Any:
    """The class of the task that makes a volume: `CreateVolumeFromSpecTask`, or its changed version.

    `patches` are classes that go before it.
    """
    task = create_volume.CreateVolumeFromSpecTask
    changed: dict[str, Any] = {}
    prepare = task._prepare_image_cache_entry
    if what_if.lock_per_pool:
        prepare = coordination.synchronized(image_lock(what_if))(inspect.unwrap(prepare))
        changed["_prepare_image_cache_entry"] = prepare
    if what_if.refused_without_lock:
        changed["_prepare_image_cache_entry"] = _unless_refused(prepare)
    if what_if.retry_clone_limit:
        once_more = utils.retry(exception.SnapshotLimitReached, retries=2)
        changed["_create_from_image"] = once_more(inspect.unwrap(task._create_from_image))
    if changed:
        task = type(task.__name__, (task,), changed)
    return type(task.__name__, (*patches, task), {}) if patches else task


def image_lock(what_if: WhatIf) -> str:
    """The name of the lock under which an image is entered into the cache."""
    return "{image_id}-{volume.service_topic_queue}" if what_if.lock_per_pool else "{image_id}"


def fill(what_if: WhatIf) -> Callable[..., None]:
    """`VolumeManager._create_image_cache_volume_entry`, or its changed version."""
    function: Callable[..., None] = manager.VolumeManager._create_image_cache_volume_entry
    if not what_if.fill_lock:
        return function
    whose = "{self.service_topic_queue}" if what_if.limits_per_backend else "{volume_ref.service_topic_queue}"
    locked: Callable[..., None] = coordination.synchronized(f"{whose}-fill")(function)
    return locked


def _unless_refused(prepare: Callable[..., Any]) -> Callable[..., Any]:
    """`_prepare_image_cache_entry`, but without images that `ensure_space` would refuse."""

    def unless_refused(
        self: Any,
        context: Any,
        volume: Any,
        image_location: Any,
        image_id: str,
        image_meta: dict[str, Any],
        image_service: Any,
    ) -> Any:
        size = whole_gib(image_meta["virtual_size"] or 0)  # 0: not known, so the cache may have it
        if cache_refuses(size, self.image_volume_cache.max_cache_size_gb):
            return None, False
        return prepare(self, context, volume, image_location, image_id, image_meta, image_service)

    return unless_refused
