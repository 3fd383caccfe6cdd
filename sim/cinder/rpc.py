"""The message bus: what Cinder's services send each other reaches them in the same process."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any

from cinder import exception

from sim.cinder.clock import current_process
from sim.cinder.database import Context, Volume

if TYPE_CHECKING:
    from sim.cinder.engine import Simulation


class VolumeRPC:
    """`cinder.volume.rpcapi.VolumeAPI`: what the scheduler and the API send to the cinder-volume services."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
        allow_reschedule: bool = True,
    ) -> None:
        """One attempt. It starts at once, in the process of the request."""
        current_process().request.attempts += 1
        manager = self._simulation.manager_of(volume.host)
        # The service would log a failure; the volume's status says what came of it.
        with suppress(exception.CinderException):
            manager.create_volume(context, volume, request_spec, filter_properties, allow_reschedule)

    def copy_volume_to_image(self, context: Context, volume: Volume, image_meta: dict[str, Any]) -> None:
        """It starts at once, in the process of the upload."""
        self._simulation.manager_of(volume.host).copy_volume_to_image(context, volume.id, image_meta)

    def delete_volume(
        self, context: Context, volume: Volume, unmanage_only: bool = False, cascade: bool = False
    ) -> None:
        """A cast: it starts later in this instant."""
        manager = self._simulation.manager_of(volume.host)
        self._simulation.clock.cast(manager.delete_volume, context, volume, unmanage_only, cascade)


class SchedulerRPC:
    """`cinder.scheduler.rpcapi.SchedulerAPI`: what a cinder-volume sends to the scheduler."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
        **_: Any,
    ) -> None:
        """Reschedule: a cast, which starts later in this instant."""
        request = current_process().request
        self._simulation.clock.cast(
            self._simulation.schedule, request, context, volume, request_spec, filter_properties
        )
