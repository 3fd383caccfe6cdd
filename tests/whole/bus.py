"""The message bus: what Cinder's services say to each other, delivered in simulated time."""

from __future__ import annotations

import contextlib
import copy
from typing import Any

from cinder import objects
from oslo_serialization import jsonutils

from .cloud import Cloud


def through_rpc(context: Any, value: Any) -> Any:
    """A copy, as an argument of a message arrives at the other end of the bus."""
    if isinstance(value, objects.base.CinderObject):
        return type(value).obj_from_primitive(value.obj_to_primitive(), context)
    if isinstance(value, dict):
        return {name: through_rpc(context, part) for name, part in value.items()}
    return copy.deepcopy(value)


class SchedulerAPI:
    """`cinder.scheduler.rpcapi.SchedulerAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(self, context: Any, volume: Any, **kwargs: Any) -> None:
        self.cloud.cast_schedule(context, through_rpc(context, volume), through_rpc(context, kwargs))

    def create_snapshot(self, context: Any, volume: Any, snapshot: Any, *_: Any) -> None:
        """The scheduler's check is not simulated."""
        self.cloud.cast_snapshot("create_snapshot", context, volume, snapshot.id)

    def extend_volume(
        self, context: Any, volume: Any, new_size: int, reservations: Any, request_spec: Any
    ) -> None:
        volume, spec = through_rpc(context, volume), jsonutils.to_primitive(request_spec)
        self.cloud.cast_extend(context, volume, new_size, reservations, spec)

    def update_service_capabilities(
        self, context: Any, service: str, host: str, capabilities: Any, cluster: Any, **_: Any
    ) -> None:
        self.cloud.scheduler.update_service_capabilities(
            context, service, host, copy.deepcopy(capabilities), cluster
        )

    def notify_service_capabilities(
        self, context: Any, service: str, backend: str, capabilities: Any, **_: Any
    ) -> None:
        # Cinder cannot tell the usage of pools that are "infinite": a KeyError, which stays at
        # the other end of a cast.
        with contextlib.suppress(KeyError):
            self.cloud.scheduler.notify_service_capabilities(
                context, service, copy.deepcopy(capabilities), backend=backend
            )


class VolumeAPI:
    """`cinder.volume.rpcapi.VolumeAPI` over the simulated bus."""

    def __init__(self) -> None:
        self.cloud = Cloud.current

    def create_volume(
        self, context: Any, volume: Any, spec: Any, properties: Any, allow_reschedule: bool
    ) -> None:
        args = {"request_spec": spec, "filter_properties": properties}
        volume, args = through_rpc(context, volume), through_rpc(context, args)
        self.cloud.placed(context, volume, args, allow_reschedule)

    def delete_volume(
        self, context: Any, volume: Any, unmanage_only: bool = False, cascade: bool = False
    ) -> None:
        self.cloud.cast_delete(context, through_rpc(context, volume))

    def delete_snapshot(self, context: Any, snapshot: Any, unmanage_only: bool = False) -> None:
        self.cloud.cast_snapshot("delete_snapshot", context, snapshot.volume, snapshot.id)

    def extend_volume(self, context: Any, volume: Any, new_size: int, reservations: Any) -> None:
        self.cloud.extended(context, through_rpc(context, volume), new_size, reservations)

    def copy_volume_to_image(self, context: Any, volume: Any, image_meta: dict[str, Any]) -> None:
        self.cloud.cast_upload(context, volume, through_rpc(context, image_meta))
