"""The volume driver: Cinder's driver interface over a simulated array, in simulated time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any, TypeVar

import simpy
from cinder import exception
from cinder.image import image_utils
from os_brick.initiator.connectors.iscsi import ISCSIConnector

from sim.cinder.clock import Clock, current_process
from sim.cinder.database import Context, Volume
from sim.cinder.directories import Directories
from sim.cinder.glance import ImageService
from sim.cinder.links import Transfers
from sim.cinder.snapshots import Snapshot
from sim.cinder.turns import AT_ONCE, CloneTurns
from sim.inputs.scenario import Image, Scenario
from sim.inputs.units import MIB, MIB_PER_GIB
from sim.model.arrays import (
    Array,
    AtCloneLimit,
    Busy,
    Content,
    Full,
    Meter,
    Refusal,
    content_of,
    written_bytes,
)
from sim.model.links import NONE
from sim.model.records import FILL_FAILED
from sim.model.rules import Kind, bound_of

T = TypeVar("T")


class Driver:
    """The driver that `VolumeManager` and its create flow call as `self.driver`.

    The array decides and returns the duration of a step; the driver lets that time pass and records the
    result on the request of the current process. `images` are all images of the scenario by id, `meter`
    receives orphans, `transfers` go over shared links, `directories` are the nodes' conversion directories.
    """

    initialized = supported = True

    def __init__(
        self,
        clock: Clock,
        array: Array,
        images: dict[str, Image],
        meter: Meter,
        scenario: Scenario,
        transfers: Transfers,
        directories: Directories,
    ) -> None:
        self.array = array
        self.configuration = SimpleNamespace(
            image_upload_use_cinder_backend=scenario.upload in ("no-op", "raw-twin-location"),
            image_upload_use_internal_tenant=scenario.cinder.image_upload_use_internal_tenant,
            use_multipath_for_image_xfer=False,
            enforce_multipath_for_image_xfer=False,
        )
        self.capabilities: dict[str, Any] = {"clone_across_pools": array.spec.clone_across_pools}
        self._clock = clock
        self._transfers = transfers
        self._route = transfers.shared.of_array.get(array.name, NONE)
        self._images = images
        self._meter = meter
        self._clone_turns = CloneTurns(clock, array.spec.clone_lock == "source", array.spec.clone_streams)
        self._directories = directories
        streams = array.spec.write_streams
        self._write_streams = simpy.Resource(clock, streams) if streams else None

    def create_volume(self, volume: Volume) -> None:
        """An empty volume."""
        self._clock.sleep(
            self._asked(
                volume,
                self.array.create,
                volume.id,
                volume.pool,
                volume.size,
                _kind(volume),
                volume.volume_type_id,
            )
        )

    def copy_image_to_volume(
        self,
        context: Context,
        volume: Volume,
        image_service: ImageService,
        image_id: str,
        disable_sparse: bool = False,
    ) -> None:
        """Convert (if not raw) and write a downloaded image, on one of the backend's write streams."""
        image = self._images[image_id]
        image_utils.check_image_conversion_disable(image.disk_format, "raw", image_id)
        imports = self.array.spec.imports_raw_file
        if not imports:
            self._take_space(volume, image)
        with self._write_stream(), self._directories.converted(image.data_bytes) if imports else AT_ONCE:
            if imports:
                self._take_space(volume, image)
            self._clock.sleep(self.array.write_s(image))
            self._carry(written_bytes(image, self.array.spec) / MIB, self.array.spec.write_mib_s)
        current_process().request.source = "download"

    copy_image_to_encrypted_volume = copy_image_to_volume

    def copy_volume_to_image(
        self, context: Context, volume: Volume, image_service: ImageService, image_meta: dict[str, Any]
    ) -> None:
        """Read a volume, convert it (on a write stream) if the image is not raw, and send it to Glance."""
        image = self._images[image_meta["id"]]
        image_utils.check_image_conversion_disable(image.disk_format, "raw", image.image_id, upload=True)
        read_s = self.array.read_s(image)
        store_id = volume.volume_type.extra_specs.get("image_service:store_id")  # as in `upload_volume`
        if image.disk_format == "raw":
            image_service.update(context, image.image_id, {}, read_s, store_id)
            return
        with ExitStack() as file:
            with self._write_stream():
                file.enter_context(self._directories.converted(image.size_bytes))
                self._clock.sleep(read_s)
            image_service.update(context, image.image_id, {}, 0.0, store_id)

    def create_cloned_volume(self, volume: Volume, source: Volume) -> None:
        """A clone of a volume, for a user (from the cache or the store) or to fill the cache."""
        with self._turn_to_clone(source.id):
            seconds = self._asked(
                volume,
                self.array.clone,
                volume.id,
                source.id,
                volume.pool,
                volume.size,
                _kind(volume),
                volume.volume_type_id,
            )
            cloned = self.array.volumes[source.id]
            kind, size_gib = cloned.kind, cloned.size_gib
            self._clock.sleep(seconds)
            self._copy(size_gib)
        if kind != "user":
            current_process().request.source = kind

    def clone_image(
        self,
        context: Context,
        volume: Volume,
        image_location: Any,
        image_meta: dict[str, Any],
        image_service: ImageService,
    ) -> tuple[dict[str, Any], bool]:
        """The driver's own shortcut, if any: a clone of a raw image that Glance keeps beside the pool."""
        if not self.array.spec.driver_clones_raw or image_meta["disk_format"] != "raw":
            return {}, False
        request = current_process().request
        content = self._content(self._images[image_meta["id"]])
        with self._clone_turns.stream():
            seconds = self._asked(
                volume,
                self.array.clone_from_glance,
                volume.id,
                volume.pool,
                volume.size,
                volume.volume_type_id,
                content,
            )
            self._clock.sleep(seconds)
            self._copy(content.gib)
        request.source = "driver"
        return {}, True

    def extend_volume(self, volume: Volume, size_gib: int) -> None:
        """Grow a volume."""
        self._clock.sleep(self._asked(volume, self.array.extend, volume.id, size_gib))

    def delete_volume(self, volume: Volume) -> None:
        """Delete a volume; a volume that the array does not have is deleted at once."""
        try:
            seconds = self.array.begin_delete(volume.id)
        except Busy:
            if self.array.volumes[volume.id].kind == "cache":  # its entry is gone, so no code tries again
                self._meter.add(volume.pool, volume.volume_type_id, "orphan", 1, 0, 0)
            raise exception.VolumeIsBusy(volume_name=volume.id) from None
        if seconds is not None:
            self._clock.sleep(seconds)
            self.array.end_delete(volume.id)

    def _attach_volume(
        self, context: Context, volume: Volume, properties: dict[str, Any], remote: bool = False
    ) -> tuple[dict[str, Any], Volume]:
        """Attach a volume to the node by iSCSI: by this, Cinder can give it another key. It takes no time."""
        attached = {"connector": ISCSIConnector(""), "device": {"path": f"/attached/{volume.id}"}}
        return attached, volume

    def _detach_volume(self, *_: Any, **__: Any) -> None:
        """Detach a volume. It takes no time."""

    def create_snapshot(self, snapshot: Snapshot) -> None:
        """A snapshot of a volume."""
        asked = self.array.snapshot, snapshot.id, snapshot.volume_id
        self._clock.sleep(self._asked(snapshot.volume, *asked))

    def delete_snapshot(self, snapshot: Snapshot) -> None:
        """Delete a snapshot; one that the array does not have is deleted at once."""
        if self.array.spec.snapshots == "apart":
            self._clock.sleep(self.array.spec.delete_s)
            return
        seconds = self.array.begin_delete(snapshot.id)
        if seconds is not None:
            self._clock.sleep(seconds)
            self.array.end_delete(snapshot.id)

    def remove_export(self, context: Context, volume: Volume) -> None:
        """Nothing is exported."""

    def _take_space(self, volume: Volume, image: Image) -> None:
        self._asked(volume, self.array.write, volume.id, self._content(image))

    def _asked(self, volume: Volume, operation: Callable[..., T], *args: Any) -> T:
        """What the array answers. If it refuses, this raises the exception of a real driver."""
        try:
            return operation(*args)
        except Refusal as refusal:
            raise self._noted(volume, refusal) from None

    def _noted(self, volume: Volume, refusal: Refusal) -> exception.CinderException:
        """The exception of a real driver for a refusal, which is noted on the request."""
        error = of_a_driver(refusal)
        request = current_process().request
        if request is not None:
            if volume.id != request.volume_id:
                request.fill_error = FILL_FAILED + type(error).__name__
            elif self.array.has_place(volume.pool):
                request.cache_held = 0
            else:
                request.cache_held = self.array.cached(volume.pool)
        return error

    def _content(self, image: Image) -> Content:
        return content_of(image, current_process().request.image_version, self.array.spec)

    def _turn_to_clone(self, source_id: str) -> AbstractContextManager[None]:
        """A turn to clone a volume; a clone of what the array does not have fails at once."""
        return self._clone_turns.turn(source_id) if source_id in self.array.volumes else AT_ONCE

    def _write_stream(self) -> AbstractContextManager[None]:
        """One of the backend's write streams, first come, first served."""
        return AT_ONCE if self._write_streams is None else self._turn_to_write(self._write_streams)

    @contextmanager
    def _turn_to_write(self, streams: simpy.Resource) -> Iterator[None]:
        with streams.request() as turn:
            if not turn.triggered:
                since = self._clock.now
                self._clock.wait(turn)
                current_process().request.write_wait_s += self._clock.now - since
            yield

    def _copy(self, gib: float) -> None:
        """The full copy of a clone, if it comes apart (else its seconds have it)."""
        spec = self.array.spec
        if spec.clone_mib_s is None or not spec.copies_apart or not gib:
            return
        mib = gib * MIB_PER_GIB
        with self._write_stream() if spec.clone_copied_by == "node" else AT_ONCE:
            if self._route == NONE:
                self._clock.sleep(mib / spec.clone_mib_s)
            else:
                self._carry(mib, spec.clone_mib_s)

    def _carry(self, mib: float, own_mib_s: float | None) -> None:
        """Move data over the array's shared link, if it has one."""
        if self._route != NONE:
            self._transfers.carry(self._route, mib, bound_of(own_mib_s))


def of_a_driver(refusal: Refusal) -> exception.CinderException:
    """The exception that a real driver raises if the array refuses."""
    if isinstance(refusal, AtCloneLimit):
        return exception.SnapshotLimitReached(set_limit=refusal.limit)
    hosts = refusal.hosts if isinstance(refusal, Full) else ()
    return exception.VolumeBackendAPIException(data=str(refusal), full=hosts)


def _kind(volume: Volume) -> Kind:
    """The kind of a volume that is being made. Volumes that Cinder makes from images have a name."""
    return current_process().request.makes if volume.display_name else "user"
