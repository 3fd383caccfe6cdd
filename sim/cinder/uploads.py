"""Uploads: Cinder's own code makes volumes into images; the proposals also keep a clone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import cinder.context
from castellan.common.exception import CastellanException
from cinder import coordination, exception, objects
from glanceclient.exc import HTTPInternalServerError, HTTPOverLimit
from oslo_concurrency.processutils import ProcessExecutionError
from webob.exc import HTTPBadRequest

from sim.cinder.clock import current_process
from sim.cinder.database import Context, Volume
from sim.cinder.glance import MARKED, ImageService
from sim.cinder.ondemand import clonable
from sim.cinder.what_if import image_lock
from sim.inputs.scenario import Scenario

# What Cinder raises of an upload, in its API and on the node.
UPLOAD_ERRORS = (
    exception.CinderException,
    CastellanException,
    HTTPBadRequest,
    HTTPInternalServerError,
    HTTPOverLimit,
    ProcessExecutionError,
)


class Marking:
    """An image service that marks its locations: their data is raw, whatever the image's format."""

    def __init__(self, image_service: ImageService) -> None:
        self._image_service = image_service

    def add_location(self, context: Context, image_id: str, url: str, metadata: dict[str, Any]) -> Any:
        marked = url.replace("cinder://", f"{MARKED}://")
        return self._image_service.add_location(context, image_id, marked, metadata)


def keep_location(
    manager: Any, context: Context, volume: Volume, service: ImageService, image_meta: dict[str, Any]
) -> None:
    """`raw-twin-location`: an image that is not raw also gets a clone of its volume, as a marked location.

    This would change `VolumeManager.copy_volume_to_image` (cinder/volume/manager.py).
    """
    if not clonable(image_meta):
        raw = {**image_meta, "disk_format": "raw", "container_format": "bare"}
        manager._clone_image_volume_and_add_location(context, volume, Marking(service), raw)


def keep_entry(
    locked_fill: Callable[..., None],
    manager: Any,
    context: Context,
    volume: Volume,
    service: ImageService,
    image_meta: dict[str, Any],
) -> None:
    """`raw-twin-cache`: a clone of an image's volume becomes an entry of the cache, as in a fill.

    This would change `VolumeManager.copy_volume_to_image` (cinder/volume/manager.py). `create_cache_entry`
    (cinder/image/cache.py) already accepts the `updated_at` of a new image, which is text. But if the volume
    was itself made from an image, its clone is bootable and has that image's metadata.
    `_create_from_source_volume` (create_volume.py) would pass them on to the clones of the entry: every such
    create would fail (`GlanceMetadataExists`). So the clone must not be bootable.
    Of an encrypted volume nothing is kept: the creates that look into the cache are those of others.
    """
    cache = manager.image_volume_cache
    if cache is None or cache.holds_locations or volume.encryption_key_id:
        return
    found = service.show(context, image_meta["id"])
    updated_at = found["updated_at"].strftime("%Y-%m-%dT%H:%M:%S.%f")
    current_process().request.makes = "cache"
    locked_fill(manager, volume, found["id"], {**found, "updated_at": updated_at})


def _fill(manager: Any, volume: Volume, image_id: str, image_meta: dict[str, Any]) -> None:
    context = cinder.context.get_internal_tenant_context()
    manager._create_image_cache_volume_entry(context, volume, image_id, image_meta)
    here = manager.image_volume_cache._get_query_filters(volume)
    for entry in manager.db.image_volume_cache_get_all(context, **here):
        if entry["image_id"] == image_id:
            objects.Volume.get_by_id(context, entry["volume_id"]).update({"bootable": False})


def twin(scenario: Scenario) -> Callable[..., None] | None:
    """The function that keeps a clone of an uploaded volume; None: Cinder keeps none."""
    if scenario.upload == "raw-twin-cache":
        lock = coordination.synchronized(image_lock(scenario.what_if))
        return partial(keep_entry, lock(_fill))
    return keep_location if scenario.upload == "raw-twin-location" else None


class MarkedLocations:
    """For `CreateVolumeFromSpecTask` (create_volume.py): also clones from marked locations."""

    def _clone_image_volume(
        self, context: Context, volume: Volume, image_location: Any, image_meta: dict[str, Any]
    ) -> tuple[Any, bool]:
        clone = super()._clone_image_volume  # type: ignore[misc]
        found: tuple[Any, bool] = clone(context, volume, image_location, image_meta)
        urls = [location["url"] for location in image_location[1]]
        marked = [url.replace(f"{MARKED}://", "cinder://") for url in urls if url.startswith(MARKED)]
        if found[1] or not marked:
            return found
        raw = {**image_meta, "disk_format": "raw", "container_format": "bare"}
        found = clone(context, volume, (None, [{"url": url} for url in marked]), raw)
        return found


class Upload:
    """A requested upload and its results so far. `row` is its position among the uploads of the trace.

    `delete_wanted`: delete its volume when it is over. `image_wanted`: False if its image was deleted.
    """

    __slots__ = ("delete_wanted", "error", "image_id", "image_wanted", "row", "volume_id")

    def __init__(self, row: int, volume_id: str, image_id: str) -> None:
        self.row = row
        self.volume_id = volume_id
        self.image_id = image_id
        self.error = ""
        self.delete_wanted = False
        self.image_wanted = True
