"""Rows of Cinder's database, written by Cinder's own objects and database API at chosen times."""

from __future__ import annotations

import contextlib
import uuid
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from cinder import objects
from cinder.objects import fields
from cinder.volume import volume_types
from oslo_utils import timeutils
from sqlalchemy.engine import URL

from sim.cinder.release import db_api
from tests.whole.process import admin, connected

INTERNAL = "internal"
START = datetime(2026, 3, 1, tzinfo=UTC)
HOST = "c1@a#p0"
METADATA = {"disk_format": "qcow2", "container_format": "bare", "size": str(2**30), "image_name": "An image"}


def at(hours: float) -> datetime:
    return START + timedelta(hours=hours)


def image_id(name: str) -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_URL, name))


class Rows:
    """Writes what happened, one call after the other. Times are hours from START."""

    def __init__(self) -> None:
        self.context = admin()
        self.now(0)
        specs = {"volume_backend_name": "gold", "multiattach": "<is> True", "image_service:store_id": "fast"}
        self.type_id = volume_types.create(self.context, "gold", specs)["id"]

    def now(self, hours: float) -> Rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            timeutils.set_time_override(at(hours).replace(tzinfo=None))
        return self

    def volume(self, hours: float, launched: float | None = 0.01, **values: Any) -> Any:
        """A volume made then, and launched so many hours later (None: never)."""
        self.now(hours)
        volume = objects.Volume(
            context=self.context,
            **{
                "size": 5,
                "user_id": "alice",
                "project_id": "alice",
                "host": HOST,
                "status": "available" if launched is not None else "error",
                "attach_status": fields.VolumeAttachStatus.DETACHED,
                "volume_type_id": self.type_id,
                **values,
            },
        )
        volume.create()
        if launched is not None:
            self.now(hours + launched)
            volume.launched_at = timeutils.utcnow()
            volume.save()
        return volume

    def from_image(self, hours: float, name: str, **values: Any) -> Any:
        """A volume made from an image: its metadata is written just before it is launched."""
        volume = self.volume(hours, bootable=True, **values)
        self.metadata(volume, name)
        return volume

    def metadata(self, volume: Any, name: str) -> None:
        written = {"image_id": image_id(name), **METADATA}
        db_api.volume_glance_metadata_bulk_create(self.context, volume.id, written)

    def signed(self, volume: Any) -> None:
        """What a download notes, before the image: whether the signature was verified."""
        db_api.volume_glance_metadata_bulk_create(self.context, volume.id, {"signature_verified": "False"})

    def end(self, hours: float, volume: Any) -> Any:
        """The end of a create that was under way."""
        self.now(hours)
        volume.launched_at, volume.status = at(hours), "available"
        volume.save()
        return volume

    def download(self, hours: float, name: str, took: float = 0.05, **values: Any) -> Any:
        """A volume that is downloaded, and is there so many hours later."""
        volume = self.volume(hours, None, status="downloading", bootable=True, **values)
        self.signed(volume)
        self.metadata(volume, name)
        return self.end(hours + took, volume)

    def cloned_after_a_failed_download(self, hours: float, name: str) -> Any:
        """A clone whose first attempt downloaded on another backend, and failed there.

        `CreateVolumeFromSpecTask` deletes the metadata of an attempt that fails; the next writes its own. The
        delete of the volume deletes all rows.
        """
        volume = self.volume(hours, None, status="downloading", bootable=True)
        self.signed(volume)
        self.now(hours + 0.1)
        db_api.volume_glance_metadata_delete_by_volume(self.context, volume.id)
        self.now(hours + 0.2)
        self.metadata(volume, name)
        self.end(hours + 0.3, volume)
        self.delete(hours + 1, volume)
        return volume

    def fill(self, hours: float, name: str, **values: Any) -> Any:
        """An image-volume of the cache and its entry, as the volume manager makes them."""
        source = str(uuid.uuid4())
        named = {"display_name": f"image-{image_id(name)}", "source_volid": source, "project_id": INTERNAL}
        volume = self.volume(hours, **{"size": 2, **named, **values})
        db_api.image_volume_cache_create(
            self.context, volume.host, None, image_id(name), timeutils.utcnow(), volume.id, volume.size
        )
        return volume

    def use(self, hours: float, name: str, host: str = HOST) -> None:
        """The cache is asked for an image and has it."""
        self.now(hours)
        db_api.image_volume_cache_get_and_update_last_used(self.context, image_id(name), host=host)

    def ask_to_delete(self, hours: float, volume: Any) -> None:
        """What `volume.API.delete` does first."""
        self.now(hours)
        volume.status, volume.terminated_at = "deleting", timeutils.utcnow()
        volume.save()
        db_api.image_volume_cache_delete(self.context, volume.id)

    def delete(self, hours: float, volume: Any, took: float = 0.02) -> None:
        """A delete that the array ended some hours later."""
        self.ask_to_delete(hours, volume)
        self.now(hours + took)
        volume.destroy()

    def migrate(self, hours: float, volume: Any, host: str) -> None:
        """Cinder's own migration, by copying: `VolumeManager.migrate_volume_completion`."""
        target = self.volume(
            hours, host=host, use_quota=False, migration_status=f"target:{volume.id}", size=volume.size
        )
        here, there = (objects.Volume.get_by_id(self.context, one.id) for one in (volume, target))
        old = here.finish_volume_migration(there)
        here.migration_status = "success"
        here.save()
        self.now(hours + 0.1)
        old.destroy()

    def purge(self, hours: float, days: int) -> None:
        """`cinder-manage db purge`: what was deleted so many days before."""
        self.now(hours)
        with db_api.main_context_manager.writer.using(self.context):
            db_api.purge_deleted_rows(self.context, days)


@contextlib.contextmanager
def writing(url: URL) -> Iterator[Rows]:
    """Cinder over the database of `url`, which gets its tables."""
    with connected(url.render_as_string(hide_password=False)):
        try:
            yield Rows()
        finally:
            timeutils.clear_time_override()


def everything(rows: Rows) -> dict[str, Any]:
    """One of each kind of rows; those to be found by name."""
    r, made = rows, {}
    other = {"host": "c2@b#p0", "project_id": "bob"}
    db_api.quota_create(r.context, INTERNAL, "volumes", 40)
    for number, hours in enumerate((1, 2)):
        made[f"image{number}"] = r.from_image(hours, "golden", size=10 + number)
    made["blank"] = r.volume(3, **other)
    made["clone"] = r.from_image(4, "golden", source_volid=made["image0"].id)
    made["of snapshot"] = r.volume(5, snapshot_id=str(uuid.uuid4()))
    made["encrypted"] = r.from_image(6, "golden", encryption_key_id=str(uuid.uuid4()))
    r.volume(7, None)  # failed
    r.delete(7.2, r.volume(7.1, None, host=None))
    r.volume(7.3, None, status="creating")
    r.volume(8, use_quota=False, display_name="backup-vol-x")
    r.volume(8.1, use_quota=False, migration_status=f"target:{made['blank'].id}")
    r.volume(
        9, project_id="glance", display_name=f"image-{image_id('golden')}",
        metadata={"glance_image_id": image_id("golden"), "image_owner": "bob"}, host="c1@s#p0",
    )  # fmt: skip
    made["named as an image"] = r.volume(10, display_name=f"image-{image_id('golden')}")
    r.fill(1.05, "golden")
    r.delete(12.5, r.fill(12, "short-lived"))
    r.volume(12.6, project_id=INTERNAL)
    made["moved"] = r.from_image(13, "golden", size=11)
    r.migrate(14, made["moved"], "c2@b#p1")
    r.migrate(15, made["moved"], "c2@b#p2")
    made["relocated"] = r.volume(16, migration_status="success")
    made["reimaged"] = r.from_image(17, "golden")
    r.now(18)
    db_api.volume_glance_metadata_delete_by_volume(r.context, made["reimaged"].id)
    r.metadata(made["reimaged"], "other")
    made["reimaged blank"] = r.volume(18.5)
    r.now(19)
    r.metadata(made["reimaged blank"], "other")
    made["stuck"] = r.volume(19.5)
    r.ask_to_delete(20, made["stuck"])
    made["stuck"].status = "error_deleting"
    made["stuck"].save()
    r.delete(21, made["image1"])
    r.delete(22, made["blank"], took=0.5)
    r.delete(23, made["moved"])
    made["no pool"] = r.volume(23.5, host="c3")
    return made
