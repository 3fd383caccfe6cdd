"""The message bus: delivers the messages between Cinder's services within the same process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from cinder import exception
from glanceclient.exc import HTTPInternalServerError

from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Volume
from sim.cinder.manager import VolumeManager
from sim.cinder.quotas import Reservation
from sim.cinder.services import Services
from sim.cinder.snapshots import Snapshot

# Of a create. The service would log them; the volume's status has the result.
FAILURES = exception.CinderException, HTTPInternalServerError


def handle(manager: VolumeManager, handler: Callable[..., Any], *args: Any) -> None:
    """Have a service handle a message on its node, in one of its threads (`executor_thread_pool_size`).

    oslo.messaging's server hands each message to an executor (`MessageHandlingServer` in
    oslo_messaging/server.py), and the messages that find no thread wait in its queue.
    """
    current_process().node = manager.node_name
    with manager.threads:
        handler(*args)


class VolumeRPC:
    """`cinder.volume.rpcapi.VolumeAPI`: messages from the scheduler and the API to cinder-volume.

    The services are made later.
    """

    services: Services

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.snapshot_ended: Callable[[Snapshot], None] = lambda _: None

    def create_volume(
        self,
        context: Context,
        volume: Volume,
        request_spec: dict[str, Any],
        filter_properties: dict[str, Any],
        allow_reschedule: bool = True,
    ) -> None:
        """One attempt. It starts at once, in the process of the request."""
        request, asked = current_process().request, self._clock.now
        request.attempts += 1
        manager = self.services.next(volume)
        try:
            with manager.threads:
                request.thread_wait_s += self._clock.now - asked
                manager.create_volume(context, volume, request_spec, filter_properties, allow_reschedule)
        except FAILURES:
            pass

    def copy_volume_to_image(self, context: Context, volume: Volume, image_meta: dict[str, Any]) -> None:
        """A cast: it starts later in this instant, in the process of the upload, which waits for it."""
        self._clock.pause()
        manager = self.services.of(volume)
        handle(manager, manager.copy_volume_to_image, context, volume.id, image_meta)

    def delete_volume(
        self, context: Context, volume: Volume, unmanage_only: bool = False, cascade: bool = False
    ) -> None:
        """A cast: it starts later in this instant."""
        manager = self.services.of(volume)
        self._clock.cast(handle, manager, manager.delete_volume, context, volume, unmanage_only, cascade)

    def extend_volume(
        self, context: Context, volume: Volume, new_size: int, reservations: list[Reservation]
    ) -> None:
        """A cast, too."""
        manager = self.services.of(volume)
        self._clock.cast(handle, manager, manager.extend_volume, context, volume, new_size, reservations)

    def create_snapshot(self, context: Context, volume: Volume, snapshot: Snapshot) -> None:
        """A cast, as is `delete_snapshot`."""
        self._on_snapshot("create_snapshot", context, volume, snapshot)

    def delete_snapshot(self, context: Context, snapshot: Snapshot, unmanage_only: bool = False) -> None:
        self._on_snapshot("delete_snapshot", context, snapshot.volume, snapshot)

    def _on_snapshot(self, step: str, context: Context, volume: Volume, snapshot: Snapshot) -> None:
        manager = self.services.of(volume)
        snapshot.running = True

        def run() -> None:
            with suppress(exception.CinderException):
                handle(manager, getattr(manager, step), context, snapshot)
            snapshot.running = False
            self.snapshot_ended(snapshot)

        self._clock.cast(run)


class SchedulerRPC:
    """`cinder.scheduler.rpcapi.SchedulerAPI`: messages from a cinder-volume or the API to the scheduler.

    `schedule` takes a request, then Cinder's arguments; `extend` takes Cinder's arguments.
    """

    def __init__(
        self,
        clock: Clock,
        volume_rpcapi: VolumeRPC,
        schedule: Callable[..., None],
        extend: Callable[..., None],
    ) -> None:
        self._clock = clock
        self._volume_rpcapi = volume_rpcapi
        self._schedule = schedule
        self._extend = extend

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
        self._clock.cast(self._schedule, request, context, volume, request_spec, filter_properties)

    def create_snapshot(self, ctxt: Context, volume: Volume, snapshot: Snapshot, *_: Any) -> None:
        """The scheduler's check is not simulated: its message goes to the volume service."""
        self._volume_rpcapi.create_snapshot(ctxt, volume, snapshot)

    def extend_volume(
        self,
        ctxt: Context,
        volume: Volume,
        new_size: int,
        reservations: list[Reservation],
        request_spec: dict[str, Any],
    ) -> None:
        """A cast, with the values that the volume has now."""
        spec = {**request_spec, "volume_properties": dict(volume)}
        self._clock.cast(self._extend, ctxt, volume, new_size, reservations, spec)
