"""Cinder's API over the simulated parts: what users ask for beside creates."""

from __future__ import annotations

from inspect import unwrap
from types import SimpleNamespace
from typing import Any

from castellan import key_manager
from cinder.api import microversions
from cinder.api.contrib.volume_actions import VolumeActionsController
from cinder.message import api as message_api
from cinder.volume import api
from cinder.volume.flows.api.create_volume import ExtractVolumeRequestTask
from webob.exc import HTTPBadRequest

from sim.cinder.database import Context, Database
from sim.cinder.glance import ImageService
from sim.inputs.images import Image
from sim.model.repeats import repeats

Checked = tuple[list[str], dict[str, Any] | None]
BASE_VERSION = microversions.get_api_version(microversions.BASE_VERSION)


class VolumeAPI(api.API):  # type: ignore[misc]
    """Cinder's volume API. Deletes, uploads, snapshots and extensions run here."""

    def __init__(self, db: Database, volume_rpcapi: Any, scheduler_rpcapi: Any = None) -> None:
        # The parent's __init__ is not called: it connects to Glance and to the message bus.
        self.db = db
        self.volume_rpcapi = volume_rpcapi
        self.scheduler_rpcapi = scheduler_rpcapi
        self.key_manager = key_manager.API()
        self.message = message_api.API()


class CreateRequest(ExtractVolumeRequestTask):  # type: ignore[misc]
    """The API's task that checks a create: the parts that have to do with what is simulated."""

    @repeats("cinder.volume.flows.api.create_volume:ExtractVolumeRequestTask", "execute")
    def checked(
        self, context: Context, image_service: ImageService, image_id: str, size_gib: int, zone: str
    ) -> Checked:
        """The zones, of which there is one, and the image's metadata; they are checked in the API's order."""
        self.image_service = image_service
        image_meta = self._get_image_metadata(context, image_id or None, size_gib)
        zones, _ = self._extract_availability_zones(zone or None, None, None, None)
        return zones, image_meta

    def key(self, context: Context, volume_type: str, image_meta: dict[str, Any] | None) -> str:
        """The key of a new encrypted volume: a copy of its image's, or a new one."""
        key_id: str = self._get_encryption_key_id(
            key_manager.API(), context, volume_type, None, None, image_meta
        )
        return key_id


class Actions(VolumeActionsController):  # type: ignore[misc]
    """The REST API's actions on volumes. Only the upload runs here."""

    def __init__(self, volume_api: VolumeAPI) -> None:
        # The parent's __init__ is not called: it makes another volume API.
        self.volume_api = volume_api
        self._key_mgr = volume_api.key_manager

    def upload(self, context: Context, volume_id: str, image: Image) -> None:
        """Ask for an image of a volume; raises what Cinder's code raises, not its answer of HTTP."""
        asked = {
            "image_name": image.name,
            "disk_format": image.disk_format,
            "container_format": image.container_format,
        }
        request = SimpleNamespace(environ={"cinder.context": context}, api_version_request=BASE_VERSION)
        try:
            # Without the schema of the request's body: an image of a trace need not have a name.
            ask = unwrap(VolumeActionsController._volume_upload_image)
            ask(self, request, volume_id, {"os-volume_upload_image": asked})
        except HTTPBadRequest as answer:
            raise answer.__context__ or answer from None
