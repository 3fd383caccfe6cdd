"""The on-demand store, which Cinder lacks: a miss leaves an image-volume as a location of its image."""

from __future__ import annotations

from typing import Any

from cinder import exception

from sim.cinder.clock import current_process
from sim.cinder.database import Context, Volume
from sim.cinder.glance import Glance
from sim.cinder.policies import ObservedCache
from sim.inputs.images import Image
from sim.model.repeats import repeats


class OnDemandStore(ObservedCache):
    """Takes the place of the image-volume cache, so that Cinder's code makes image-volumes as fills do.

    It keeps them as locations in Glance. `_clone_image_volume` (create_volume.py) finds these like other
    locations of the Cinder store. They are never evicted and go with their image.
    """

    holds_locations = True

    def __init__(self, db: Any, volume_api: Any, glance: Glance) -> None:
        super().__init__(db, volume_api)
        self._glance = glance

    def get_entry(
        self,
        context: Context,
        volume_ref: Volume,
        image_id: str,
        image_meta: dict[str, Any],
        clone_across_pools: bool = False,
    ) -> dict[str, str] | None:
        """The image's newest location on the volume's own pool from which it may be cloned.

        So a pool gets a location of its own, even if one on another array has just failed to be cloned.
        """
        if not clonable(image_meta):
            return None
        found = self._glance.locations(image_id, volume_ref.project_id)
        here = [volume for volume in found if volume.pool == volume_ref.pool]
        newest = max(here, key=lambda volume: volume.number, default=None)
        return {"image_id": image_id, "volume_id": newest.id, "host": newest.host} if newest else None

    def keeps(self, image: Image) -> bool:
        """Whether this image would leave an image-volume."""
        return (image.disk_format, image.container_format) == ("raw", "bare")

    def ensure_space(self, context: Context, volume: Volume) -> bool:
        """Always true: the store has no limit. The next clone is an image-volume of the store."""
        current_process().request.makes = "store"
        return True

    def create_cache_entry(
        self, context: Context, volume_ref: Volume, image_id: str, image_meta: dict[str, Any]
    ) -> None:
        """Add the location to the image; if the image is gone, delete the volume."""
        if not self._glance.add_location(image_id, volume_ref, image_meta["owner"]):
            self.volume_api.delete(context, volume_ref)

    def delete_cached_volume(self, *_: Any) -> None:
        """Evict nothing, not even at the array's clone limit."""

    def evict(self, *_: Any) -> None:
        """See `delete_cached_volume`."""


class OnDemand:
    """For `CreateVolumeFromSpecTask`: images that the store cannot clone do not fill it."""

    def _prepare_image_cache_entry(
        self,
        context: Context,
        volume: Volume,
        image_location: Any,
        image_id: str,
        image_meta: dict[str, Any],
        image_service: Any,
    ) -> tuple[Any, bool]:
        if not clonable(image_meta):
            return None, False
        found: tuple[Any, bool] = super()._prepare_image_cache_entry(  # type: ignore[misc]
            context, volume, image_location, image_id, image_meta, image_service
        )
        return found

    def _handle_bootable_volume_glance_meta(self, context: Context, volume: Volume, **source: Any) -> None:
        """A clone gets no metadata from its image-volume, as in `_clone_image_volume`.

        An uploaded volume that was itself made from an image has some. A create from its image sets its own,
        and would fail on those that are there (`GlanceMetadataExists`).
        """
        if "source_volid" not in source:
            super()._handle_bootable_volume_glance_meta(context, volume, **source)  # type: ignore[misc]

    def _create_from_image_cache(self, *args: Any) -> tuple[Any, bool]:
        """At the clone limit, download the image, as with the store."""
        try:
            found: tuple[Any, bool] = super()._create_from_image_cache(*args)  # type: ignore[misc]
        except exception.SnapshotLimitReached:
            return None, False
        return found


@repeats("cinder.volume.flows.manager.create_volume:CreateVolumeFromSpecTask", "_clone_image_volume")
def clonable(image_meta: dict[str, Any]) -> bool:
    """Whether `_clone_image_volume` clones such images."""
    return (image_meta["disk_format"], image_meta["container_format"]) == ("raw", "bare")
