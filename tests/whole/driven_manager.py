"""Driven cases of the volume manager: drivers, Glance, keys and groups that a scenario cannot describe."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from cinder import exception, objects, utils
from cinder.image import image_utils
from cinder.volume import group_types, volume_utils
from os_brick.initiator.connectors.iscsi import ISCSIConnector
from os_brick.initiator.connectors.remotefs import RemoteFsConnector

from sim.cinder.release import db_api

from . import cloud
from .build import Builder, image
from .odd import Alike, Odd, driven
from .process import admin, user
from .registry import small
from .scenarios import CASES
from .upload_scenarios import NO_OP, uploaded

INTERNAL = {
    (None, "cinder_internal_tenant_project_id"): None,
    (None, "cinder_internal_tenant_user_id"): None,
}


@driven
def no_internal_tenant(folder: Path) -> Alike:
    """The cache is on and holds nothing, as without a cache."""
    case = CASES["lru_by_count"](folder)
    return case, "none", Odd(case, "cache-only", given=INTERNAL).execute()


@driven
def no_internal_tenant_for_uploads(folder: Path) -> Alike:
    """`image_upload_use_internal_tenant` without a tenant: the image-volume belongs to who uploads."""
    case = CASES["no_op_of_a_full_project-volumes"](folder)
    given = {**INTERNAL, ("a", "image_upload_use_internal_tenant"): True}
    return case, "store-only", Odd(case, "store-only", given=given).execute()


@driven
def locations_of_several_stores(folder: Path) -> Alike:
    """Locations name their store; others are of another store, or name no volume."""
    case = CASES["no_op-False"](folder)
    locate = cloud.Glance.locate

    def with_others(self: Any, image: Any, volume_id: str, first: bool = False, url: str = "") -> None:
        locate(self, image, volume_id, first, url or f"cinder://fast/{volume_id}")
        image.urls += ["rbd://pool/image/snap", "cinder://fast/no-volume"]

    types = {"flash": {"volume_backend_name": "flash", "image_service:store_id": "fast"}}
    seen: set[str] = set()

    def look(run: Odd) -> None:
        seen.update(url[:13] for image in run.glance.images.values() for url in image.urls)

    patch = cloud.Glance, "locate", with_others
    whole = Odd(case, "combined", patch, types=types, at={30.0: look}).execute()
    assert seen == {"rbd://pool/im", "cinder://fast"}
    return case, "combined", whole


@driven
def a_location_that_glance_refuses(folder: Path) -> None:
    """Cinder deletes the clone again, and copies."""

    def refuse(*_: Any, **__: Any) -> None:
        raise exception.NotAuthorized

    b = Builder(*small(1), *uploaded("raw"), **NO_OP).backend("a", read_mib_s=100)
    case = b.create(0, "i0").upload(60.1, "v0", "n0").create(120.1, "n0").case(folder)
    run = Odd(case, "store-only", (cloud.ImageService, "add_location", refuse))
    whole = run.execute()
    assert list(whole.uploads.status) == ["active"]
    assert round(whole.uploads.end[0] - whole.uploads.time[0], 2) == 2 + 1.5 + 10.24  # clone, delete, copy
    assert list(whole.requests.source) == ["download", "download"]
    assert len(run.services["a"][0].array.volumes) == 2


@driven
def an_image_that_gets_another_owner(folder: Path) -> None:
    """A public image is given to another project: its image-volume serves that one and its maker's."""
    b = Builder(*small(1), *uploaded("raw"), **NO_OP).backend("a")
    b.create(0, "i0", project="alice").upload(40.1, "v0", "n0")
    for number, project in enumerate(("bob", "bob", "carol")):
        b.create((50.1, 90.1, 90.1)[number], "n0", project=project)

    def give(run: Odd) -> None:
        run.glance.images[cloud.image_uuid("n0")].uploader = "carol"

    requests = Odd(b.case(folder), "store-only", at={80.0: give}).execute().requests
    assert list(requests.source) == ["download", "store", "download", "store"]


@driven
def a_driver_that_did_not_start(folder: Path) -> None:
    """Creates and uploads fail; the scheduler learns nothing of it, and spends all attempts there."""

    def stop(run: Odd) -> None:
        run.services["a"][0].manager.driver._initialized = False

    b = Builder(*small(1), *uploaded("raw")).backend("a", pools={"p0": {"capacity_gib": 900}})
    b.backend("b", pools={"p0": {"capacity_gib": 90}}).create(0, "i0", "")
    b.upload(60.1, "v0", "n0").create(70.1, "i0", "").create(71.3, "i0", "a#p0").create(72.1, "i0", "b#p0")
    whole = Odd(b.case(folder), "combined", at={50.0: stop}).execute()
    assert list(whole.requests.status) == ["available", "error", "error", "available"]
    assert list(whole.requests.attempts) == [1, 3, 1, 1]
    assert whole.requests.error[1].startswith("NoValidBackend: No valid backend was found. Exceeded max")
    assert whole.requests.error[2] == "DriverNotInitialized: Volume driver not ready."
    assert list(whole.uploads.error) == ["DriverNotInitialized"]


@driven
def drivers_that_return_values(folder: Path) -> Alike:
    """They go into the volumes' rows, and change nothing else."""

    def returning(name: str) -> tuple[Any, str, Any]:
        plain = getattr(cloud.SimDriver, name)

        def make(self: Any, volume: Any, *args: Any) -> dict[str, Any]:
            plain(self, volume, *args)
            return {"provider_location": name}

        return cloud.SimDriver, name, make

    case = CASES["no_op-True"](folder)
    run = Odd(case, "combined", returning("create_volume"), returning("create_cloned_volume"))
    seen: set[str] = set()
    run.at[190.0] = lambda _: seen.update(v.provider_location for v in objects.VolumeList.get_all(admin()))
    whole = run.execute()
    assert seen == {"create_volume", "create_cloned_volume"}
    return case, "combined", whole


@driven
def signatures_that_are_not_verified(folder: Path) -> None:
    """A failed copy is tried again: Cinder looks for metadata to take back, and finds none."""
    b = Builder(image("i0", 3), cinder={"scheduler_max_attempts": 2})
    b.backend("a", pools={"p0": {"capacity_gib": 2}}).create(0, "i0", "").create(1.1, "i0", "a#p0")
    case = b.case(folder)
    verified = Odd(case, "none").execute().requests
    given = {(None, "verify_glance_signatures"): "disabled"}
    requests = Odd(case, "none", given=given).execute().requests
    assert list(verified.attempts) == [1, 1] and list(requests.attempts) == [2, 1]
    assert [error.partition(":")[0] for error in verified.error] == ["ImageCopyFailure"] * 2
    assert requests.error[1].startswith("GlanceMetadataNotFound")


@driven
def an_image_of_unknown_size(folder: Path) -> None:
    """Cinder finds its virtual size after the download, and does not try again."""
    meta = cloud.GlanceImage.meta

    def unknown(self: Any) -> dict[str, Any]:
        return {**meta(self), "virtual_size": None}

    b = Builder(image("i0", 3, "qcow2")).backend("a")
    b.create(0, "i0", "", 2).create(30.1, "i0", "", 3)
    requests = Odd(b.case(folder), "cache-only", (cloud.GlanceImage, "meta", unknown)).execute().requests
    assert list(requests.source) == ["none", "download"] and list(requests.attempts) == [1, 1]
    assert requests.error[0].startswith("ImageUnacceptable")


@driven
def an_upload_that_fails_at_its_end(folder: Path) -> None:
    """Cinder deletes an image that is not active; this one is."""
    copy = cloud.SimDriver.copy_volume_to_image

    def fail(*given: Any) -> None:
        copy(*given)
        raise exception.VolumeBackendAPIException(data="cannot detach")

    b = Builder(*small(1), *uploaded("raw")).backend("a").create(0, "i0").upload(30.1, "v0", "n0")
    uploads = Odd(b.case(folder), "none", (cloud.SimDriver, "copy_volume_to_image", fail)).execute().uploads
    assert list(uploads.status) == ["active"] and list(uploads.error) == ["VolumeBackendAPIException"]


@driven
def a_state_that_an_administrator_sets(folder: Path) -> None:
    """An image-volume is set to `error` when its clone is made: no entry is made, and it is deleted."""

    def notify(_: Any, volume: Any, suffix: str, **__: Any) -> None:
        if suffix == "create.end" and (volume.display_name or "").startswith("image-"):
            db_api.volume_update(admin(), volume.id, {"status": "error"})

    case = Builder(*small(1)).backend("a").creates("i0 i0", 40.37).case(folder)
    run = Odd(case, "cache-only", (volume_utils, "notify_about_volume_usage", notify))
    whole = run.execute()
    assert list(whole.requests.source) == ["download", "download"] and whole.cache.empty
    assert len(run.services["a"][0].array.volumes) == 2


@driven
def no_conversion_directory(folder: Path) -> None:
    """`image_conversion_dir` is set to nothing: Cinder finds no free space there, and creates fail."""
    b = Builder(*small(1)).backend("a").create(0, "i0")
    given = {(None, "image_conversion_dir"): ""}
    patch = image_utils, "shutil", shutil
    requests = Odd(b.case(folder), "cache-only", patch, given=given).execute().requests
    assert list(requests.status) == ["error"] and requests.error[0].startswith("FileNotFoundError")


@driven
def volumes_of_a_group(folder: Path) -> None:
    """An image-volume is in the group of the volume that filled the cache: nothing can delete it.

    So the cache makes no room, and creates of an image that was updated fail.
    """
    grouped: dict[str, str] = {}
    create = objects.Volume.create

    def in_group(self: Any) -> None:
        if "group_id" not in self and grouped:
            self.group_id = grouped["id"]
        create(self)

    def group(run: Odd) -> None:
        kind = group_types.create(admin(), "group")
        of = {"group_type_id": kind["id"], "volume_type_ids": [run.types["flash"]], "status": "available"}
        made = objects.Group(context=user("project"), user_id="project", project_id="project", **of)
        made.create()
        grouped["id"] = made.id

    b = Builder(*small(2)).backend("a", image_volume_cache_max_count=1)
    b.create(10, "i0").create(60, "i0").create(110, "i1").create(160, "i1")
    b.event(200, "update_image", image_id="i0").create(210, "i0")
    at = {5.0: group, 50.0: lambda _: grouped.clear()}
    whole = Odd(b.case(folder), "cache-only", (objects.Volume, "create", in_group), at=at).execute()
    assert list(whole.requests.source) == ["download", "cache", "download", "download", "none"]
    assert whole.requests.error[4].startswith("InvalidVolume")
    assert list(whole.cache.image_id) == ["i0"]


@driven
def keys_of_encrypted_uploads(folder: Path) -> None:
    """What Cinder does with the key of an image-volume: by its connection, and by what is on the volume."""
    b = Builder(*small(1), *uploaded(*["raw"] * 10), **NO_OP)
    backends = "written", "blank", "nfs", "lost", "strange"
    for number, name in enumerate(backends):
        b.backend(name, read_mib_s=200)
        b.create(number, "i0" if name == "written" else "", f"{name}#p0", encrypted=True)
        b.upload(60 + number, f"v{number}", f"n{number}").upload(160 + number, f"v{number}", f"n{number + 5}")
    ran: list[tuple[str, ...]] = []

    def attach(self: Any, _: Any, volume: Any, *__: Any, **___: Any) -> tuple[Any, Any]:
        name = self.configuration.config_group
        if name == "lost":
            raise exception.VolumeBackendAPIException(data="no path")
        connector = RemoteFsConnector if name == "nfs" else ISCSIConnector
        path = f"{cloud.ATTACHED}{name}"
        return {"connector": connector.__new__(connector), "device": {"path": path}}, volume

    def look(path: str, **_: Any) -> Any:
        name = path.removeprefix(cloud.ATTACHED)
        file_format = "qcow2" if name == "strange" else "raw"
        return SimpleNamespace(
            file_format=file_format, encrypted=name == "written", virtual_size=2**30, backing_file=None
        )

    def execute(*command: str, **_: Any) -> tuple[str, str]:
        ran.append(command)
        return "", ""

    patches = (
        (cloud.SimDriver, "_attach_volume", attach),
        (image_utils, "qemu_img_info", look),
        (utils, "execute", execute),
    )
    uploads = Odd(b.case(folder), "store-only", *patches).execute().uploads
    changed, formatted = ran
    assert changed[1:3] == ("luksChangeKey", f"{cloud.ATTACHED}written")
    assert "luksFormat" in formatted and formatted[-1] == f"{cloud.ATTACHED}blank"
    assert formatted[formatted.index("--type") + 1] == "luks1"
    # Where the key was changed the volume's own key is gone, and with it a second upload.
    assert dict(zip(backends, uploads.error[5:] == "", strict=True)) == {
        name: name not in ("written", "blank") for name in backends
    }
    copied = dict(zip(backends, (uploads.end - uploads.time)[:5].round(2) > 2, strict=True))
    assert copied == {name: name in ("lost", "strange") for name in backends}
